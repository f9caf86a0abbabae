"""Spans of GenAI instrumentations in an `llm` block: they count the same tokens, which must not be counted twice.

OpenTelemetry's, OpenInference's and OpenLLMetry's instrumentations of the clients make a span of each call. In the
application's own block it nests in ours, and whoever adds up the tokens of a trace adds up both. So ours has none where
such a span has them. A processor of the application's tracer provider sees that; it is added with the first block.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from voicespan.protocol.events import Usage
from voicespan.runtime.bounded import put
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

#: What such a span counts its tokens by: of the input, and of the output.
_COUNTS = (
    ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ("llm.token_count.prompt", "llm.token_count.completion"),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
)
#: And what it has the messages in.
_MESSAGES = (
    "gen_ai.input.messages",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "input.value",
    "llm.input_messages.0.message.content",
)
#: Blocks and spans in them that are looked after.
_MOST = 1_024


class NestedSpans(SpanProcessor):
    """Of one tracer provider."""

    def __init__(self) -> None:
        #: The block that a span is in, by the span's id: ours, and all that nest in it.
        self._blocks: dict[int, int] = {}
        self._found: dict[int, tuple[Usage, bool]] = {}

    def opened(self, span_id: int) -> None:
        """A block has begun, with this span."""
        put(self._blocks, span_id, span_id, _MOST)

    def closed(self, span_id: int) -> tuple[Usage, bool] | None:
        """A block is over: the tokens that spans in it count, and whether they have messages; None: there are none."""
        self._blocks.pop(span_id, None)
        return self._found.pop(span_id, None)

    @guarded
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  OpenTelemetry's
        """One may nest in a block."""
        block = None if span.parent is None else self._blocks.get(span.parent.span_id)
        if block is not None and span.context is not None:
            put(self._blocks, span.context.span_id, block, _MOST)

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """It knows now what it counted."""
        block = None if span.context is None else self._blocks.get(span.context.span_id)
        if block is None or span.context is None or span.context.span_id == block:
            return
        del self._blocks[span.context.span_id]
        attributes = span.attributes or {}
        usage = _usage(attributes)
        if usage is not None:
            before = self._found.get(block)
            total = usage if before is None else _sum(before[0], usage)
            has_messages = any(name in attributes for name in _MESSAGES)
            put(self._found, block, (total, has_messages or (before is not None and before[1])), _MOST)

    def shutdown(self) -> None:
        """Nothing waits here."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  OpenTelemetry's
        """Nothing waits here."""
        return True


_of_processor: weakref.WeakKeyDictionary[Any, NestedSpans] = weakref.WeakKeyDictionary()


@guarded
def nested_spans(tracer: object) -> NestedSpans | None:
    """Of the SDK's provider that `tracer` is of; None: it is another SDK's."""
    processors = getattr(tracer, "span_processor", None)
    if processors is None or not hasattr(processors, "add_span_processor"):
        return None
    found = _of_processor.get(processors)
    if found is None:
        found = NestedSpans()
        processors.add_span_processor(found)
        _of_processor[processors] = found
    return found


def _usage(attributes: Any) -> Usage | None:
    for given, written in _COUNTS:
        counts = attributes.get(given), attributes.get(written)
        if isinstance(counts[0], int) or isinstance(counts[1], int):
            known = [count if isinstance(count, int) else 0 for count in counts]
            return Usage(known[0], known[1], sum(known))
    return None


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        (one.input_tokens or 0) + (other.input_tokens or 0),
        (one.output_tokens or 0) + (other.output_tokens or 0),
        (one.total_tokens or 0) + (other.total_tokens or 0),
    )
