"""The LangSmith copy of a span: encoded as OpenTelemetry's own encoder does, then changed in small named steps.

The application's span is never touched; every other processor and exporter sees it as it is.
"""

from __future__ import annotations

import errno
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN_CONTEXT

# Not used here: else the first text that needs it would load it in the middle of a call.
from voicespan.content import named_secrets  # noqa: F401
from voicespan.content.masking import without_secrets
from voicespan.content.secret_names import MARK, names_secret
from voicespan.delivery.encoding import langsmith_names, plain_spans
from voicespan.delivery.encoding.journal import Envelope
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from voicespan.delivery.destination.privacy import Privacy

PARENT_SPAN_ID = semconv.METADATA + "parent_span_id"
#: What LangSmith's own integrations write on a root; nothing is written on children.
ROOT_SPAN = "langsmith.root_span"
#: How many spans of the conversation LangSmith does not get.
DROPPED_SPANS = semconv.METADATA + "dropped_spans"
TRANSCRIPT_OMITTED = semconv.METADATA + "transcript_omitted"
SAMPLE_RATE = semconv.METADATA + "ls_tracing_sample_rate"

# What LangSmith's ingest makes inputs and outputs of, by attribute and by event: with
# LANGSMITH_HIDE_INPUTS and LANGSMITH_HIDE_OUTPUTS none of it may leave the process.
_INPUTS = (
    "gen_ai.prompt",
    "gen_ai.input.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.definitions",
    "input.value",
    "llm.input_messages",
    "llm.prompt_template",
    "traceloop.entity.input",
    "prompt",
    "all_messages_events",
    "tool_arguments",
)
_OUTPUTS = (
    "gen_ai.completion",
    "gen_ai.output.messages",
    "gen_ai.tool.call.result",
    "output.value",
    "llm.output_messages",
    "traceloop.entity.output",
    "retrieval.documents",
    "all_messages_events",
    "events",
)
_INPUT_EVENTS = frozenset({"gen_ai.system.message", "gen_ai.user.message", "gen_ai.content.prompt"})
_OUTPUT_EVENTS = frozenset(
    {"gen_ai.assistant.message", "gen_ai.tool.message", "gen_ai.choice", "gen_ai.content.completion"}
)
#: So many encoded resources and scopes are kept.
_MOST_ENVELOPES = 16
#: Frames and messages that we write as metadata carry both.
_BOTH = (semconv.RAW_EVENT,)


class DamagedError(OSError):
    """What was written as spans is none any more: the disk lost it, or somebody changed it."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "it is damaged")


@dataclass(frozen=True)
class SpanEncoder:
    """How the copies of one conversation's spans differ from the spans."""

    privacy: Privacy
    #: Through a Collector: the resource says what it shall route to LangSmith.
    marked: bool = False
    #: Whether they have LangSmith's names, or OpenTelemetry's like the spans.
    renamed: bool = True
    sample_rate: float | None = None
    #: By the ids of a resource and a scope, which are kept as well: while they live no others have these ids.
    _envelopes: dict[tuple[int, int], tuple[object, object, Envelope]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def of(
        self,
        spans: Iterable[ReadableSpan],
        thread_id: str | None,
        revise: Callable[[Span, ReadableSpan], None] | None = None,
        *,
        renamed: bool = True,
    ) -> list[tuple[Envelope, list[Span]]]:
        """Encoded copies, grouped by what they have in common.

        `revise` is called with each copy, and the span that it is of, before the copy is made private.
        Not `renamed`: they keep OpenTelemetry's names.
        """
        groups: dict[tuple[int, int], tuple[Envelope, list[Span]]] = {}
        for span in spans:
            copy = _encoded(span, renamed=renamed and self.renamed)
            if copy is None:
                continue
            # LangSmith finds the tokens, the cost and the filters of a thread only on runs that name it.
            if thread_id is not None and semconv.THREAD_ID not in (span.attributes or ()):
                _add(copy, semconv.THREAD_ID, thread_id)
            if self.sample_rate is not None:
                set_attributes(copy, {SAMPLE_RATE: self.sample_rate})
            if revise is not None:
                revise(copy, span)
            _make_private(copy, self.privacy)
            common = id(span.resource), id(span.instrumentation_scope)
            group = groups.get(common)
            if group is None:
                group = groups[common] = self._envelope(span), []
            group[1].append(copy)
        return list(groups.values())

    def _envelope(self, span: ReadableSpan) -> Envelope:
        """What a span has in common with others: there is one in a process, or a few."""
        resource, scope = span.resource, span.instrumentation_scope
        known = self._envelopes.get((id(resource), id(scope)))
        if known is None:
            if len(self._envelopes) >= _MOST_ENVELOPES:
                self._envelopes.clear()
            known = resource, scope, self._encoded_envelope(resource, scope)
            self._envelopes[id(resource), id(scope)] = known
        return known[2]

    def _encoded_envelope(self, resource: Resource, scope: InstrumentationScope | None) -> Envelope:
        bare = ReadableSpan("", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope)
        found = _encode(bare).resource_spans
        encoded = found[0] if found else ResourceSpans(scope_spans=[ScopeSpans()])
        _mask(encoded.resource)
        if self.marked:
            set_attributes(encoded.resource, {semconv.DELIVERY_RESOURCE: "langsmith"})
        return envelope_of(encoded, encoded.scope_spans[0])


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name == semconv.SCOPE


def _encoded(span: ReadableSpan, *, renamed: bool) -> Span | None:
    """A span by itself; None: it cannot be encoded. `renamed`: one of ours has LangSmith's names."""
    ours = _is_ours(span)
    copy = plain_spans.encoded(span, langsmith_names.NAMES if renamed and ours else plain_spans.SAME)
    change = langsmith_names.adapt if renamed else langsmith_names.undraft
    if copy is None:
        # Without the resource, which the encoder would write as JSON to compare it, and encode anew.
        found = _encode(cast("ReadableSpan", _WithoutResource(span))).resource_spans
        copy = found[0].scope_spans[0].spans[0] if found else None
        change = langsmith_names.rename if renamed else langsmith_names.undraft
    if copy is not None and ours:
        change(copy)
    return copy


class _WithoutResource:
    """A span as the encoder sees it: of the resource that all have."""

    resource = Resource({})

    def __init__(self, span: ReadableSpan) -> None:
        self._span = span

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)


