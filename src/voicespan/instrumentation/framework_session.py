"""A framework's session as one conversation: opened with it, ended with it, and given what happens in it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from voicespan.runtime.guard import guarded
from voicespan.tracing.context import SCOPE
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.scope import conversation_in_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import TracerProvider

    from voicespan.protocol.events import Event
    from voicespan.runtime.clock import Clock

#: Nanoseconds. What a framework says of the past is no older; its wall clock was set meanwhile.
_LONGEST_AGO = 60_000_000_000

#: By their conversations.
_sessions: weakref.WeakKeyDictionary[Conversation, FrameworkSession] = weakref.WeakKeyDictionary()


class FrameworkSession:
    """The conversation of one session of a framework. One that the application opened round it is joined, not ended."""

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None,
        clock: Clock,
        thread_id: str | None,
        metadata: Mapping[str, Any],
    ) -> None:
        """Open it.

        Args:
            tracer_provider: for a new conversation.
            clock: for a new conversation.
            thread_id: what groups conversations, where the framework knows it.
            metadata: for the root.
        """
        self._clock = clock
        around = conversation_in_scope()
        if around is not None and around in _sessions:
            # Another session was started in the same task before: that is a conversation of its own.
            around = None
        self._joined = around is not None
        self.conversation = around or Conversation(
            scoped=True, tracer_provider=tracer_provider, clock=clock, thread_id=thread_id
        )
        self.conversation.lifecycle.has_framework = True
        if metadata:
            self.conversation.set_metadata(**metadata)
        #: Whether the user is speaking now.
        self.user_speaks = False
        _sessions[self.conversation] = self

    @property
    def is_open(self) -> bool:
        """Whether it still takes events."""
        return self.conversation.recording and not self.conversation.ended

    @property
    def has_wire(self) -> bool:
        """Whether a speech-to-speech model's own frames say what happens."""
        return bool(self.conversation.lifecycle.connections.live)

    @guarded
    def enter(self) -> None:
        """Bring the current context into the conversation: sockets and spans that are opened in it are part of it."""
        SCOPE.set(self.conversation.context)
        self.conversation.attach()

    def now(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return self._clock.monotonic_ns()

    def at(self, wall: float | None) -> int:
        """The monotonic time of `wall`, in seconds since the epoch; now, where that is not given or cannot be."""
        now = self._clock.monotonic_ns()
        if wall is None:
            return now
        ago = self._clock.time_ns() - round(wall * 1e9)
        return now - ago if 0 <= ago < _LONGEST_AGO else now

    @guarded
    def report(self, *events: Event) -> None:
        """Something happened in it."""
        lifecycle = self.conversation.lifecycle
        with lifecycle.lock:
            flush_now = lifecycle.ingest(events)
        if flush_now:
            lifecycle.flush()

    @guarded
    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """The session is over."""
        _sessions.pop(self.conversation, None)
        if not self._joined:
            self.conversation.end(error, status)


def session_here() -> FrameworkSession | None:
    """The session that runs here, if it is open."""
    conversation = conversation_in_scope()
    found = None if conversation is None else _sessions.get(conversation)
    return found if found is not None and found.is_open else None
