"""What each ended span means for the metrics. Runs on the thread `voicespan-metrics`.

What is counted once a conversation (answers, interruptions, what was dropped) is read from its root, so that metrics
and roots agree, and a conversation whose process died is counted whole when its root is rebuilt.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context

from voicespan.protocol import events
from voicespan.runtime.measurements import CallCost, DroppedSpans, EndedSpan, LoopBlocked
from voicespan.tracing import semconv
from voicespan.tracing.metrics.instruments import Instruments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.metrics import MeterProvider

#: So many values each attribute may have: what a peer or an application makes up must not become series without end.
_MOST_VALUES = 100
_OTHER = "_OTHER"
#: Characters of one.
_LONGEST = 200
#: Roots that were counted: each destination may find the same one.
_MOST_ROOTS = 1_000

#: Operations that are no call of a model.
_NO_CALLS = frozenset({semconv.EXECUTE_TOOL, semconv.INVOKE_AGENT, semconv.USER_SPEECH})
_MODALITIES = ("text", "audio", "image", "video")
_OUTCOMES = ("completed", "cancelled", "failed", "incomplete", "rejected", "empty")
#: What of a conversation stands on each of its measurements.
_PROVIDER = (semconv.PROVIDER, semconv.REQUEST_MODEL)


class MetricRecorder:
    """Records to one provider. Called by one thread at a time."""

    def __init__(self, provider: MeterProvider) -> None:
        """Make the instruments: a fifth of a millisecond, once."""
        self._instruments = Instruments(provider)
        self._values: dict[str, dict[str, None]] = {}
        self._roots: OrderedDict[tuple[type, int, int], None] = OrderedDict()

    def __call__(self, measured: object) -> None:
        """Record it."""
        if isinstance(measured, EndedSpan):
            if _says_something(measured):
                _Span(measured, self._instruments, self._bounded).record(self._is_new)
        elif isinstance(measured, LoopBlocked):
            self._instruments.record(semconv.BLOCKED, measured.seconds, {}, None)
        elif isinstance(measured, DroppedSpans):
            self._instruments.count(semconv.DROPPED, measured.spans, {}, None)
        elif isinstance(measured, CallCost) and self._is_new(
            CallCost, measured.trace_id, measured.root_span_id
        ):
            attributes = self._bounded({key: measured.attributes.get(key) for key in _PROVIDER})
            context = _context(trace.SpanContext(measured.trace_id, measured.root_span_id, False, _SAMPLED))
            self._instruments.record(semconv.CALL_COST, measured.dollars, attributes, context)

    def _is_new(self, kind: type, trace_id: int, span_id: int) -> bool:
        """Whether this conversation was not counted yet."""
        key = (kind, trace_id, span_id)
        if key in self._roots:
            return False
        self._roots[key] = None
        if len(self._roots) > _MOST_ROOTS:
            self._roots.popitem(last=False)
        return True

    def _bounded(self, attributes: Mapping[str, Any]) -> dict[str, str]:
        """Those that are known, each with one of not too many values."""
        kept: dict[str, str] = {}
        for key, value in attributes.items():
            if value is None:
                continue
            text = str(value)[:_LONGEST]
            values = self._values.setdefault(key, {})
            if text not in values and len(values) >= _MOST_VALUES:
                text = _OTHER
            else:
                values[text] = None
            kept[key] = text
        return kept


def _says_something(ended: EndedSpan) -> bool:
    """Whether the span is recorded, and one of those that are measured. Most are not."""
    span = ended.span
    if getattr(span, "end_time", None) is None:
        return False
    return ended.is_root or span.name == events.INTERRUPTED or semconv.OPERATION in (span.attributes or ())


_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)


def _context(span: trace.SpanContext) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(span), Context())


class _Span:
    """One span that has ended."""

    def __init__(
        self,
        ended: EndedSpan,
        instruments: Instruments,
        bounded: Callable[[Mapping[str, Any]], dict[str, str]],
    ) -> None:
        self._ended = ended
        # A copy: in the SDK's own a missing attribute costs an exception, and a lock.
        self._attributes = dict(ended.span.attributes or {})
        self._instruments = instruments
        self._bounded = bounded
        self._seconds = max(ended.span.end_time - (ended.span.start_time or 0), 0) / 1e9
        self._span_context: trace.SpanContext = ended.span.get_span_context()
        self._context = _context(self._span_context)

    def record(self, is_new: Callable[[type, int, int], bool]) -> None:
        """All that it says."""
        if self._ended.is_root:
            if is_new(EndedSpan, self._span_context.trace_id, self._span_context.span_id):
                self._record_root()
            return
        operation = self._attributes.get(semconv.OPERATION)
        if operation == semconv.EXECUTE_TOOL:
            self._value(semconv.TOOL_DURATION, self._seconds, self._of(semconv.TOOL_NAME, semconv.ERROR_TYPE))
        elif operation is not None and operation not in _NO_CALLS:
            self._record_call()
        self._record_ms(semconv.GAP, "response_gap_ms", "response_gap_basis")
        self._record_ms(semconv.BARGE_IN, "barge_in_ms", "barge_in_basis")

    def _record_call(self) -> None:
        """A call of a model."""
        same = self._of(semconv.OPERATION, semconv.RESPONSE_MODEL)
        duration = {**same, **self._of(semconv.ERROR_TYPE)}
        self._value(semconv.OPERATION_DURATION, self._seconds, duration)
        for side in ("input", "output"):
            for modality, tokens in self._tokens(side):
                self._value(
                    semconv.TOKEN_USAGE,
                    tokens,
                    {**same, semconv.TOKEN_TYPE: side, semconv.TOKEN_MODALITY: modality},
                )

    def _tokens(self, side: str) -> Iterator[tuple[str, int]]:
        """Tokens by modality, each once, so that they sum to all of them."""
        total = self._attributes.get(f"{semconv.USAGE}{side}_tokens")
        left = total if isinstance(total, int) else 0
        for modality in _MODALITIES:
            tokens = self._attributes.get(f"{semconv.USAGE}{modality}.{side}_tokens")
            if isinstance(tokens, int) and tokens > 0:
                left -= tokens
                yield modality, tokens
        if left > 0:
            yield "unknown", left

    def _record_ms(self, name: str, figure: str, basis: str) -> None:
        value = self._attributes.get(semconv.METADATA + figure)
        if isinstance(value, (int, float)):
            attributes = {**self._of(), semconv.BASIS: self._attributes.get(semconv.METADATA + basis)}
            self._value(name, value / 1e3, attributes)

    def _record_root(self) -> None:
        of_call = self._of()
        status = self._attributes.get(semconv.METADATA + "status")
        whole = {**of_call, **self._of(semconv.ERROR_TYPE), semconv.OUTCOME: status}
        self._value(semconv.CALL_DURATION, self._seconds, whole)
        for outcome in _OUTCOMES:
            self._count(semconv.ANSWERS, f"answers_{outcome}", {**of_call, semconv.OUTCOME: outcome})
        # None is counted as well: a series that is not there looks like one that nobody reports.
        self._count(semconv.INTERRUPTIONS, "interruption_count", of_call, otherwise=0)
        self._count(semconv.DROPPED, "dropped_spans", {}, otherwise=0)

    def _of(self, *more: str) -> dict[str, Any]:
        """Provider and model, and `more` of the span's attributes."""
        own = {key: self._attributes.get(key) for key in (*_PROVIDER, *more)}
        return {key: self._ended.provider.get(key) if value is None else value for key, value in own.items()}

    def _value(self, name: str, value: float, attributes: Mapping[str, Any]) -> None:
        self._instruments.record(name, value, self._bounded(attributes), self._context)

    def _count(
        self, name: str, figure: str, attributes: Mapping[str, Any], *, otherwise: int | None = None
    ) -> None:
        number = self._attributes.get(semconv.METADATA + figure, otherwise)
        if isinstance(number, int) and number >= 0:
            self._instruments.count(name, number, self._bounded(attributes), self._context)
