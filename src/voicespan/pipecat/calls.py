"""Calls of the models of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.pipecat.services import language_of, messages_of, model_of, provider_of, voice_of
from voicespan.protocol.events import WireError

if TYPE_CHECKING:
    from voicespan.instrumentation.framework_session import FrameworkSession
    from voicespan.tracing.cascade.stage import SpeechToText, Stage


class Services:
    """What the services of one pipeline do now."""

    def __init__(self) -> None:
        self.answers: dict[Any, LLMCall] = {}
        self.streams: dict[Any, StreamedTranscription] = {}
        #: By the service, and by what it calls the answer (its audio context), where it does.
        self.spoken: dict[tuple[Any, str | None], SpokenCall] = {}
        #: How many answers have begun, and been interrupted.
        self.turn = 0
        #: Text-to-speech services that give their audio where they are given the text.
        self.direct: set[Any] = set()
        #: Speech-to-text services that are given an utterance.
        self.segments: set[Any] = set()
        #: What failed last, by the service, until its call is over.
        self.failures: dict[Any, BaseException | WireError] = {}
        #: The answer that is synthesized, and how many seconds of it there are.
        self.generated: tuple[str | None, float] = (None, 0.0)

    def spoken_in(self, service: Any, frame: Any) -> SpokenCall | None:
        """What a frame of a text-to-speech service is part of."""
        found = self.spoken.get((service, getattr(frame, "context_id", None)))
        if found is not None:
            return found
        return next((call for (of, _), call in reversed(self.spoken.items()) if of is service), None)

    def add_generated(self, answer: str | None, seconds: float) -> None:
        """More of an answer has been synthesized."""
        before, so_far = self.generated
        self.generated = (answer, so_far + seconds if answer == before else seconds)


class LLMCall:
    """From the start frame of a response to its end frame, both of which the service pushes in one task."""

    def __init__(self, trace: FrameworkSession, service: Any, context: Any, *, first: bool) -> None:
        """The service begins; `context`: what the pipeline has given it last. `first`: see `messages_of`."""
        self.stage = trace.conversation.llm(
            model=model_of(service),
            provider=provider_of(service),
            messages=messages_of(context, service, first=first),
        )
        self._calls: list[dict[str, Any]] = []
        # The request that follows, and what other instrumentations see of it, are part of the call.
        self.stage.enter()

    def text(self, text: str) -> None:
        """A piece of the answer."""
        self.stage.delta(text)

    def functions(self, calls: Any) -> None:
        """The model asks for functions; said twice, up and down the pipeline."""
        if self._calls:
            return
        self._calls = [
            {"id": call.tool_call_id, "name": call.function_name, "arguments": call.arguments}
            for call in calls
        ]
        self.stage.first_token()
        self.stage.output(tool_calls=self._calls)

    def usage(self, tokens: Any) -> None:
        """What it cost, as an `LLMTokenUsage`."""
        self.stage.usage(
            input_tokens=tokens.prompt_tokens,
            output_tokens=tokens.completion_tokens,
            total_tokens=tokens.total_tokens,
            input_details=_known(cache_read=getattr(tokens, "cache_read_input_tokens", None)),
            output_details=_known(reasoning=getattr(tokens, "reasoning_tokens", None)),
        )

    def end(self, error: BaseException | WireError | None, *, cancelled: bool = False) -> None:
        """It is over."""
        self.stage.leave()
        end_stage(self.stage, error, cancelled=cancelled)


class StreamedTranscription:
    """What a service that is given all of the audio makes of it: each final transcript is a call."""

    def __init__(self, trace: FrameworkSession, services: Services, service: Any) -> None:
        self._trace = trace
        self._services = services
        self._service = service
        self._stage: SpeechToText | None = None

    def see(self, frame: Any, *, final: bool) -> None:
        """It has heard something."""
        if self._service in self._services.segments:
            # Told by the segment's own call.
            return
        if self._stage is None:
            self._stage = new_stt(self._trace, self._service).start()
        language = getattr(frame, "language", None)
        self._stage.output(
            frame.text, language=None if language is None else str(getattr(language, "value", language))
        )
        if final:
            stage, self._stage = self._stage, None
            stage.end()


class SpokenCall:
    """What is spoken of one text, or of all texts of an answer where the service is given them one by one.

    Its audio comes from the call itself, of each text: then that is a call of its own. Or it comes later, over a socket,
    and nobody says which of it belongs to which text.
    """

    def __init__(
        self,
        trace: FrameworkSession,
        services: Services,
        service: Any,
        text: str | None,
        context_id: str | None,
    ) -> None:
        """The service is given the text now."""
        self._trace = trace
        self._services = services
        self._service = service
        self._key = (service, context_id)
        self._turn = services.turn
        self._text = text
        self._seconds = 0.0
        self._heard_at: int | None = None
        #: The request is through: what still comes, comes over a socket.
        self._sent = False
        self.stage = trace.conversation.tts(
            text, model=model_of(service), voice=voice_of(service), provider=provider_of(service)
        ).start()
        self.direct = service in services.direct
        services.spoken[self._key] = self

    def goes_on(self, text: str | None) -> bool:
        """Take in the next text of the same answer. False: it is another call's."""
        if not self._sent or self.direct or self._turn != self._services.turn:
            return False
        self._sent = False
        if text:
            # Tokens carry their own spaces, sentences do not.
            between = "" if getattr(self._service, "_is_streaming_tokens", False) else " "
            self._text = f"{self._text or ''}{between if self._text else ''}{text}"
            self.stage.input(self._text)
        return True

    def audio_here(self, frame: Any) -> None:
        """A piece of audio comes from the call itself."""
        if not self.direct:
            self.direct = True
            self._services.direct.add(self._service)
        self.audio(frame)

    def audio(self, frame: Any) -> None:
        """A piece of audio is there."""
        if not self._seconds:
            self.stage.first_byte()
        seconds = len(frame.audio) / 2 / frame.num_channels / frame.sample_rate
        self._seconds += seconds
        self._heard_at = self._trace.now()
        self.stage.output(seconds=self._seconds)
        self._services.add_generated(self._trace.conversation.audible_answer, seconds)

    def returned(self) -> None:
        """The service has taken the text, and given all of its audio, if it gives any here."""
        self._sent = True
        if (self.direct and self._seconds) or self._service in self._services.failures:
            self.end(self._services.failures.pop(self._service, None))

    def stopped(self) -> None:
        """The service says that it is through with what it was given; some say so when nothing has come for seconds."""
        if self._sent and not self.direct:
            self.end(None, at=self._heard_at)

    def cancelled(self) -> None:
        """The user cuts in."""
        self.end(None, cancelled=True)

    def end(
        self, error: BaseException | WireError | None, *, cancelled: bool = False, at: int | None = None
    ) -> None:
        """It is over."""
        if self._services.spoken.get(self._key) is self:
            del self._services.spoken[self._key]
        end_stage(self.stage, error, cancelled=cancelled, at=at)


def new_stt(trace: FrameworkSession, service: Any) -> SpeechToText:
    """A transcription by this service, which has not begun."""
    return trace.conversation.stt(
        model=model_of(service), provider=provider_of(service), language=language_of(service)
    )


def end_stage(
    stage: Stage, error: BaseException | WireError | None, *, cancelled: bool = False, at: int | None = None
) -> None:
    """End a call with what went wrong, if anything did. `at`: when; now by default."""
    if isinstance(error, WireError):
        stage.failed(error.message)
        error = None
    stage.end(error, cancelled=cancelled, at=at)


def _known(**details: Any) -> dict[str, int]:
    return {name: count for name, count in details.items() if isinstance(count, int) and count > 0}
