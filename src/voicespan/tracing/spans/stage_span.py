"""The span of one call of a model: what stands on it when it begins, and what is added when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.tracing import semconv
from voicespan.tracing.cascade.messages import role_of
from voicespan.tracing.spans.usage import usage_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.protocol import stages
    from voicespan.tracing.spans.response_gap import SynthesizedGap
    from voicespan.tracing.spans.span_writer import SpanWriter
    from voicespan.tracing.spans.stage_gap import AnsweredGap

#: OpenTelemetry's names for what is done, and for what comes of it.
_OPERATIONS = {"stt": "speech_to_text", "llm": "chat", "tts": "text_to_speech"}
_OUTPUT_TYPES = {"stt": "text", "llm": "text", "tts": "speech"}
_FIRST_OUTPUT = {"llm": "time_to_first_token_ms", "tts": "time_to_first_byte_ms"}


@dataclass(slots=True)
class StageSpan:
    """Of one call."""

    started: stages.StageStarted
    #: None: the budget of spans is used up.
    span: Span | None
    first_at: int | None = None
    gap: AnsweredGap | SynthesizedGap | None = None

    @classmethod
    def begin(cls, writer: SpanWriter, content: Content, started: stages.StageStarted) -> StageSpan:
        """The model is called."""
        characters = len(started.text) if started.text is not None else None
        span = writer.begin(
            started.stage,
            started.event_type,
            started.at,
            kind="llm",
            prompt=_prompt(started, content),
            facts={**started.facts, "characters": characters},
            attributes=_attributes(started),
            parent=started.parent,
        )
        return cls(started, span)

    def place(self, began: float, ended: float) -> None:
        """What a transcription heard: from where to where in the recording, seconds."""
        if self.span is not None:
            heard = (
                f'{{"audio":{{"recording":"conversation","start_seconds":{began},"end_seconds":{ended}}}}}'
            )
            self.span.set_attribute(semconv.INPUT_VALUE, heard)

    def finish(self, reason: str) -> None:
        """Why a language model stopped, in the words of the chat APIs."""
        if self.span is not None:
            self.span.set_attribute(semconv.FINISH_REASONS, (reason,))

    def end(
        self,
        writer: SpanWriter,
        content: Content,
        ended: stages.StageEnded,
        completion: Any,
        facts: Mapping[str, Any],
    ) -> None:
        """The call is over. `completion`: as it may be stored."""
        span, started = self.span, self.started
        if span is None:
            return
        if ended.model is not None:
            span.set_attribute(semconv.RESPONSE_MODEL, ended.model)
            if started.model is None:
                span.set_attribute(semconv.REQUEST_MODEL, ended.model)
        if ended.usage is not None and ended.counted_inside is None:
            span.set_attributes(usage_attributes(ended.usage))
        if ended.messages_inside:
            span.set_attribute(semconv.MESSAGE_VIEW_EXCLUDE, True)
        whole = {
            "status": "cancelled"
            if ended.cancelled
            else "failed"
            if ended.error is not None
            else "completed",
            "audio_seconds": None if ended.seconds is None else round(ended.seconds, 3),
            **facts,
            **ended.facts,
        }
        prompt = None
        if started.stage == "tts" and ended.text is not None:
            # It streamed in.
            started.text = ended.text
            prompt = _prompt(started, content)
            whole["characters"] = len(ended.text)
        if self.first_at is not None and started.stage in _FIRST_OUTPUT:
            whole[_FIRST_OUTPUT[started.stage]] = round((self.first_at - started.at) / 1e6, 3)
        writer.end(
            span,
            ended.at,
            error=content.error(ended.error),
            prompt=prompt,
            completion=completion,
            facts={name: fact for name, fact in whole.items() if fact is not None},
        )


def completion_of(ended: stages.StageEnded, content: Content) -> Any:
    """What a transcription or a synthesis gave, as it may be stored."""
    if ended.event_type == "stt":
        text = content.text(ended.text, role="user", place="transcript")
        return None if text is None else {"messages": [{"role": "user", "content": text}]}
    return None if ended.seconds is None else {"audio": {"seconds": round(ended.seconds, 3)}}


def _prompt(started: stages.StageStarted, content: Content) -> Any:
    """What the model is given, as it may be stored."""
    if started.stage == "tts":
        text = content.text(started.text, role="assistant", place="transcript")
        return None if text is None else {"messages": [{"role": "assistant", "content": text}]}
    if started.messages is None:
        return None
    return {"messages": [_stored(message, content) for message in started.messages]}


def _stored(message: Any, content: Content) -> Any:
    role = role_of(message)
    if isinstance(message, dict) and isinstance(message.get("content"), str):
        place = "result" if role == "tool" else "transcript"
        rest = {name: value for name, value in message.items() if name != "content"}
        text = content.text(message["content"], role=role, place=place)
        return {**content.frame(rest, role=role), "content": text}
    return content.frame(message, role=role or "user")


def _attributes(started: stages.StageStarted) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.OPERATION: _OPERATIONS[started.stage],
        semconv.OUTPUT_TYPE: _OUTPUT_TYPES[started.stage],
    }
    if started.model is not None:
        attributes[semconv.REQUEST_MODEL] = started.model
    if started.provider is not None:
        attributes[semconv.PROVIDER] = attributes[semconv.SYSTEM] = started.provider
    if started.stage != "llm":
        attributes[semconv.MESSAGE_VIEW_EXCLUDE] = True
    return attributes
