"""Spans of the real SDK, encoded by the real encoder, posted as a sender would."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from voicespan.testing import SequentialIds

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.testing import LangSmithServer

START_NS = 1_767_323_045_123_456_789


class Spans:
    """Makes spans whose ids count up."""

    def __init__(self, first: int = 1, resource: dict[str, Any] | None = None) -> None:
        self._provider = TracerProvider(
            id_generator=SequentialIds(first), resource=Resource(resource or {}), shutdown_on_exit=False
        )

    def start(self, name, attributes=None, *, parent=None, at_ms=0) -> Any:
        context = None if parent is None else trace.set_span_in_context(parent)
        start = START_NS + at_ms * 1_000_000
        tracer = self._provider.get_tracer("test")
        return tracer.start_span(name, context=context, attributes=attributes, start_time=start)

    def make(self, name="a span", attributes=None, *, parent=None, at_ms=0, ms=1, events=()) -> Any:
        span = self.start(name, attributes, parent=parent, at_ms=at_ms)
        for event, event_attributes in events:
            span.add_event(event, event_attributes, timestamp=span.start_time)
        span.end(end_time=span.start_time + ms * 1_000_000)
        return span


def body(*spans: ReadableSpan) -> bytes:
    return encode_spans(spans).SerializeToString()


def headers(server: LangSmithServer, **more: str) -> dict[str, str]:
    return {"x-api-key": server.api_key, "Content-Type": "application/x-protobuf", **more}


def post(
    server: LangSmithServer,
    *spans: ReadableSpan,
    path: str = "/otel/v1/traces",
    timeout: float | tuple[float, float] = 10,
    **more: str,
) -> requests.Response:
    """Post these spans; `more` are headers with `_` for `-`."""
    extra = {name.replace("_", "-"): value for name, value in more.items()}
    return requests.post(
        server.url + path, data=body(*spans), headers=headers(server, **extra), timeout=timeout
    )


def attachments(*files: tuple[str, bytes, str]) -> str:
    return json.dumps(
        [
            {"name": name, "content": base64.b64encode(content).decode(), "mime_type": mime_type}
            for name, content, mime_type in files
        ]
    )
