"""LangSmith's names for what a span of ours says: its own ingest reads them first, and shows what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.tracing import semconv
from voicespan.tracing.messages import langsmith_content

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

#: For other backends alone. LangSmith reads some of these names as well, and has its own usage already.
_OTHERS = frozenset(semconv.PRICED_AUDIO.values())


def rename(span: Span) -> None:
    """Give the contents of an encoded span LangSmith's names and shape. What has them already stays."""
    unwanted: list[int] = []
    for index, attribute in enumerate(span.attributes):
        key = attribute.key
        name = semconv.COPIED.get(key)
        if name is not None:
            attribute.value.string_value = langsmith_content(key, attribute.value.string_value)
            attribute.key = name
        elif key in _OTHERS:
            unwanted.append(index)
    for index in reversed(unwanted):
        del span.attributes[index]
