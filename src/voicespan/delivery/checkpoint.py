"""What is open in a conversation, as it is now: what the trace will say if its process dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan

from voicespan.delivery.encoding import langsmith_spans

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as EncodedSpan
    from opentelemetry.sdk.trace import Span
    from opentelemetry.util.types import Attributes

    from voicespan.delivery.encoding.journal import Envelope
    from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
    from voicespan.delivery.traces import Trace


def opened(trace: Trace, encoder: SpanEncoder, *, first: bool = False) -> bytes | None:
    """The root, with what it would say if it ended now, and the other open spans.

    None: the root has ended, or its conversation does not answer. `first`: then it is the root as it started.
    """
    root = trace.root
    if root is None:
        return None
    facts = trace.conversation.root_facts() if trace.conversation is not None else {}
    if facts is None:
        # Another thread writes its spans, or hangs in a hook: the checkpoint before this one stands, if there is one.
        if not first:
            return None
        facts = {}
    spans: list[ReadableSpan] = [*trace.open_spans(), _with(root, {**(root.attributes or {}), **facts})]

    def revise(copy: EncodedSpan, span: ReadableSpan) -> None:
        if not trace.is_root(span):
            trace.place_copy(copy, span)
            return
        langsmith_spans.as_root(copy)
        if trace.delivery is not None and trace.delivery.recording_started_at is not None:
            langsmith_spans.set_recording_start(copy, trace.delivery.recording_started_at)

    # With OpenTelemetry's names: a long transcript is written again and again, and read only if the process dies.
    return request(encoder.of(spans, trace.thread_id, revise, renamed=False))


def request(groups: list[tuple[Envelope, list[EncodedSpan]]]) -> bytes:
    """A few copies as one request."""
    return langsmith_spans.join((envelope, span) for envelope, spans in groups for span in spans)


def _with(root: Span, attributes: Attributes) -> ReadableSpan:
    return ReadableSpan(
        root.name,
        root.get_span_context(),
        root.parent,
        root.resource,
        attributes,
        root.events,
        root.links,
        root.kind,
        status=root.status,
        start_time=root.start_time,
        instrumentation_scope=root.instrumentation_scope,
    )
