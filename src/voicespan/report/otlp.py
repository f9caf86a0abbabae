"""Requests of OTLP/HTTP: what an exporter sends, and what it is answered."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from voicespan.delivery.encoding import otlp_json

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/v1/traces"
#: Bytes of a request, packed or not: three hours of a recording.
MOST = 128 << 20
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
#: What a success is answered: an empty response.
_EMPTY = {_PROTOBUF: b"", _JSON: b"{}"}
#: As zlib wants it for gzip.
_GZIP = 16 + zlib.MAX_WBITS
_LONGEST_LINE = 1_024
_PIECE = 1 << 16


class RefusedError(Exception):
    """A request that is not taken."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Answer(NamedTuple):
    """What a success is answered."""

    content: bytes
    kind: str


def decoded(kind: str, encoding: str, body: bytes) -> tuple[ExportTraceServiceRequest, Answer]:
    """What a request says, and the answer to it.

    Args:
        kind: Its Content-Type.
        encoding: Its Content-Encoding.
        body: As it came.

    Raises:
        RefusedError: it is none.
    """
    kind = kind.partition(";")[0].strip().lower()
    if kind not in _EMPTY:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {_PROTOBUF} or {_JSON}")
    content = _unpacked(encoding.strip().lower(), body)
    try:
        found = (
            ExportTraceServiceRequest.FromString(content) if kind == _PROTOBUF else otlp_json.read(content)
        )
    except (DecodeError, ValueError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no trace request of OTLP") from None
    return found, Answer(_EMPTY[kind], kind)


def _unpacked(encoding: str, body: bytes) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is gzip or nothing")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        content = unpacking.decompress(body, MOST)
    except zlib.error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no gzip") from None
    if unpacking.unconsumed_tail:
        raise too_large()
    if not unpacking.eof:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body ends too early")
    return content


def too_large() -> RefusedError:
    """What a request is answered that is larger than `MOST`."""
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MOST >> 20} MiB")


def in_chunks(read_line: Callable[[int], bytes], read: Callable[[int], bytes]) -> bytes:
    """A body whose length nobody said before (RFC 9112, section 7.1).

    Raises:
        RefusedError: it is none, or too large.
    """
    body = bytearray()
    while True:
        size = read_line(_LONGEST_LINE).partition(b";")[0].strip()
        try:
            left = int(size, 16)
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body has no chunks") from None
        if left < 0 or len(body) + left > MOST:
            raise too_large()
        if left == 0:
            break
        body += read(left)
        read_line(_LONGEST_LINE)
    while read_line(_LONGEST_LINE).strip():
        pass
    return bytes(body)
