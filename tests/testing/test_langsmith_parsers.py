"""Whatever comes over the wire is taken apart exactly, or refused in order."""

from __future__ import annotations

import base64
import contextlib
import json
import mmap
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from voicespan.testing.langsmith import multipart, otlp
from voicespan.testing.langsmith.attachments import UnreadableError, in_json

unhurried = settings(deadline=None)  # the machine may be busy with something else

values = st.one_of(
    st.text(max_size=20), st.integers(-9, 9), st.booleans(), st.floats(allow_nan=False), st.none()
)
keys = st.one_of(st.just("langsmith.attachments"), st.text(max_size=8))


@st.composite
def trace_requests(draw):
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        scope_spans = request.resource_spans.add().scope_spans.add()
        scope_spans.scope.name = "langsmith.attachments"  # here it is no attribute
        for _ in range(draw(st.integers(0, 3))):
            span = scope_spans.spans.add(
                name="s", span_id=draw(st.binary(min_size=8, max_size=8)), start_time_unix_nano=1 << 60
            )
            for key, value in draw(
                st.lists(st.tuples(keys, values), max_size=4, unique_by=lambda pair: pair[0])
            ):
                attribute = span.attributes.add(key=key)
                if value is not None:
                    kinds = {str: "string_value", int: "int_value", bool: "bool_value", float: "double_value"}
                    setattr(attribute.value, kinds[type(value)], value)
    return request


def expected(request):
    """The same by the protobuf library alone."""
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                own = otlp.attributes(span.attributes)
                text = own.pop("langsmith.attachments", None)
                yield span.span_id, own, text.encode() if isinstance(text, str) else None


def received(spans):
    return [
        (
            one.span.span_id,
            one.attributes,
            None
            if one.attachments is None
            else one.attachments.view[one.attachments.start : one.attachments.end],
        )
        for one in spans
    ]


@unhurried
@given(trace_requests())
def test_cutting_attachments_out_changes_nothing_else(request):
    content = request.SerializeToString()
    assert received(otlp.from_protobuf(content)) == list(expected(request))
    with tempfile.TemporaryFile() as file:
        file.write(content + b"\0")  # an empty file cannot be mapped
        file.flush()
        with (
            mmap.mmap(file.fileno(), len(content), access=mmap.ACCESS_READ) if content else _nothing() as view
        ):
            assert received(otlp.from_protobuf(view)) == list(expected(request))


def _nothing():
    return contextlib.nullcontext(b"")


@unhurried
@given(trace_requests(), st.data())
def test_a_damaged_request_is_refused_in_order(request, data):
    content = bytearray(request.SerializeToString() + b"langsmith.attachments")
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(otlp.MalformedError):
        otlp.from_protobuf(bytes(content))


@unhurried
@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key", "value"]), inner
)))  # fmt: skip
def test_any_json_is_refused_in_order(content):
    with contextlib.suppress(otlp.MalformedError):
        otlp.from_json(json.dumps(content).encode())


attachment_lists = st.lists(
    st.tuples(st.text(max_size=9), st.binary(max_size=50), st.text(max_size=9)), max_size=3
)


@unhurried
@given(attachment_lists, st.booleans(), st.sampled_from([None, 2]))
def test_attachments_come_out_as_they_went_in(files, ascii_only, indent):
    written = json.dumps(
        [
            {"name": name, "content": base64.b64encode(content).decode(), "mime_type": mime_type}
            for name, content, mime_type in files
        ],
        ensure_ascii=ascii_only,
        indent=indent,
    ).encode("utf-8", "surrogatepass")
    text = otlp.Text(b"before" + written + b"after", 6, 6 + len(written))
    assert [(name, b"".join(content), mime_type) for name, mime_type, content in in_json(text)] == files


@unhurried
@given(attachment_lists, st.data())
def test_damaged_attachments_are_refused_in_order(files, data):
    written = bytearray(
        json.dumps([{"name": n, "content": c.hex(), "mime_type": m} for n, c, m in files]).encode()
    )
    for place in data.draw(st.lists(st.integers(0, len(written) - 1), max_size=3)):
        written[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableError):
        for _, _, content in in_json(otlp.Text(bytes(written), 0, len(written))):
            b"".join(content)


@unhurried
@given(st.binary(max_size=200))
def test_any_multipart_body_is_refused_in_order(content):
    with contextlib.suppress(multipart.MalformedError):
        multipart.operations(
            b'--B\r\nContent-Disposition: form-data; name="post.x"\r\n' + content,
            "multipart/form-data; boundary=B",
        )
