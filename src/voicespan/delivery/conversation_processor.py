"""Which spans are a conversation's, and when they are handed on: what the processors of ours have in common."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor

from voicespan.delivery.attachments import RootAttachment
from voicespan.delivery.destination.privacy import Privacy, is_sampled
from voicespan.delivery.span_kinds import is_child, is_langsmiths, is_root, stays_open
from voicespan.delivery.traces import Place, Trace, Traces
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guard, guarded
from voicespan.runtime.measurements import SHARED
from voicespan.runtime.worker_end import at_worker_end
from voicespan.tracing import registry, semconv
from voicespan.tracing.metrics.provider import name_provider

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from voicespan.delivery.destination.any_destination import AnyDestination
    from voicespan.delivery.parts import Parts
    from voicespan.delivery.pipeline import Pipeline
    from voicespan.runtime.clock import Clock


class ConversationSpanProcessor(SpanProcessor):
    """Copies the spans of conversations and has them delivered: what all processors of ours have in common.

    Spans are copied, never changed. Nothing is started and no file is read before the first conversation.
    """

    #: Whether what takes time to import is imported now, instead of in the middle of the first call.
    _loads_at_once = True
    #: Whether another process encodes recordings.
    _leaves_encoding = False

    def __init__(
        self,
        destination: AnyDestination | None,
        shutdown_timeout: float,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        """`destination` None: nothing is delivered. `shutdown_timeout`: seconds that an exiting process waits."""
        self._clock: Clock = SYSTEM
        self._rate: float | None = None
        self._everything = False
        self._traces = Traces()
        self._starting = threading.RLock()
        self._pipeline: Pipeline | None = None
        self._closed = False
        self._privacy = Privacy.from_environment()
        self._shutdown_timeout = shutdown_timeout
        self.destination = destination
        self._off = destination is None
        _processors.add(self)
        SHARED.destinations.add(self)
        if meter_provider is not None:
            name_provider(meter_provider)
        if self._loads_at_once and not self._off:
            _load()

    def _kept_in(self, trace: Trace) -> str | None:  # noqa: ARG002  for those that keep them
        """The directory that a conversation is kept in when it is complete; None: it is sent."""
        return None

    def _build(self, parts: type[Parts]) -> Pipeline:
        """What delivers, made when the first conversation opens."""
        raise NotImplementedError

    @guarded
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Take note of a conversation that opens, and of every span inside one."""
        if is_child(span) and not stays_open(span):
            # It ends at once, and is taken note of then.
            return
        if is_langsmiths(span):
            self._adopt(span, parent_context)
        elif is_root(span):
            self._open(span, parent_context)
            return
        trace = self._traces.started(span)
        if trace is not None and trace.ended_at is None and self._pipeline is not None:
            self._pipeline.started(trace)

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """Have the copy of a conversation's span written."""
        if not _is_sampled(span):
            return
        placed = self._traces.place(span, self._now)
        if placed is None:
            if self._everything and not self._off and not self._closed:
                self._running().ended(None, span, Place.LATE)
            return
        trace, place = placed
        if self._pipeline is not None:
            self._pipeline.ended(trace, span, place)
            if place is Place.ROOT:
                self._traces.end(trace, self._now())

    def shutdown(self) -> None:
        """Deliver what is complete, within VOICESPAN_SHUTDOWN_TIMEOUT seconds; say what is left. Raises nothing."""
        self._closed = True
        pipeline, self._pipeline = self._pipeline, None
        with guard():
            if pipeline is not None:
                _load().wait_at_exit(pipeline, self._shutdown_timeout)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what is complete within `timeout_millis`; whether nothing is left. Raises nothing.

        What belongs to an open conversation is on disk and goes when that has ended.
        """
        with guard():
            registry.flush()
            pipeline = self._pipeline
            return pipeline is None or pipeline.flush(self._now() + timeout_millis / 1000)
        return False

    def waiting(self) -> int:
        """How many conversations wait to be delivered, those that dead processes left included."""
        pipeline = self._pipeline
        return 0 if pipeline is None else pipeline.waiting()

    def catch_up(self, seconds: float) -> None:
        """Have what has ended priced; wait at most so many seconds."""
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.catch_up(seconds)

    def _open(self, root: Span, parent_context: Context | None) -> None:
        context = root.get_span_context()
        if self._off or self._closed or context is None or not context.trace_flags.sampled:
            return
        # LangSmith's own clients decide by the trace's id there, which is that of its root run.
        if not is_sampled(str(uuid.UUID(int=context.span_id)), self._rate):
            return
        conversation = _load().current_conversation(parent_context)
        if conversation is not None and any(self._is_same(other) for other in conversation.deliveries):
            return
        thread_id = (root.attributes or {}).get(semconv.THREAD_ID)
        trace = Trace.opened(root, conversation, None if thread_id is None else str(thread_id))
        pipeline = self._running()
        trace.delivery = RootAttachment(
            self._clock,
            pipeline,
            hidden=self._privacy.hide_recording,
            takes_flac=self._leaves_encoding,
        )
        trace.delivery.destination = self.destination
        trace.delivery.kept_in = self._kept_in(trace)
        self._traces.add(trace, self._now())
        pipeline.opened(trace)
        at_worker_end(id(self), self.shutdown, before=1)
        if conversation is not None:
            conversation.deliveries.append(trace.delivery)

    def _adopt(self, span: Span, parent_context: Context | None) -> None:
        """Put a span of the `langsmith` package below what was current when its function was called.

        The package notes the current span when a `@traceable` function is called, and starts a span for
        it later, in a thread of its own. What stands for the conversation in a context is asked too late
        then: it answers for what is current now, and after the conversation for what is outside.
        """
        if parent_context is None:
            return
        found = _load().conversation_context(parent_context)
        if found is not None and found.is_current_in(parent_context):
            trace = self._traces.of_root(found.root.trace_id, found.root.span_id)
            if trace is not None:
                self._traces.adopt(trace, span)

    def _is_same(self, other: object) -> bool:
        # The processor was added twice: once by hand and once by an auto-instrumentation, say.
        return isinstance(other, RootAttachment) and other.destination == self.destination

    def _running(self) -> Pipeline:
        with self._starting:
            if self._pipeline is None:
                built = self._build(_load())
                # A finaliser or a signal handler of this thread may have been here meanwhile.
                self._pipeline = self._pipeline or built
            return self._pipeline

    def _after_fork(self) -> None:
        self._starting = threading.RLock()
        self._traces.reset_after_fork()
        if self._pipeline is not None:
            self._pipeline.reset_after_fork()

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _load() -> type[Parts]:
    """Import what it takes to encode and to send."""
    from voicespan.delivery.parts import Parts  # noqa: PLC0415  most processes never have a conversation

    return Parts


def _is_sampled(span: ReadableSpan) -> bool:
    context = span.get_span_context()
    return context is not None and context.trace_flags.sampled


_processors: weakref.WeakSet[ConversationSpanProcessor] = weakref.WeakSet()


def _after_fork() -> None:
    for processor in list(_processors):
        processor._after_fork()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
