"""LangSmith's names for what a span of ours says: its own ingest reads them first, and shows what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.tracing import semconv
from voicespan.tracing.messages import langsmith_content

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


def rename(span: Span) -> None:
    """Give the contents of an encoded span LangSmith's names and shape. What has them already stays."""
    for attribute in span.attributes:
        name = semconv.COPIED.get(attribute.key)
        if name is not None:
            attribute.value.string_value = langsmith_content(attribute.key, attribute.value.string_value)
            attribute.key = name
