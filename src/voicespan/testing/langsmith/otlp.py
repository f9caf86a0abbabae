"""OTLP trace requests, protobuf or JSON, taken apart into spans.

A recording makes a span of hundreds of megabytes. Parsing that as protobuf would hold the base64 text in
memory several times over, so the text of every `langsmith.attachments` is first cut out of the message,
on the level of the wire format, and only its place in the body is kept.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    View = bytes | mmap.mmap

ATTACHMENTS = "langsmith.attachments"

# Field numbers of opentelemetry/proto/{collector/trace,trace,common}/v1.
_REQUEST_TO_ATTRIBUTES = (1, 2, 2, 9)  # resource_spans, scope_spans, spans, attributes
_KEY, _VALUE = 1, 2
_STRING_VALUE = 1

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class MalformedError(Exception):
    """The body is no OTLP trace request."""


@dataclass(frozen=True)
class Text:
    """A piece of text where it lies in a body."""

    view: View
    start: int
    end: int


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came.

    Attributes:
        attributes: As Python values, without `langsmith.attachments`.
        resource: The attributes of the resource, alike.
        attachments: The JSON text of `langsmith.attachments`.
    """

    span: Span
    attributes: dict[str, Any]
    resource: dict[str, Any]
    attachments: Text | None


def from_protobuf(view: View) -> list[ReceivedSpan]:
    """The spans of an `ExportTraceServiceRequest`.

    Raises:
        MalformedError: It is none.
    """
    texts: list[Text] = []
    try:
        small = (
            bytes(view)
            if view.find(ATTACHMENTS.encode()) < 0
            else _without_attachments(view, 0, len(view), _REQUEST_TO_ATTRIBUTES, texts)
        )
        return list(_spans(ExportTraceServiceRequest.FromString(small), texts))
    except (DecodeError, ValueError, IndexError) as error:
        raise MalformedError("the body is no protobuf ExportTraceServiceRequest") from error


def from_json(view: View) -> list[ReceivedSpan]:
    """The spans of an OTLP/JSON request: protobuf's JSON, but with ids in hexadecimal.

    Raises:
        MalformedError: It is none.
    """
    try:
        content = json.loads(view[:])
        _ids_to_base64(content)
        request = ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError) as error:
        raise MalformedError("the body is no OTLP/JSON trace request") from error
    return list(_spans(request, None))


def _ids_to_base64(content: Any) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ("traceId", "spanId", "parentSpanId"):
                content[key] = base64.b64encode(binascii.unhexlify(value)).decode()
            else:
                _ids_to_base64(value)
    elif isinstance(content, list):
        for item in content:
            _ids_to_base64(item)


def _spans(request: ExportTraceServiceRequest, texts: list[Text] | None) -> Iterator[ReceivedSpan]:
    for resource_spans in request.resource_spans:
        resource = attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                own = attributes(span.attributes)
                written = own.pop(ATTACHMENTS, None)
                text = None
                if isinstance(written, str):
                    text = texts[int(written)] if texts is not None else _text_of(written)
                yield ReceivedSpan(span, own, resource, text)


def _text_of(written: str) -> Text:
    view = written.encode()
    return Text(view, 0, len(view))


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python values; of a key that comes twice the last counts."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def _without_attachments(view: View, start: int, end: int, path: tuple[int, ...], texts: list[Text]) -> bytes:
    """The message between `start` and `end` with every attachment's text, found along `path`, replaced.

    A text's number in `texts` takes its place.
    """
    kept: list[bytes] = []
    for number, field_start, value_start, field_end in _fields(view, start, end):
        if number != path[0]:
            kept.append(view[field_start:field_end])
            continue
        inner = (
            _without_attachments(view, value_start, field_end, path[1:], texts)
            if len(path) > 1
            else _small_attribute(view, value_start, field_end, texts)
        )
        kept.append(_length_delimited(number, inner))
    return b"".join(kept)


def _small_attribute(view: View, start: int, end: int, texts: list[Text]) -> bytes:
    parts = {
        number: (value_start, value_end) for number, _, value_start, value_end in _fields(view, start, end)
    }
    key_start, key_end = parts.get(_KEY, (start, start))
    if view[key_start:key_end] != ATTACHMENTS.encode() or _VALUE not in parts:
        return view[start:end]
    for number, _, text_start, text_end in _fields(view, *parts[_VALUE]):
        if number == _STRING_VALUE:
            texts.append(Text(view, text_start, text_end))
            place = _length_delimited(_STRING_VALUE, str(len(texts) - 1).encode())
            return _length_delimited(_KEY, ATTACHMENTS.encode()) + _length_delimited(_VALUE, place)
    return view[start:end]


def _fields(view: View, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field of a message: its number, where it starts, where its value starts, where it ends.

    Raises:
        ValueError: A field reaches beyond `end`, or is of a kind that proto3 does not write.
        IndexError: The view ends in the middle of a field.
    """
    position = start
    while position < end:
        field_start = position
        tag, position = _varint(view, position)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            size, position = _varint(view, position)
        elif kind == _VARINT:
            size = _varint(view, position)[1] - position
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("not a protobuf field")
        if position + size > end:
            raise ValueError("a protobuf field reaches beyond its message")
        yield tag >> 3, field_start, position, position + size
        position += size


def _varint(view: View, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  the continuation bit
            return value, position
    raise ValueError("a protobuf varint has no end")


def _length_delimited(number: int, content: bytes) -> bytes:
    return _encoded_varint(number << 3 | _LENGTH_DELIMITED) + _encoded_varint(len(content)) + content


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004  seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
