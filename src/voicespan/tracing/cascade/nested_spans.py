"""Spans of GenAI instrumentations: each call of a language model stands once in the tree, and its tokens once in the sum.

OpenTelemetry's, OpenInference's and OpenLLMetry's instrumentations of the clients make a span of each call, and some
clients make another one themselves.

1. In an `llm` block such a span nests in ours. Whoever adds up the tokens of a trace adds up both, so ours has none
   where a span in it counts them.
2. Outside of blocks, below the root of a `conversation()`, it stands for the `llm`: none is written, and the
   conversation counts its tokens, its time and its function calls. Below a function call it is part of that.
3. Of such spans in each other the outermost counts.

A processor of the application's tracer provider sees that; it is added with the first `conversation()` or block.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

from voicespan.protocol.events import Usage
from voicespan.runtime.bounded import put
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv
from voicespan.tracing.cascade import genai_spans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from voicespan.tracing.cascade.stage import LanguageModel

#: Blocks and spans in them that are looked after, and spans around them: of a thousand calls at a time.
_MOST = 16_384
#: How the exception is called by which a call is stopped, and no error.
_CANCELLATIONS = frozenset({"CancelledError", "Cancelled", "GeneratorExit"})


class Conversational(Protocol):
    """What is looked after of a conversation."""

    def called_elsewhere(self, model: str | None, provider: str | None) -> LanguageModel | None:
        """Another instrumentation's span stands for a call; None: it is no part of a cascade."""
        ...


class NestedSpans(SpanProcessor):
    """Of one tracer provider."""

    def __init__(self) -> None:
        #: The block that a span is in, by the span's id: ours, and all that nest in it.
        self._blocks: dict[int, int] = {}
        #: What spans count that nest in a span, by that one's id.
        self._found: dict[int, tuple[Usage, bool]] = {}
        #: Whose call a span would stand for: by the ids of roots, and of the application's own spans below.
        self._around: dict[int, weakref.ref[Conversational]] = {}
        #: What stands for a call.
        self._calls: dict[int, LanguageModel] = {}

    def watch(self, root_id: int, conversation: Conversational) -> None:
        """From now on spans below this root may stand for a call."""
        put(self._around, root_id, weakref.ref(conversation), _MOST)

    def opened(self, span_id: int) -> None:
        """A block has begun, with this span."""
        put(self._blocks, span_id, span_id, _MOST)

    def closed(self, span_id: int) -> tuple[Usage, bool] | None:
        """A block is over: the tokens that spans in it count, and whether they have messages; None: there are none."""
        self._blocks.pop(span_id, None)
        return self._found.pop(span_id, None)

    @guarded
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  OpenTelemetry's
        """One may nest in a block, or be one."""
        parent, context = span.parent, span.context
        if parent is None or context is None:
            return
        block = self._blocks.get(parent.span_id)
        if block is not None:
            put(self._blocks, context.span_id, block, _MOST)
            return
        around = self._around.get(parent.span_id)
        if around is None or _is_ours(span):
            return
        attributes = span.attributes or {}
        conversation = around() if genai_spans.is_call(span.name, attributes) else None
        call = None
        if conversation is not None:
            call = conversation.called_elsewhere(
                genai_spans.model_of(attributes), genai_spans.provider_of(attributes)
            )
        if call is None:
            put(self._around, context.span_id, around, _MOST)
        else:
            self.opened(context.span_id)
            put(self._calls, context.span_id, call.start(), _MOST)

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """It knows now what it counted."""
        if span.context is None:
            return
        span_id = span.context.span_id
        self._around.pop(span_id, None)
        block = self._blocks.get(span_id)
        if block is None:
            return
        call = self._calls.pop(span_id, None)
        if call is not None:
            _end(call, span, self.closed(span_id))
        elif span_id != block:
            del self._blocks[span_id]
            self._count(span, block)

    def _count(self, span: ReadableSpan, block: int) -> None:
        inside = None if span.context is None else self._found.pop(span.context.span_id, None)
        attributes = span.attributes or {}
        usage = genai_spans.usage_of(attributes)
        found = inside if usage is None else (usage, genai_spans.has_messages(attributes))
        if found is None:
            return
        # Who ends later than what it is in counts in the block.
        key = (
            span.parent.span_id if span.parent is not None and span.parent.span_id in self._blocks else block
        )
        before = self._found.get(key)
        put(self._found, key, found if before is None else _both(before, found), _MOST)

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


def _is_ours(span: Span) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE


def _end(call: LanguageModel, span: ReadableSpan, inside: tuple[Usage, bool] | None) -> None:
    """The span that stands for a call is over."""
    attributes = span.attributes or {}
    usage = genai_spans.usage_of(attributes) or (None if inside is None else inside[0])
    call.suggest(usage=usage)
    call.output(
        tool_calls=genai_spans.function_calls_of(attributes),
        model=genai_spans.model_of(attributes, answered=True),
    )
    if span.status.status_code is StatusCode.ERROR:
        kind = str(attributes.get("error.type", "")).rpartition(".")[2]
        if kind in _CANCELLATIONS:
            call.interrupted()
        else:
            call.failed(span.status.description or kind or "error")
    call.end()


def _both(one: tuple[Usage, bool], other: tuple[Usage, bool]) -> tuple[Usage, bool]:
    return _sum(one[0], other[0]), one[1] or other[1]


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        (one.input_tokens or 0) + (other.input_tokens or 0),
        (one.output_tokens or 0) + (other.output_tokens or 0),
        (one.total_tokens or 0) + (other.total_tokens or 0),
    )