def as_root(span: Span) -> None:
    """LangSmith shows no tree whose root has a parent that it never sees."""
    if span.parent_span_id:
        set_attributes(span, {PARENT_SPAN_ID: span.parent_span_id.hex()})
        span.parent_span_id = b""
    set_attributes(span, {ROOT_SPAN: True})


def fail(span: Span, at: int, kind: str, message: str) -> None:
    """End `span` at `at` (wall clock, nanoseconds) with an error, in both ways that readers look for it."""
    span.end_time_unix_nano = max(at, span.start_time_unix_nano)
    span.status.code = Status.STATUS_CODE_ERROR
    span.status.message = message
    event = span.events.add(name=semconv.EXCEPTION_EVENT, time_unix_nano=span.end_time_unix_nano)
    set_attributes(event, {semconv.EXCEPTION_TYPE: kind, semconv.EXCEPTION_MESSAGE: message})
    set_attributes(span, {semconv.ERROR_TYPE: kind})


def set_recording_start(root: Span, started_at: float) -> None:
    """Say when the recording begins: seconds since the epoch, and milliseconds after the root."""
    offset = started_at * 1000 - root.start_time_unix_nano / 1_000_000
    set_attributes(root, {semconv.AUDIO_STARTED_AT: started_at, semconv.AUDIO_START_OFFSET_MS: round(offset)})


def describe_recording(root: Span, status: str, started_at: float | None) -> None:
    """Say what became of the recording, and when it begins (seconds since the epoch; None: as it was said before)."""
    set_attributes(root, {semconv.AUDIO_ATTACH_STATUS: status})
    if status != "attached":
        _remove_recording_start(root)
    elif started_at is not None:
        set_recording_start(root, started_at)


def _remove_recording_start(root: Span) -> None:
    _remove(root, (semconv.AUDIO_STARTED_AT, semconv.AUDIO_START_OFFSET_MS), frozenset())


def count_dropped(span: Span, dropped: int) -> None:
    """Say on the root that so many more spans are missing."""
    if dropped:
        before = get_attribute(span, DROPPED_SPANS)
        set_attributes(span, {DROPPED_SPANS: dropped + (before if isinstance(before, int) else 0)})


def remove_transcript(span: Span, why: str) -> None:
    """For a server that does not take this conversation's words: too many for a request, or refused."""
    _remove(span, _INPUTS + _OUTPUTS, frozenset())
    set_attributes(span, {TRANSCRIPT_OMITTED: why})


def get_attribute(holder: _Holder, key: str) -> str | bool | float | None:
    """A scalar attribute's value."""
    for attribute in holder.attributes:
        if attribute.key == key:
            return _value(attribute)
    return None


def set_attributes(holder: _Holder, attributes: Mapping[str, str | bool | float]) -> None:
    """Add attributes, each in the place of what had its key."""
    _remove_attributes(holder, lambda key: key in attributes)
    for key, value in attributes.items():
        _add(holder, key, value)


