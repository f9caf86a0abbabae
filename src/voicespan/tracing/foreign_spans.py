"""Spans of others in a conversation: those that are not to be shown, and what nests in them.

A framework that traces itself wraps a model's call three times. Where its tracer provider is this one, what it hides
is never made, and what would nest in that nests in what is around it: nothing has to be changed afterwards, and every
exporter sees the same tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Tracer, TracerProvider

from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span


class HidingTracerProvider(TracerProvider):
    """Gives tracers that leave out spans by their names."""

    def __init__(self, provider: TracerProvider, is_hidden: Callable[[str], bool]) -> None:
        """`provider`: makes the spans that are shown. `is_hidden`: whether one of this name is not."""
        self._provider = provider
        self._is_hidden = is_hidden

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        """See OpenTelemetry."""
        return HidingTracer(self._provider.get_tracer(*args, **kwargs), self._is_hidden)


class HidingTracer(Tracer):
    """A tracer that leaves out spans by their names."""

    def __init__(self, tracer: Tracer, is_hidden: Callable[[str], bool]) -> None:
        self._tracer = tracer
        self._is_hidden = is_hidden

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> Span:
        """See OpenTelemetry. Of a hidden one: what stands for the span that is current in `context`."""
        with guard():
            if self._is_hidden(name):
                return NonRecordingSpan(trace.get_current_span(context).get_span_context())
        return self._tracer.start_span(name, context, *args, **kwargs)

    @trace._agnosticcontextmanager  # type: ignore[attr-defined]  # noqa: SLF001  OpenTelemetry's own tracers are decorated with it
    def start_as_current_span(
        self, name: str, context: Context | None = None, *args: Any, end_on_exit: bool = True, **kwargs: Any
    ) -> Iterator[Span]:
        """See OpenTelemetry."""
        record_exception = kwargs.get("record_exception", True)
        set_status_on_exception = kwargs.get("set_status_on_exception", True)
        span = self.start_span(name, context, *args, **kwargs)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception) as current:
            yield current
