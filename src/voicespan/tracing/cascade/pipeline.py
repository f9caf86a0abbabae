"""What a conversation offers to a cascade: it makes the blocks, and takes in what happens in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import LocalId
from voicespan.protocol.json_values import safe_str
from voicespan.protocol.stages import StageEnded, StageStarted
from voicespan.runtime.guard import guard
from voicespan.tracing.cascade.messages import PromptHistory, plain
from voicespan.tracing.cascade.stage import LanguageModel, SpeechToText, StageSink, TextToSpeech
from voicespan.tracing.cascade.tool_block import ToolBlock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.trace import Span

    from voicespan.protocol.events import Event
    from voicespan.runtime.clock import Clock
    from voicespan.tracing.cascade.nested_spans import NestedSpans
    from voicespan.tracing.context import ConversationContext
    from voicespan.tracing.lifecycle import Lifecycle


class ModelCalls(StageSink):
    """The methods by which an application says that it calls a model."""

    #: The call of a language model that is answered now.
    _answer: str | None = None

    def stt(
        self,
        *,
        model: str | None = None,
        language: str | None = None,
        provider: str | None = None,
        spoken: bool = True,
    ) -> SpeechToText:
        """A call of a speech-to-text model: a context manager, sync and async.

        Args:
            model: its name.
            language: which it should expect, as BCP 47 (`en-GB`).
            provider: who offers it, in OpenTelemetry's words (`openai`, `deepgram`).
            spoken: False where nobody has spoken: a connection to the model that fails, say.

        Example:
            >>> import voicespan
            >>> with voicespan.conversation() as conversation:
            ...     with conversation.stt(model="whisper-1", language="en") as stt:
            ...         stt.output("What is the weather in Paris?")
        """
        started = _started("stt", model, provider, {"language": language})
        started.spoken = spoken
        return SpeechToText(self, started)

    def llm(
        self,
        *,
        model: str | None = None,
        messages: Iterable[Any] | None = None,
        provider: str | None = None,
        spoken: bool = True,
    ) -> LanguageModel:
        """A call of a language model: a context manager, sync and async.

        Args:
            model: its name.
            messages: what it is given, as the SDK takes it; the trace has those since the call before.
            provider: who offers it, in OpenTelemetry's words.
            spoken: False for a call beside the conversation (a judge, a summary), whose words nobody hears: they
                stay out of the transcript.
        """
        started = _started("llm", model, provider, {})
        started.spoken = spoken
        with guard():
            if messages is not None:
                started.messages = list(messages)
        return LanguageModel(self, started)

    def tts(
        self,
        text: str | None = None,
        *,
        model: str | None = None,
        voice: str | None = None,
        provider: str | None = None,
    ) -> TextToSpeech:
        """A call of a text-to-speech model: a context manager, sync and async.

        Args:
            text: what is to be said; left out where it streams in, see `TextToSpeech.input`.
            model: its name.
            voice: its name or id.
            provider: who offers it, in OpenTelemetry's words.
        """
        started = _started("tts", model, provider, {"voice": voice})
        started.text = None if text is None else safe_str(text)
        started.answer = self._answer or started.key
        return TextToSpeech(self, started)


class Pipeline(ModelCalls):
    """What a conversation offers to a cascade. Nothing here raises."""

    context: ConversationContext
    lifecycle: Lifecycle
    recording: bool
    #: A model was called.
    is_cascade = False
    _clock: Clock
    _prompts: PromptHistory | None = None
    _answer_is_open = False
    _nested: NestedSpans | None = None
    #: The answer that was last heard to begin.
    _audible: str | None = None

    def tool_call(self, call_id: str) -> ToolBlock:
        """Spans that start inside nest under exactly this function call (or delegation), however many are open.

        A call that `.llm(...).output(tool_calls=)` announced is running while the block is.
        """
        return ToolBlock(self, call_id)

    # What the blocks use.

    def monotonic_ns(self) -> int:
        """Now, by the conversation's clock."""
        return self._clock.monotonic_ns()

    def report(self, event: Event) -> None:
        """Something happened in the cascade."""
        if isinstance(event, StageEnded) and event.event_type != "tts":
            self._stage_ended(event)
        with self.lifecycle.lock:
            flush_now = self.lifecycle.ingest([event])
        if flush_now:
            self.lifecycle.flush()

    def report_started(self, started: StageStarted) -> None:
        """A model is called."""
        self.is_cascade = True
        if started.stage == "llm":
            started.messages = self._new_messages(started.messages)
            if started.spoken:
                self._answer, self._answer_is_open = started.key, True
        self.report(started)

    def _stage_ended(self, ended: StageEnded) -> None:
        if ended.key == self._answer:
            self._answer_is_open = False
        elif ended.event_type == "stt" and ended.text and not self._answer_is_open:
            # What is said from now on answers something else.
            self._answer = None

    @property
    def audible_answer(self) -> str | None:
        """The answer that is heard, or was heard last: the `response_id` of what interrupts it."""
        return self._audible

    def begins_answer(self, answer: str | None) -> bool:
        """Whether nothing of this answer was audible before; asked when something is."""
        begins = self._audible != answer
        self._audible = answer
        spans = self.lifecycle.spans
        if begins and spans is not None:
            spans.playback.answer_began()
        return begins

    def look_below(self) -> None:
        """Other instrumentations' spans below the root may stand for calls of language models."""
        nested = self._see_spans() if self.recording else None
        if nested is not None:
            nested.watch(self.context.root.span_id, self)

    def called_elsewhere(self, model: str | None, provider: str | None) -> LanguageModel | None:
        """Another instrumentation's span stands for a call; None: it is no part of a cascade."""
        lifecycle = self.lifecycle
        if not self.recording or lifecycle.has_framework or lifecycle.connections.live:
            return None
        started = _started("llm", model, provider, {})
        started.elsewhere = True
        return LanguageModel(self, started)

    def look_inside(self, span: Span) -> None:
        """Other instrumentations' spans may nest in this one."""
        nested = self._see_spans()
        if nested is not None:
            nested.opened(span.get_span_context().span_id)

    def _see_spans(self) -> NestedSpans | None:
        # With the first of them: it brings the SDK along.
        from voicespan.tracing.cascade.nested_spans import nested_spans  # noqa: PLC0415

        self._nested = nested_spans(self.lifecycle.root.tracer)
        return self._nested

    def looked_inside(self, span: Span, ended: StageEnded) -> None:
        """It is over: note what they count."""
        found = None if self._nested is None else self._nested.closed(span.get_span_context().span_id)
        if found is not None:
            ended.counted_inside, ended.messages_inside = found

    def span_of_stage(self, key: str) -> Span | None:
        """The span of a call, open or just over."""
        with self.lifecycle.events.held() as held:
            spans = self.lifecycle.spans
            return spans.span_of(key) if held and spans is not None else None

    def _new_messages(self, messages: list[Any] | None) -> list[Any] | None:
        if messages is None:
            return None
        if self._prompts is None:
            self._prompts = PromptHistory()
        return [plain(message) for message in self._prompts.new(messages)]


def _started(stage: Any, model: str | None, provider: str | None, facts: dict[str, Any]) -> StageStarted:
    return StageStarted(
        0,
        stage,
        LocalId.new(stage),
        stage,
        None if model is None else safe_str(model),
        None if provider is None else safe_str(provider),
        facts=facts,
    )