def remove_attribute(holder: _Holder, key: str) -> None:
    """Take an attribute away, if it is there."""
    _remove_attributes(holder, lambda each: each == key)


def get_attributes(holder: _Holder) -> dict[str, str | bool | float | None]:
    """All scalar attributes: for who needs more than one or two of them."""
    return {attribute.key: _value(attribute) for attribute in holder.attributes}


def join(groups: Iterable[tuple[Envelope, Span]]) -> bytes:
    """One request of a few spans, encoded."""
    request = ExportTraceServiceRequest()
    for envelope, span in groups:
        resource_spans = request.resource_spans.add()
        resource_spans.MergeFromString(envelope.resource)
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.MergeFromString(envelope.scope)
        scope_spans.spans.append(span)
    return request.SerializeToString()


def split(request: bytes) -> Iterator[tuple[Envelope, Span]]:
    """The spans of an encoded request.

    Raises:
        DamagedError: it is none.
    """
    try:
        decoded = ExportTraceServiceRequest.FromString(request)
    except DecodeError:
        raise DamagedError from None
    for resource_spans in decoded.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            envelope = envelope_of(resource_spans, scope_spans)
            for span in scope_spans.spans:
                yield envelope, span


def renamed(groups: Iterable[tuple[Envelope, Span]]) -> Iterator[tuple[Envelope, Span]]:
    """The spans of a checkpoint, which have OpenTelemetry's names, with LangSmith's."""
    for envelope, span in groups:
        if scope_of(envelope) == semconv.SCOPE:
            langsmith_names.rename(span)
        yield envelope, span


def scope_of(envelope: Envelope) -> str:
    """The name of the scope that made the spans."""
    return str(ScopeSpans.FromString(envelope.scope).scope.name)


def _encode(span: ReadableSpan) -> ExportTraceServiceRequest:
    # One span that cannot be encoded must not take the others along.
    return guarded(encode_spans)([span]) or ExportTraceServiceRequest()


def _mask(resource: EncodedResource) -> None:
    """Detectors put the whole command line there, and people what their environment has."""
    for attribute in resource.attributes:
        if attribute.value.WhichOneof("value") == "array_value":
            values = list(attribute.value.array_value.values)
        else:
            values = [attribute.value]
        for value in values:
            if value.string_value:
                value.string_value = _masked(attribute.key, value.string_value)


@functools.lru_cache(256)
def _masked(key: str, text: str) -> str:
    # Asked for the same few with every batch of every conversation.
    return MARK if names_secret(key) else without_secrets(text)


def envelope_of(resource_spans: ResourceSpans, scope_spans: ScopeSpans) -> Envelope:
    """What the spans of one scope have in common."""
    resource = ResourceSpans(resource=resource_spans.resource, schema_url=resource_spans.schema_url)
    scope = ScopeSpans(scope=scope_spans.scope, schema_url=scope_spans.schema_url)
    return Envelope(resource.SerializeToString(), scope.SerializeToString())


def _make_private(span: Span, privacy: Privacy) -> None:
    if privacy.hide_inputs:
        _remove(span, (*_INPUTS, *_BOTH), _INPUT_EVENTS)
    if privacy.hide_outputs:
        _remove(span, (*_OUTPUTS, *_BOTH), _OUTPUT_EVENTS)
    if privacy.hide_metadata:
        _remove(
            span, (semconv.METADATA.rstrip("."), "traceloop.association.properties", "metadata"), frozenset()
        )


def _remove(span: Span, names: tuple[str, ...], events: frozenset[str]) -> None:
    # `gen_ai.prompt` is also `gen_ai.prompt.0.content`.
    prefixes = tuple(f"{name}." for name in names)
    _remove_attributes(span, lambda key: key in names or key.startswith(prefixes))
    if any(event.name in events for event in span.events):
        kept = [event for event in span.events if event.name not in events]
        del span.events[:]
        span.events.extend(kept)


def _remove_attributes(holder: _Holder, unwanted: Callable[[str], bool]) -> None:
    for index in reversed(range(len(holder.attributes))):
        if unwanted(holder.attributes[index].key):
            del holder.attributes[index]


def _value(attribute: KeyValue) -> str | bool | float | None:
    kind = attribute.value.WhichOneof("value")
    return None if kind is None else getattr(attribute.value, kind)


def _add(holder: _Holder, key: str, value: str | bool | float) -> None:
    attribute = holder.attributes.add(key=key)
    if isinstance(value, bool):
        attribute.value.bool_value = value
    elif isinstance(value, int):
        attribute.value.int_value = value
    elif isinstance(value, float):
        attribute.value.double_value = value
    else:
        attribute.value.string_value = value


if TYPE_CHECKING:
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource as EncodedResource

    _Holder = Span | Span.Event | EncodedResource
