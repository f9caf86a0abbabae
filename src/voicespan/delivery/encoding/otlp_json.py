"""Spans as OTLP JSON, as OpenTelemetry's protocol writes it and the Collector's file exporter reads it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from voicespan.delivery.encoding.journal import Envelope

#: OTLP JSON writes these as hexadecimal digits where protobuf's own JSON has base64.
_IDS = ("traceId", "spanId", "parentSpanId")


def line(envelope: Envelope, spans: Iterable[Span]) -> bytes:
    """One line: a whole request with spans that have resource and scope in common."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.MergeFromString(envelope.resource)
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.MergeFromString(envelope.scope)
    scope_spans.spans.extend(spans)
    written = MessageToDict(request, use_integers_for_enums=True)
    for group in written["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope.get("spans", ()):
                _name_ids(span)
                for link in span.get("links", ()):
                    _name_ids(link)
    return json.dumps(written, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read(content: bytes) -> ExportTraceServiceRequest:
    """A request as it is written here.

    Raises:
        ValueError: it is none.
    """
    try:
        written = json.loads(content)
        for group in written.get("resourceSpans", ()):
            for scope in group.get("scopeSpans", ()):
                for span in scope.get("spans", ()):
                    for holder in (span, *span.get("links", ())):
                        _encode_ids(holder)
        return ParseDict(written, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (ParseError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("no OTLP JSON") from error


def _encode_ids(holder: dict[str, Any]) -> None:
    for name in _IDS:
        if name in holder:
            holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()


def _name_ids(holder: dict[str, Any]) -> None:
    for name in _IDS:
        if name in holder:
            holder[name] = base64.b64decode(holder[name]).hex()
