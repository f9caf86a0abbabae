"""Operations: what lasts and is neither a turn nor a function call, under the name that its provider gives it.

A task that the model gave to the application is one, so is a response of another model that works on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import LocalId, WireError
from voicespan.runtime.bounded import MOST, put
from voicespan.tracing import semconv
from voicespan.tracing.spans.usage import usage_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.protocol.events import OperationEnded, OperationStarted
    from voicespan.tracing.spans.current import CurrentSpan
    from voicespan.tracing.spans.span_writer import SpanWriter

_NEVER_ENDED = WireError("never_ended", "the conversation ended before this was over")


class Operations:
    """Those of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self,
        writer: SpanWriter,
        content: Content,
        current: CurrentSpan,
        provider: Mapping[str, AttributeValue],
    ) -> None:
        """`provider` gives the facts of the conversation's own model, for llm spans."""
        self._writer = writer
        self._content = content
        self._current = current
        self._provider = provider
        self._open: dict[str, Span | None] = {}
        self._past: dict[str, Span | None] = {}
        self._tools: tuple[str, ...] = ()

    @property
    def is_waiting(self) -> bool:
        """Whether the model waits for one of them: a person's approval, for example."""
        return bool(self._tools)

    def begin(self, started: OperationStarted) -> None:
        """One began; under a key that is open already nothing does."""
        if started.key in self._open:
            return
        attributes: dict[str, AttributeValue] = {}
        if started.kind == "llm":
            attributes = {**self._provider, semconv.OPERATION: semconv.CHAT}
        elif started.tool is not None:
            attributes = {semconv.OPERATION: semconv.EXECUTE_TOOL, semconv.TOOL_NAME: started.tool}
        elif started.is_agents:
            attributes = {semconv.OPERATION: semconv.INVOKE_AGENT}
        span = self._writer.begin(
            started.name,
            started.event_type,
            started.at,
            kind=started.kind,
            prompt=self._stored(started.prompt),
            facts=started.facts,
            attributes=attributes,
            parent=self.span(started.within),
        )
        self._open[started.key] = span
        if started.kind == "tool":
            self._tools += (started.key,)
        if started.is_current:
            self._current.opened(started.key, span, started.within)
        if len(self._open) > MOST:
            self._end(next(iter(self._open)), started.at, error=_NEVER_ENDED)

    def is_open(self, key: str) -> bool:
        """Whether one under this key began and is not over."""
        return key in self._open

    def end(self, ended: OperationEnded) -> None:
        """One is over; where nothing began nothing ends."""
        span = self._open.get(ended.key)
        if span is not None:
            if ended.model is not None:
                span.set_attribute(semconv.REQUEST_MODEL, ended.model)
                span.set_attribute(semconv.RESPONSE_MODEL, ended.model)
            if ended.usage is not None:
                span.set_attributes(usage_attributes(ended.usage))
            reason = ended.facts.get("reason") or ended.facts.get("status")
            if isinstance(reason, str) and " " not in reason:
                span.set_attribute(semconv.FINISH_REASONS, (reason,))
        self._end(
            ended.key,
            ended.at,
            error=self._content.error(ended.error),
            prompt=self._stored(ended.prompt),
            completion=self._stored(ended.completion),
            facts={key: fact for key, fact in ended.facts.items() if not isinstance(fact, LocalId)},
        )

    def finish(self, at: int) -> None:
        """The conversation is over."""
        for key in list(self._open):
            self._end(key, at, error=_NEVER_ENDED)

    def span(self, key: object) -> Span | None:
        """The span of an operation, open or past; the application may ask for anything."""
        return (self._open.get(key) or self._past.get(key)) if isinstance(key, str) else None

    def _end(self, key: str, at: int, **outcome: Any) -> None:
        if key not in self._open:
            return
        span = self._open.pop(key)
        self._tools = tuple(each for each in self._tools if each != key)
        put(self._past, key, span)
        if span is not None:
            self._writer.end(span, at, **outcome)
        self._current.closed(key)

    def _stored(self, content: Any) -> Any:
        return None if content is None else self._content.frame(content, role="assistant")
