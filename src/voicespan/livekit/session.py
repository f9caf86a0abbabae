"""One `AgentSession`: the conversation, over all its agents and sockets."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.framework_session import FrameworkSession, session_here
from voicespan.livekit.audio import SessionAudio
from voicespan.livekit.chat import text_of
from voicespan.livekit.job import facts_of, participant_facts, thread_of
from voicespan.livekit.realtime import RealtimeAnswers
from voicespan.protocol import events
from voicespan.protocol.events import WireError
from voicespan.protocol.stages import ToolEnded
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import TracerProvider

    from voicespan.runtime.clock import Clock


class SessionTrace(FrameworkSession):
    """What is traced of one `AgentSession`."""

    def __init__(
        self,
        session: Any,
        *,
        tracer_provider: TracerProvider | None,
        clock: Clock,
    ) -> None:
        """It is about to start."""
        self._session = weakref.ref(session)
        super().__init__(
            tracer_provider=tracer_provider,
            clock=clock,
            thread_id=thread_of(),
            metadata=facts_of(session),
        )
        #: What a realtime model does of which no frames are seen.
        self.realtime = RealtimeAnswers(self)
        self.audio = SessionAudio(self, self.realtime)
        self._spoke_at: int | None = None
        #: Why it closes, as far as LiveKit has said it.
        self.error: BaseException | None = None
        #: Whether a model has given words of this role since the last message of it.
        self.words = {"user": False, "assistant": False}
        self._typed: events.MessageText | None = None
        #: Whether a language model's plugin has been called.
        self.has_model = False

    @property
    def has_wire(self) -> bool:
        """Whether the agent's own model speaks on a socket that is seen, and not only a transcription beside it, say."""
        if not super().has_wire:
            return False
        session = self.session
        agent = getattr(session, "_activity", None) or session
        # A language model chats; one that listens and speaks has sessions.
        return not hasattr(getattr(agent, "llm", None), "chat")

    @classmethod
    def here(cls) -> SessionTrace | None:
        """The one that runs here, if it is open."""
        found = session_here()
        return found if isinstance(found, SessionTrace) else None

    @guarded
    def hear(self, name: str, event: Any) -> None:
        """The session emits an event."""
        handler = self._HANDLERS.get(name)
        if handler is not None and self.is_open:
            handler(self, event)

    def _user_state_changed(self, event: Any) -> None:
        speaks = str(event.new_state) == "speaking"
        if speaks == self.user_speaks:
            return
        self.user_speaks = speaks
        if self.has_wire:
            return
        at = self.at(getattr(event, "created_at", None))
        if speaks:
            self._spoke_at = at
            self.report(events.SpeechStarted(at, "user_state_changed", None))
        else:
            self.report(events.SpeechStopped(at, "voice_activity", None))

    def _item_added(self, event: Any) -> None:
        item = event.item
        if getattr(item, "type", None) != "message" or item.role not in ("user", "assistant"):
            return
        # Where a model of ours, or the wire, has given the words, they are in the transcript already.
        known, self.words[item.role] = self.words[item.role], False
        text = text_of(item)
        message = events.MessageText(self.now(), "conversation_item_added", item.id, item.role, text)
        if item.role == "user":
            # Typed words come again among the messages of the model, if that is a plugin's.
            self._typed = None if known or self.has_model or not text.strip() else message
            return
        self.tell_what_was_typed()
        if self.realtime.is_used:
            self.realtime.said(item)
        elif not known and text.strip() and not self.has_wire:
            self.report(message)

    @guarded
    def transcribed(self, event: Any) -> None:
        """A realtime model has understood the user."""
        if self.realtime.transcribed(event, self._spoke_at):
            self.words["user"] = True

    @guarded
    def answers(self, event: Any, model: Any) -> None:
        """A realtime model begins to answer."""
        self.tell_what_was_typed()
        self.realtime.created(event, model)

    def model_is_given_all(self) -> None:
        """A language model's plugin is called: what was typed, before or after that, is among its messages."""
        self._typed, self.has_model = None, True

    def tell_what_was_typed(self) -> None:
        typed, self._typed = self._typed, None
        if typed is not None and not self.has_wire:
            self.report(typed)

    def _tools_executed(self, event: Any) -> None:
        # The newer ones say of each function when it is over (see `tools`); the oldest say it of all at once.
        now = self.now()
        for output in event.function_call_outputs:
            if output is None or self.has_wire:
                continue
            error = WireError("ToolError", output.output) if output.is_error else None
            if self.realtime.is_used:
                self.realtime.answered(output, error)
            else:
                self.report(ToolEnded(now, "function_tools_executed", output.call_id, output.output, error))

    def _error(self, event: Any) -> None:
        problem = event.error
        # A call that failed for good says so itself.
        if not getattr(problem, "recoverable", False):
            return
        error = getattr(problem, "error", problem)
        self.report(
            events.ErrorReported(
                self.now(),
                "error",
                WireError(type(error).__name__, str(error)),
                {"recoverable": True, "source": getattr(problem, "label", None)},
            )
        )

    def _close(self, event: Any) -> None:
        problem = getattr(event.error, "error", event.error)
        self.error = problem if isinstance(problem, BaseException) else None
        reason = getattr(event.reason, "value", None)
        facts = participant_facts(self.session)
        if isinstance(reason, str):
            facts["close_reason"] = reason
        self.conversation.set_metadata(**facts)

    _HANDLERS: ClassVar[dict[str, Callable[[SessionTrace, Any], None]]] = {
        "user_state_changed": _user_state_changed,
        "conversation_item_added": _item_added,
        "function_tools_executed": _tools_executed,
        "error": _error,
        "close": _close,
    }

    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """The session is over."""
        if self.is_open:
            self.tell_what_was_typed()
            self.realtime.over()
        super().end(error, status)

    @property
    def session(self) -> Any:
        """The `AgentSession`; None: nobody has it any more."""
        return self._session()
