"""Keeps a framework's own spans out of the conversation's tree, without taking them away from anybody else.

A framework that traces itself wraps each model call three times, and groups them into turns. The conversation shows the
calls themselves (`conversation.stt`, `.llm`, `.tts` and the tools), so inside a traced conversation:

1. What the framework would export through the conversation's own tracer provider is not recorded.
2. What it exports through another provider goes there as before, with the framework's own parents.
3. What the application starts inside one of its spans nests where that span would have stood.

`FrameworkTracer` stands in for the framework's tracer. Outside of a conversation it changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.util._decorator import _agnosticcontextmanager

from voicespan.runtime.guard import guarded
from voicespan.tracing.context import conversation_context, get_current
from voicespan.tracing.proxy_span import ProxySpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer


class FrameworkSpan(ProxySpan):
    """A framework's own span: it has its own life, and what starts in it has the parent that it would have had."""

    def __init__(self, own: Span, place: Span) -> None:
        """`own`: what the framework writes to. `place`: what its children nest under."""
        super().__init__(own)
        self.own = own
        self.place = place

    def get_span_context(self) -> trace.SpanContext:
        """That of what children nest under."""
        return self.place.get_span_context()

    def end(self, end_time: int | None = None) -> None:
        """End the framework's span."""
        self.own.end(end_time)

    def update_name(self, name: str) -> None:
        """Rename the framework's span."""
        self.own.update_name(name)

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Set it on the framework's span."""
        self.own.set_status(status, description)

    def __exit__(self, *details: object) -> None:
        """End the framework's span."""
        self.own.__exit__(*details)  # type: ignore[arg-type]  # as they were given

    def __getattr__(self, name: str) -> Any:
        """What else the SDK's spans have: a name, attributes, times."""
        return getattr(self.own, name)


class FrameworkTracer(trace.Tracer):
    """Stands in for a framework's tracer while its library is instrumented."""

    def __init__(
        self,
        tracer: Tracer,
        ours: Callable[[], Tracer | None],
        elsewhere: Callable[[Tracer], Tracer | None] = lambda _: None,
    ) -> None:
        """Wrap `tracer`.

        Args:
            tracer: the framework's.
            ours: the one that conversations are written with; None: the library is not instrumented any more.
            elsewhere: the tracer for what goes only to the framework's own exporters, where those are on the
                conversation's provider; None: there are none.
        """
        self.tracer = tracer
        self._ours = ours
        self._elsewhere = elsewhere

    def start_span(self, name: str, context: Context | None = None, *args: Any, **more: Any) -> Span:
        """Start a span: the framework's own, or one that only marks a place."""
        span = self._in_conversation(name, context, args, more)
        return self.tracer.start_span(name, context, *args, **more) if span is None else span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        *args: Any,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
        **more: Any,
    ) -> Iterator[Span]:
        """As `start_span`, and current inside the block."""
        span = self.start_span(
            name,
            *args,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
            **more,
        )
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current

    @guarded
    def _in_conversation(
        self, name: str, context: Context | None, args: tuple[Any, ...], more: dict[str, Any]
    ) -> Span | None:
        """The span as it is inside a conversation; None: there is none here."""
        context = get_current() if context is None else context
        found = conversation_context(context)
        if found is None or found.conversation is None or found.conversation.ended:
            return None
        ours = self._ours()
        if ours is None:
            return None
        current = trace.get_current_span(context)
        outer = current if isinstance(current, FrameworkSpan) else None
        place = outer.place if outer is not None else current
        tracer = self.tracer
        if _processor_of(tracer) is _processor_of(ours):
            elsewhere = self._elsewhere(tracer)
            if elsewhere is None:
                return FrameworkSpan(trace.INVALID_SPAN, place)
            tracer = elsewhere
        parent = found.before if outer is None else outer.own
        own = tracer.start_span(name, trace.set_span_in_context(parent, context), *args, **more)
        return FrameworkSpan(own, place)


def parent_here(trace_id: int) -> Span | None:
    """The application's own span, or the function call, that is current here in this trace; None: its root is."""
    current = trace.get_current_span()
    if isinstance(current, FrameworkSpan):
        current = current.place
    if isinstance(current, ProxySpan) or current.get_span_context().trace_id != trace_id:
        return None
    return current


def within_framework(span: Span) -> Span:
    """`span`, as what is to be current inside one of the framework's spans, whose own children keep their parent."""
    current = trace.get_current_span()
    if isinstance(current, FrameworkSpan) and current.own.get_span_context().is_valid:
        return FrameworkSpan(current.own, span)
    return span


def _processor_of(tracer: Tracer) -> object:
    """What gets the spans of a tracer of the SDK."""
    # The API's own tracer stands for the one of the provider that is global by now.
    real = getattr(tracer, "_tracer", tracer)
    return getattr(real, "span_processor", real)
