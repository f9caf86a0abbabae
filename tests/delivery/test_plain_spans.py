"""What is encoded without OpenTelemetry's encoder is the same, byte for byte; what cannot be is left to it."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.encoding import langsmith_names, plain_spans
from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.tracing import semconv

PLAIN = {
    "bare": {},
    "texts": {
        "a": "b",
        "gen_ai.prompt": '{"messages":[]}',
        "empty": "",
        "long": "ü" * 300,
        "emoji": "\U0001f3a4",
    },
    "numbers": {
        "zero": 0,
        "minus": -1,
        "large": (1 << 63) - 1,
        "half": 0.5,
        "none": 0.0,
        "yes": True,
        "no": False,
    },
    "lists": {"reasons": ["stop", "", "länge"]},
}
LEFT = {
    "list of numbers": {"n": [1, 2]},
    "empty list": {"n": []},
    "bytes": {"b": b"\x00\xff"},
    "too large": {"n": 1 << 64, "kept": 1},
    "half a letter": {"t": "\ud800", "kept": 1},
}


def span(attributes, *, parent=None, kind=SpanKind.INTERNAL, status=None, limits=None, **given):
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent is not None else None
    made = provider.get_tracer("a scope", "1").start_span(
        "name", context, kind=kind, attributes=attributes, start_time=1_700_000_000_000_000_001, **given
    )
    if status is not None:
        made.set_status(status)
    made.end(1_700_000_000_000_000_009)
    return made


def theirs(span):
    return encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]


def context(*, remote=False, state=None):
    return SpanContext(7, 8, remote, TraceFlags(1), state)


@pytest.mark.parametrize(
    "made",
    [
        *(pytest.param(span(attributes), id=name) for name, attributes in PLAIN.items()),
        *(pytest.param(span({}, kind=kind), id=kind.name) for kind in SpanKind),
        pytest.param(span({}, parent=context()), id="child"),
        pytest.param(
            span({}, parent=context(remote=True, state=TraceState([("a", "b"), ("c", "d")]))), id="remote"
        ),
        pytest.param(span({}, status=Status(StatusCode.ERROR, "no\u00e9")), id="error"),
        pytest.param(span({}, status=Status(StatusCode.OK)), id="ok"),
        pytest.param(span({"a": 1, "b": 2, "c": 3}, limits=SpanLimits(max_span_attributes=1)), id="cut"),
    ],
)
def test_a_plain_span_is_the_same_message(made):
    ours = plain_spans.encoded(made)
    assert ours is not None
    assert ours.SerializeToString() == theirs(made).SerializeToString()


@pytest.mark.parametrize("attributes", LEFT.values(), ids=LEFT.keys())
def test_what_only_opentelemetrys_encoder_knows_is_its(attributes, caplog):
    # A value that the SDK does not take, or its encoder cannot write, is named in its log.
    made = span(attributes)
    if made.attributes == {"kept": 1}:
        return
    assert plain_spans.encoded(made) is None
    [(_, [copy])] = SpanEncoder(Privacy()).of([made], None)
    assert copy.SerializeToString() == theirs(made).SerializeToString()


def test_links_and_odd_events_are_its_as_well():
    linked = span({}, links=[Link(context(), {"a": 1})])
    assert plain_spans.encoded(linked) is None
    provider = TracerProvider(shutdown_on_exit=False)
    failed = provider.get_tracer("a scope").start_span("name")
    failed.record_exception(ValueError("no"))
    failed.end()
    assert plain_spans.encoded(failed) == theirs(failed)
    odd = provider.get_tracer("a scope").start_span("name")
    odd.add_event("numbers", {"n": [1, 2]})
    odd.end()
    assert plain_spans.encoded(odd) is None
    groups = SpanEncoder(Privacy()).of([linked, failed, span({})], None)
    copies = [copy for _, copies in groups for copy in copies]
    assert [len(copy.links) for copy in copies] == [1, 0, 0]
    assert [event.name for event in copies[1].events] == ["exception"]


def test_a_renamed_span_is_the_same_whoever_encodes_it():
    text = '[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]'
    attributes = {semconv.INPUT_MESSAGES: text, semconv.OUTPUT_VALUE: "{}", "kept": 1}
    for name in semconv.PRICED_AUDIO.values():
        attributes[name] = 3
    made = span(attributes)
    renamed = theirs(made)
    langsmith_names.rename(renamed)
    ours = plain_spans.encoded(made, langsmith_names.NAMES)
    assert ours is not None
    assert ours.SerializeToString() == renamed.SerializeToString()
    assert [each.key for each in ours.attributes] == [semconv.PROMPT, semconv.COMPLETION, "kept"]


def test_what_an_applications_own_span_shows_is_encoded_and_not_what_it_keeps():
    class Redacted(ReadableSpan):
        @property
        def attributes(self):
            return {"words": "[hidden]"}

    made = span({"words": "my pin is 1234"})
    shown = Redacted("name", made.get_span_context(), attributes=made.attributes)
    ours = plain_spans.encoded(shown)
    assert ours is not None
    assert b"1234" not in ours.SerializeToString()
    assert ours.attributes[0].value.string_value == "[hidden]"


def test_spans_of_two_providers_and_scopes_stand_apart():
    first, second = span({}), span({})
    other = TracerProvider(shutdown_on_exit=False).get_tracer("another scope").start_span("name")
    other.end()
    groups = SpanEncoder(Privacy()).of([first, other, second], "thread")
    assert [len(copies) for _, copies in groups] == [1, 1, 1]
    scopes = [encode_spans([each]).resource_spans[0].scope_spans[0] for each in (first, other, second)]
    for (envelope, _), whole in zip(groups, scopes, strict=True):
        del whole.spans[:]
        assert envelope.scope == whole.SerializeToString()
