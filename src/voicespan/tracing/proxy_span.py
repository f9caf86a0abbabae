"""The span object that stands for what is current in a conversation.

The application's own spans should nest under the function call they serve, or else under the root. But
what is current changes with frames that arrive in one task while the application works in others, and a
context, once inherited, cannot be changed from outside. So the context carries one object per
conversation, and the object is asked late: each new span asks it for its parent at the event it starts.

What always holds:

1. It never ends, renames or fails the span it stands for: those are not the application's.
2. It answers for exactly one open function call; with none or several open, for the root.
3. After the conversation it answers for the span context that was current before it, held as a plain
   value. A chain of objects would grow with each conversation of a task, and recurse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, SpanContext, Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import Attributes, AttributeValue


class ProxySpan(Span):
    """Current in the contexts of one conversation."""

    def __init__(self, root: Span, before: SpanContext = INVALID_SPAN_CONTEXT) -> None:
        """`before`: the span context that was current when the conversation opened."""
        self._root = root
        self._target = root
        self._before = before

    def set_current_span(self, span: Span | None) -> None:
        """From now on `span` is current in the conversation; None: its root."""
        self._target = self._root if span is None else span

    def close(self) -> None:
        """The conversation is over."""
        self._root = self._target = NonRecordingSpan(self._before)

    def get_span_context(self) -> SpanContext:
        """The context of what is current now."""
        return self._target.get_span_context()

    def is_recording(self) -> bool:
        """Whether what is current now records."""
        return self._target.is_recording()

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set it on what is current now."""
        self._target.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set them on what is current now."""
        self._target.set_attributes(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add it to what is current now."""
        self._target.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add it to what is current now."""
        self._target.add_link(context, attributes)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record it on what is current now."""
        self._target.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the conversation ends its own spans."""

    def update_name(self, name: str) -> None:
        """Do nothing."""

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Do nothing: what the application makes of an error is not the conversation's status."""

    def __exit__(self, *_: object) -> None:
        """Do nothing, also when it is used as a context manager."""
