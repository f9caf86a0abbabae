"""A pipeline that runs: the conversation, and what its frames mean.

A frame is looked at where it is pushed first: by the service or the transport that made it. All that passes it on is
known by its class, and pays for one look into a table.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.framework_session import FrameworkSession
from voicespan.pipecat.calls import LLMCall, Services, StreamedTranscription
from voicespan.pipecat.services import kind_of
from voicespan.pipecat.sound import PipelineSound
from voicespan.protocol import events
from voicespan.protocol.events import WireError
from voicespan.protocol.json_values import json_text
from voicespan.runtime.bounded import put
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import TracerProvider

    from voicespan.runtime.clock import Clock

#: Seconds. No detector waits longer before it says that the user began, or stopped, to speak.
_LONGEST_WAIT = 5.0


class PipelineTrace(FrameworkSession):
    """What is traced of one pipeline."""

    def __init__(
        self, conversation_id: str | None, *, tracer_provider: TracerProvider | None, clock: Clock
    ) -> None:
        """It is about to run."""
        super().__init__(
            tracer_provider=tracer_provider,
            clock=clock,
            thread_id=conversation_id,
            metadata={"framework": "pipecat"},
        )
        self.sound = PipelineSound(self)
        self.error: BaseException | WireError | None = None
        self.context: Any = None
        self._has_answered = False
        self.services = Services()
        #: What functions gave back, and how they failed, by the ids of their calls.
        self.results: dict[str, str] = {}
        self.tool_failures: dict[str, WireError] = {}

    @guarded
    def see(self, source: Any, frame: Any) -> None:
        """`source` pushes a frame that stands in the table."""
        self._HANDLERS[type(frame).__name__](self, source, frame)

    @classmethod
    def handles(cls, frame: type) -> bool:
        """Whether a class of frames stands in the table."""
        return frame.__name__ in cls._HANDLERS

    def _started(self, source: Any, _frame: Any) -> None:
        if kind_of(source) in ("input", "output"):
            self.sound.listen()

    # The user.

    def _user_started(self, _source: Any, frame: Any) -> None:
        if self.user_speaks:
            return
        self.user_speaks = True
        if not self.has_wire:
            self.report(events.SpeechStarted(self._when(frame, "start_secs"), "user_started_speaking", None))

    def _user_stopped(self, _source: Any, frame: Any) -> None:
        if not self.user_speaks:
            return
        self.user_speaks = False
        if not self.has_wire:
            self.report(events.SpeechStopped(self._when(frame, "stop_secs"), "voice_activity", None))

    def _when(self, frame: Any, waited: str) -> int:
        """When what a detector says was so: it waits before it says it."""
        seconds = getattr(frame, waited, None)
        at = self.at(getattr(frame, "timestamp", None))
        return (
            at - round(seconds * 1e9) if isinstance(seconds, float) and 0 <= seconds < _LONGEST_WAIT else at
        )

    def _transcribed(self, source: Any, frame: Any) -> None:
        if kind_of(source) != "stt":
            return
        heard = self.services.streams.get(source)
        if heard is None:
            heard = self.services.streams[source] = StreamedTranscription(self, self.services, source)
        heard.see(frame, final=type(frame).__name__ == "TranscriptionFrame")

    # The language model.

    def _context_given(self, _source: Any, frame: Any) -> None:
        self.context = frame.context

    def _answer_began(self, source: Any, _frame: Any) -> None:
        if kind_of(source) != "llm" or self.has_wire:
            return
        self._answer_over(source, None)
        self.services.turn += 1
        self.services.answers[source] = LLMCall(self, source, self.context, first=not self._has_answered)
        self._has_answered = True

    def _answer_text(self, source: Any, frame: Any) -> None:
        call = self.services.answers.get(source)
        if call is not None:
            call.text(frame.text)

    def _functions_called(self, source: Any, frame: Any) -> None:
        call = self.services.answers.get(source)
        if call is not None:
            call.functions(frame.function_calls)

    def _answer_ended(self, source: Any, frame: Any) -> None:
        self._answer_over(source, frame)

    def _answer_over(self, source: Any, _frame: Any) -> None:
        call = self.services.answers.pop(source, None)
        if call is not None:
            # Pushed while an exception is on its way out of the service, which Pipecat reports afterwards.
            raised = sys.exc_info()[1]
            call.end(self.services.failures.pop(source, None) if raised is None else raised)

    def usage(self, source: Any, tokens: Any) -> None:
        """A language model says what it cost."""
        call = self.services.answers.get(source)
        if call is not None:
            call.usage(tokens)

    # The voice.

    def _audio_made(self, source: Any, frame: Any) -> None:
        if kind_of(source) != "tts":
            return
        call = self.services.spoken_in(source, frame)
        if call is not None and not call.direct:
            call.audio(frame)

    def _speech_ended(self, source: Any, frame: Any) -> None:
        call = self.services.spoken_in(source, frame) if kind_of(source) == "tts" else None
        if call is not None:
            call.stopped()

    def _audio_written(self, source: Any, frame: Any) -> None:
        if kind_of(source) == "output":
            self.sound.agent(frame)
        else:
            self._audio_made(source, frame)

    def _bot_started(self, source: Any, _frame: Any) -> None:
        if kind_of(source) == "output":
            self.sound.agent_began()

    def _bot_stopped(self, source: Any, _frame: Any) -> None:
        if kind_of(source) == "output":
            self.sound.agent_stopped()

    def _interrupted(self, _source: Any, _frame: Any) -> None:
        self.sound.interrupted(self.services.generated)
        self.services.turn += 1
        for call in list(self.services.spoken.values()):
            call.cancelled()

    # Functions.

    def _function_result(self, _source: Any, frame: Any) -> None:
        properties = frame.properties
        if properties is not None and not getattr(properties, "is_final", True):
            return
        result = frame.result if isinstance(frame.result, str) else json_text(frame.result)
        put(self.results, frame.tool_call_id, result)
        failure = getattr(frame, "error", None)
        if failure is not None:
            put(self.tool_failures, frame.tool_call_id, WireError("error", str(failure)))

    # What goes wrong.

    def _failed(self, source: Any, frame: Any) -> None:
        raised = getattr(frame, "exception", None)
        error: BaseException | WireError = (
            raised if isinstance(raised, BaseException) else WireError("ErrorFrame", str(frame.error))
        )
        if getattr(frame, "fatal", False) and self.error is None:
            self.error = error
        if kind_of(source) in ("stt", "llm", "tts") and getattr(frame, "processor", source) in (
            source,
            None,
        ):
            self.services.failures[source] = error

    def end(self, error: BaseException | None = None, status: str | None = None) -> None:
        """The pipeline has run."""
        for answer in list(self.services.answers.values()):
            answer.end(None, cancelled=True)
        for spoken in list(self.services.spoken.values()):
            spoken.end(None, cancelled=True)
        # What is known by its processor would keep that, and the processor would keep this.
        self.services, self.context = Services(), None
        if error is None and isinstance(self.error, BaseException):
            error = self.error
        super().end(error, status)

    _HANDLERS: ClassVar[dict[str, Callable[[PipelineTrace, Any, Any], None]]] = {
        "StartFrame": _started,
        "VADUserStartedSpeakingFrame": _user_started,
        "UserStartedSpeakingFrame": _user_started,
        "VADUserStoppedSpeakingFrame": _user_stopped,
        "UserStoppedSpeakingFrame": _user_stopped,
        "TranscriptionFrame": _transcribed,
        "InterimTranscriptionFrame": _transcribed,
        "LLMContextFrame": _context_given,
        "OpenAILLMContextFrame": _context_given,
        "LLMFullResponseStartFrame": _answer_began,
        "LLMTextFrame": _answer_text,
        "FunctionCallsStartedFrame": _functions_called,
        "FunctionCallResultFrame": _function_result,
        "LLMFullResponseEndFrame": _answer_ended,
        "TTSAudioRawFrame": _audio_written,
        "SpeechOutputAudioRawFrame": _audio_written,
        "OutputAudioRawFrame": _audio_written,
        "TTSStoppedFrame": _speech_ended,
        "BotStartedSpeakingFrame": _bot_started,
        "BotStoppedSpeakingFrame": _bot_stopped,
        "InterruptionFrame": _interrupted,
        "StartInterruptionFrame": _interrupted,
        "ErrorFrame": _failed,
        "FatalErrorFrame": _failed,
    }
