"""What the SDK's span limits may cut of our spans: contents, which we shorten ourselves, and nothing that names them.

The SDK drops a span's oldest attributes where there are too many, with a warning for each, and cuts every text at the
same length. The oldest ones say what a span is: its kind, its thread, that the trace has audio. Without them LangSmith
shows no voice trace. Our spans are bounded by `spans/span_writer.py` and `root_span.py`, so the provider's limits apply
to the tracer of our scope as far as they leave that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.runtime.settings import NO_LIMIT

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

#: The least that our tracer allows. The application may set attributes on the root as well, so there is a limit still.
_ATTRIBUTES, _EVENTS, _EVENT_ATTRIBUTES = 1_000, 128, 128
#: Characters: of a thread id, of an error's message.
_LENGTH = 1_000


class _OwnLimits:
    """The provider's `SpanLimits` with the least that we need. A copy: the application's tracers keep theirs."""

    def __init__(self, limits: Any) -> None:
        self.__dict__.update(vars(limits))
        #: To so many characters we cut contents, inside their structure.
        self.content_length = limits.max_span_attribute_length
        self.max_span_attributes = _at_least(limits.max_span_attributes, _ATTRIBUTES)
        self.max_span_attribute_length = _at_least(limits.max_span_attribute_length, _LENGTH)
        self.max_attribute_length = _at_least(limits.max_attribute_length, _LENGTH)
        self.max_events = _at_least(limits.max_events, _EVENTS)
        self.max_event_attributes = _at_least(limits.max_event_attributes, _EVENT_ATTRIBUTES)


def relax(tracer: Tracer) -> None:
    """Have the SDK keep what our spans need. `tracer` is the one of our scope; another SDK's is left alone."""
    limits = getattr(tracer, "_span_limits", None)
    if limits is not None and not isinstance(limits, _OwnLimits):
        tracer._span_limits = _OwnLimits(limits)  # type: ignore[attr-defined]  # noqa: SLF001


def content_limit(tracer: Tracer) -> int:
    """Characters of a content that the operator allows; past them the SDK would cut in the middle of our JSON."""
    limits = getattr(tracer, "_span_limits", None)
    length = getattr(limits, "content_length", None) or getattr(limits, "max_span_attribute_length", None)
    return length if isinstance(length, int) and length > 0 else NO_LIMIT


def _at_least(limit: int | None, least: int) -> int | None:
    """None: there is no limit."""
    return None if limit is None else max(limit, least)
