"""Which conversation a context belongs to, and how the application's contexts come into one and leave it.

Two context variables are kept apart: the *scope* (which conversation new connections join, set by `conversation()`)
and the *current* one (whose live parent the application's own spans nest under, set by every frame that is handed to
the application).
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from voicespan.runtime.guard import guard, guarded
from voicespan.tracing.proxy_span import ProxySpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

#: Where an OpenTelemetry context keeps the `ConversationContext` of its current conversation.
CURRENT = otel_context.create_key("voicespan-conversation")
#: That of the conversation that new connections join.
SCOPE: ContextVar[ConversationContext | None] = ContextVar("voicespan_scope", default=None)


def _current_context() -> Callable[[], Context]:
    """What gives the current context. Mostly that is one variable; read directly it costs a half."""
    variable = getattr(getattr(otel_context, "_RUNTIME_CONTEXT", None), "_current_context", None)
    return variable.get if isinstance(variable, ContextVar) else otel_context.get_current


get_current = _current_context()


class Conversational(Protocol):
    """What a context knows of its conversation."""

    @property
    def ended(self) -> bool:
        """Whether the conversation is over."""
        ...

    def close(self) -> None:
        """Its lifecycle is over; its root ends when this has returned."""


class ConversationContext:
    """How the application's contexts stand in one conversation.

    They have this, and not the conversation: what was started in a context (a task, a timer, the SDK's own, which
    refer to themselves) has a copy of it for as long as there is any.
    """

    def __init__(self, conversation: Conversational | None) -> None:
        #: None: it is over.
        self.conversation: Conversational | None = conversation
        #: Its root's, also when it is over.
        self.root = trace.INVALID_SPAN_CONTEXT
        #: What was current before any conversation was.
        self.outside = trace.INVALID_SPAN_CONTEXT
        self._live = ProxySpan(trace.INVALID_SPAN)
        self._before: Span | None = None
        self._context_before: ConversationContext | None = None

    def open(self, root: Span, before: Context) -> None:
        """The conversation has its `root`, and was opened in the context `before`."""
        self.root = root.get_span_context()
        self._before = trace.get_current_span(before)
        self._context_before = conversation_context(before)
        self.outside = self._before.get_span_context()
        self._live = ProxySpan(root, self.outside)
        earlier = self._context_before
        if earlier is not None and earlier.root.trace_id == self.outside.trace_id:
            # By value: one conversation after another in a task would be a chain of objects.
            self.outside = earlier.outside

    @property
    def before(self) -> Span:
        """What was current where the conversation was opened."""
        return trace.INVALID_SPAN if self._before is None else self._before

    def set_current_span(self, span: Span | None) -> None:
        """From now on `span` is current in the conversation; None: its root."""
        self._live.set_current_span(span)

    def attach(self) -> None:
        """Bring the current context into the conversation.

        No token is kept: the frame that moves a context into another conversation can come at any depth of the
        application's own blocks, and those restore what they replaced.
        """
        otel_context.attach(trace.set_span_in_context(self._live, self._context()))

    @contextlib.contextmanager
    def attached(self, span: Span | None = None) -> Iterator[None]:
        """Have `span` current inside the block; None: what is current in the conversation."""
        token = None
        with guard():
            current = self._live if span is None else span
            token = otel_context.attach(trace.set_span_in_context(current, self._context()))
        try:
            yield
        finally:
            if token is not None:
                _reset(token)

    def enter(self, span: Span, context: Context) -> Token[Context]:
        """Have `span` current, in what is `context` otherwise, until `leave` is called with what this returns."""
        return otel_context.attach(
            trace.set_span_in_context(span, otel_context.set_value(CURRENT, self, context))
        )

    def leave(self, token: Token[Context]) -> None:
        """Make current again what was so before."""
        _reset(token)

    def is_current_in(self, context: Context) -> bool:
        """Whether the current span of `context` is the one that stands for what is current in the conversation."""
        return isinstance(trace.get_current_span(context), ProxySpan)

    def detach(self) -> None:
        """Where the current context still stands in the conversation, make current what was so before it."""
        before, earlier = self._before, self._context_before
        context = otel_context.get_current()
        if before is None or trace.get_current_span(context) is not self._live:
            return
        if earlier is not None and earlier.conversation is None:
            before, earlier = trace.NonRecordingSpan(before.get_span_context()), None
        otel_context.attach(
            trace.set_span_in_context(before, otel_context.set_value(CURRENT, earlier, context))
        )

    def close(self) -> None:
        """The conversation is over. Else each ended conversation of a task would hold all those before it."""
        self.conversation = self._before = self._context_before = None
        self._live.close()

    def _context(self) -> Context:
        return otel_context.set_value(CURRENT, self)


@guarded
def _reset(token: Token[Context]) -> None:
    """Make current again what was before.

    An async generator may be closed in another context than it was begun in. There nothing of it stands, and
    OpenTelemetry's own `detach` would log an error.
    """
    variable = getattr(token, "var", None)
    if variable is None:
        otel_context.detach(token)
        return
    with contextlib.suppress(ValueError):
        variable.reset(token)


#: Of what could not be opened.
NO_CONVERSATION = ConversationContext(None)


def conversation_context(context: Context) -> ConversationContext | None:
    """That of the conversation that is current in `context`, which may have ended."""
    # The key is ours alone.
    return cast("ConversationContext | None", context.get(CURRENT))
