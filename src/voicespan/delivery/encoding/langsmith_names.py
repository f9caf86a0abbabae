"""The names that a span of ours has on its copy: those of the design, and LangSmith's where its ingest reads them first.

What LangSmith shows of a conversation is the same whatever names the spans have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.tracing import semconv
from voicespan.tracing.messages import langsmith_content, own_name

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SESSION_EVENTS = frozenset({semconv.SESSION_STARTED, semconv.SESSION_ENDED})
#: By the span's name for it. None: for other backends alone. LangSmith reads some of these names as well, and has its own
#: usage already; instructions and tools stand in the frame that says them.
NAMES: dict[str, str | None] = {
    **semconv.COPIED,
    **dict.fromkeys((*semconv.PRICED_AUDIO.values(), semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS)),
}


def rename(span: Span) -> None:
    """Give an encoded span LangSmith's names, and its contents the shape. What has them already stays."""
    unwanted: list[int] = []
    for index, attribute in enumerate(span.attributes):
        key = attribute.key
        name = NAMES.get(key, key)
        if name is None:
            unwanted.append(index)
        elif name != key:
            attribute.value.string_value = langsmith_content(key, attribute.value.string_value)
            attribute.key = name
    for index in reversed(unwanted):
        del span.attributes[index]
    adapt(span)


def adapt(span: Span) -> None:
    """The rest of it, for a span whose attributes were written with LangSmith's `NAMES`."""
    undraft(span)
    if span.events and any(event.name in _SESSION_EVENTS for event in span.events):
        kept = [event for event in span.events if event.name not in _SESSION_EVENTS]
        del span.events[:]
        span.events.extend(kept)


def undraft(span: Span) -> None:
    """Give a generation that has the draft's names its own: `VOICESPAN_SEMCONV` is for other readers."""
    name = own_name(span.name)
    if name == span.name:
        return
    span.name = name
    for attribute in span.attributes:
        if attribute.key == semconv.OPERATION:
            attribute.value.string_value = semconv.CHAT
