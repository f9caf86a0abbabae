"""One call of an audio endpoint: what it is asked, and what comes back, as the call of a model in a cascade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_audio import answers, body, endpoint
from voicespan.openai_audio.speech_length import SpeechLength
from voicespan.protocol.json_values import safe_str
from voicespan.runtime.guard import guarded
from voicespan.tracing.cascade.stage import SpeechToText, TextToSpeech, current_stage
from voicespan.tracing.cascade.standalone import standalone
from voicespan.tracing.scope import current_conversation
from voicespan.tracing.status import is_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import TracerProvider

    from voicespan.runtime.clock import Clock
    from voicespan.tracing.cascade.pipeline import ModelCalls
    from voicespan.tracing.cascade.stage import Stage

#: Of a transcription that streams, bytes.
_LONGEST_BODY = 1_000_000


class AudioCall:
    """Its methods are called where the SDK's is; those that are `guarded` raise nothing."""

    def __init__(self, stage: Stage, *, is_own: bool, encoding: object = None) -> None:
        """`is_own`: it is ours to begin and to end, and not the application's block."""
        self._stage = stage
        self._is_own = is_own
        self._content = bytearray()
        self._compression = ""
        #: Of speech.
        self._length = SpeechLength(encoding) if isinstance(stage, TextToSpeech) else None
        self._has_begun = False
        self._is_over = False

    @guarded
    def begin(self) -> None:
        """The request is made here and now."""
        if self._is_own:
            self._stage.enter()

    @guarded
    def leave(self) -> None:
        """The SDK's method returns."""
        if self._is_own:
            self._stage.leave()

    @guarded
    def failed(self, error: BaseException) -> None:
        """It raised."""
        if self._is_own:
            self._stage.end(error)

    @guarded
    def returned(self, result: Any) -> None:
        """What the SDK gave back: an object, a text, or what the application reads the answer from."""
        response = getattr(result, "http_response", None) or getattr(result, "response", None)
        if response is None:
            self._know(answers.transcription(result))
            self._end()
            return
        self._compression = safe_str(getattr(response, "headers", {}).get("content-encoding", ""))
        if not body.watch(response, self):
            # It has been read already, or cannot be watched.
            content = (
                getattr(response, "content", b"") if getattr(response, "is_stream_consumed", False) else b""
            )
            # As httpx gives it, it is not compressed any more.
            self._compression = ""
            self.piece(content)
            self.over(None, complete=True)

    # What is read of a body.

    @guarded
    def piece(self, content: bytes) -> None:
        """So much of it was read."""
        if self._is_over or not content:
            return
        if isinstance(self._stage, TextToSpeech) and self._length is not None:
            if not self._has_begun:
                self._has_begun = True
                self._stage.first_byte()
            if not self._compression:
                self._length.piece(content)
        elif len(self._content) < _LONGEST_BODY:
            self._content += content[: _LONGEST_BODY - len(self._content)]

    @guarded
    def over(self, error: BaseException | None, *, complete: bool) -> None:
        """No more is read."""
        if self._is_over:
            return
        self._is_over = True
        if self._length is not None:
            self._stage.suggest(seconds=self._length.seconds)
        elif self._content:
            found, whole = answers.of_transcription_bytes(bytes(self._content), self._compression)
            if whole:
                # Who has the last event need not read on.
                error, complete = (None, True) if error is None or not is_error(error) else (error, False)
            self._know(found)
        self._end(error, complete=complete)

    def _know(self, answer: answers.Answer) -> None:
        self._stage.suggest(text=answer.text, seconds=answer.seconds, usage=answer.usage)
        if answer.language is not None:
            self._stage.set_metadata(language=answer.language)

    def _end(self, error: BaseException | None = None, *, complete: bool = True) -> None:
        self._is_over = True
        if self._is_own:
            # Who stops reading has heard enough, or was interrupted.
            self._stage.end(error, cancelled=not complete and error is None)


@guarded
def transcribed(
    resource: Any, arguments: Mapping[str, Any], tracer_provider: TracerProvider | None, clock: Clock
) -> AudioCall | None:
    """A transcription or a translation is asked for. None: it is not traced."""
    stage = current_stage()
    if isinstance(stage, SpeechToText):
        stage.suggest(model=_text(arguments.get("model")))
        return AudioCall(stage, is_own=False)
    named: dict[str, Any] = {
        "model": _text(arguments.get("model")),
        "language": _text(arguments.get("language")),
        "provider": endpoint.provider(resource),
    }
    owner = _owner(tracer_provider, clock)
    return None if owner is None else AudioCall(owner.stt(**named), is_own=True)


@guarded
def spoken(
    resource: Any, arguments: Mapping[str, Any], tracer_provider: TracerProvider | None, clock: Clock
) -> AudioCall | None:
    """Speech is asked for. None: it is not traced."""
    # As events of a stream it is none of these.
    encoding = None if arguments.get("stream_format") == "sse" else arguments.get("response_format")
    stage = current_stage()
    if isinstance(stage, TextToSpeech):
        stage.suggest(model=_text(arguments.get("model")))
        return AudioCall(stage, is_own=False, encoding=encoding)
    voice = arguments.get("voice")
    named: dict[str, Any] = {
        "model": _text(arguments.get("model")),
        "voice": _text(voice.get("id") if isinstance(voice, dict) else voice),
        "provider": endpoint.provider(resource),
    }
    owner = _owner(tracer_provider, clock)
    if owner is None:
        return None
    return AudioCall(owner.tts(_text(arguments.get("input")), **named), is_own=True, encoding=encoding)


def _owner(tracer_provider: TracerProvider | None, clock: Clock) -> ModelCalls | None:
    """Whose call it is; None: somebody else says that it is made."""
    conversation = current_conversation()
    if conversation is None:
        return standalone(tracer_provider, clock)
    # A framework says of each call when it is made: what its client library does is not said a second time.
    return None if conversation.lifecycle.has_framework else conversation


def _text(value: Any) -> str | None:
    return safe_str(value) if isinstance(value, str) else None
