"""Which open function call or operation the application's own spans nest under.

The one that is open; of several that are part of one operation, that operation; else the root, which is the
honest answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.tracing.server_spans import stay_with_their_request

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from voicespan.tracing.context import ConversationContext


class CurrentSpan:
    """Of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(self, context: ConversationContext) -> None:
        self._context = context
        #: What is open: its span, and the operation that it is part of.
        self._open: dict[str, tuple[Span | None, str | None]] = {}
        # Those of a web server are no work of the application's.
        stay_with_their_request()

    def opened(self, key: str, span: Span | None, within: str | None = None) -> None:
        """The application works on it from now on."""
        self._open[key] = (span, within)
        self._choose()

    def closed(self, key: str) -> None:
        """It is over."""
        if self._open.pop(key, None) is not None:
            self._choose()

    def _choose(self) -> None:
        containing = {within for _, within in self._open.values()}
        innermost = [each for key, each in self._open.items() if key not in containing]
        if len(innermost) == 1:
            self._context.set_current_span(innermost[0][0])
            return
        operations = {within for _, within in innermost}
        only = operations.pop() if len(operations) == 1 else None
        span, _ = self._open.get(only or "", (None, None))
        self._context.set_current_span(span)
