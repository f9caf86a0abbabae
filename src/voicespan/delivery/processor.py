"""The span processor that delivers conversations to LangSmith."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from typing import TYPE_CHECKING, Literal

from opentelemetry.sdk.trace import SpanProcessor

from voicespan.content import masking
from voicespan.delivery.attachments import RootAttachment
from voicespan.delivery.destination import privacy
from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.span_kinds import is_child, is_function_call, is_langsmiths, is_root
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.traces import Place, Trace, Traces
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guard, guarded
from voicespan.tracing import registry, semconv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.parts import Parts
    from voicespan.delivery.pipeline import Pipeline
    from voicespan.runtime.clock import Clock


class LangSmithSpanProcessor(SpanProcessor):
    """Delivers the traces of conversations, with their recordings, to LangSmith or to a Collector.

    Add it to a `TracerProvider`, beside whatever other processors there are. Spans are copied, never
    changed. Nothing is started and no file is read before the first conversation.

    Args:
        api_key: LangSmith's key; else LANGSMITH_API_KEY, else the current profile's.
        endpoint: The API's URL, as LANGSMITH_ENDPOINT; `/otel/v1/traces` is appended.
        project: The project's name; else LANGSMITH_PROJECT, else `default`.
        workspace: The workspace's id; else LANGSMITH_WORKSPACE_ID.
        headers: More headers for every request.
        spool_dir: Where conversations wait; else VOICESPAN_SPOOL_DIR, else the user's state folder.
        export: `conversations` sends their traces alone, `all` sends every span.

    Raises:
        DeliverySettingsError: There is no key and no endpoint, or the URL must not be used.
    """

    #: Whether what takes time to import is imported now, instead of in the middle of the first call.
    _loads_at_once = True

    def __init__(
        self,
        *,
        api_key: str | None = None,
        endpoint: str | None = None,
        project: str | None = None,
        workspace: str | None = None,
        headers: Mapping[str, str] | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
        export: Literal["conversations", "all"] = "conversations",
    ) -> None:
        if export not in ("conversations", "all"):
            raise ValueError('export is "conversations" or "all"')
        self._clock: Clock = SYSTEM
        self._off = privacy.tracing_is_off()
        self._rate = privacy.sampling_rate()
        self._everything = export == "all"
        self._traces = Traces()
        self._starting = threading.RLock()
        self._pipeline: Pipeline | None = None
        self._closed = False
        self._privacy = privacy.Privacy.from_environment()
        self._spool_settings = SpoolSettings.from_environment(folder=spool_dir)
        self.destination: Destination | None = None
        if not self._off:
            self.destination = resolve(
                api_key=api_key, endpoint=endpoint, project=project, workspace=workspace, headers=headers
            )
            # An error that an application raises can quote what it delivers with.
            masking.know(self.destination.secrets)
        _processors.add(self)
        if self._loads_at_once and not self._off:
            _load()

    @guarded
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Take note of a conversation that opens, and of every span inside one."""
        if is_child(span) and not is_function_call(span):
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
                _load().wait_at_exit(pipeline, self._spool_settings.shutdown_timeout)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what is complete within `timeout_millis`; whether nothing is left. Raises nothing.

        What belongs to an open conversation is on disk and goes when that has ended.
        """
        with guard():
            registry.flush()
            pipeline = self._pipeline
            return pipeline is None or pipeline.flush(self._now() + timeout_millis / 1000)
        return False

    def _open(self, root: Span, parent_context: Context | None) -> None:
        context = root.get_span_context()
        if self._off or self._closed or context is None or not context.trace_flags.sampled:
            return
        # LangSmith's own clients decide by the trace's id there, which is that of its root run.
        if not privacy.is_sampled(str(uuid.UUID(int=context.span_id)), self._rate):
            return
        conversation = _load().current_conversation(parent_context)
        if conversation is not None and any(self._is_same(other) for other in conversation.deliveries):
            return
        thread_id = (root.attributes or {}).get(semconv.THREAD_ID)
        trace = Trace.opened(root, conversation, None if thread_id is None else str(thread_id))
        pipeline = self._running()
        trace.delivery = RootAttachment(self._clock, pipeline, hidden=self._privacy.hide_recording)
        trace.delivery.destination = self.destination
        self._traces.add(trace, self._now())
        pipeline.opened(trace)
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
                assert self.destination is not None  # noqa: S101  where tracing is off nothing opens
                built = _load().Pipeline(
                    self.destination,
                    self._spool_settings,
                    self._privacy,
                    self._clock,
                    sample_rate=self._rate,
                )
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


def processors_of(provider: TracerProvider) -> Iterator[LangSmithSpanProcessor]:
    """The processors of ours that `provider` has."""
    # There is no public way to ask a provider for its processors.
    active = getattr(provider, "_active_span_processor", None)
    for processor in getattr(active, "_span_processors", ()):
        if isinstance(processor, LangSmithSpanProcessor):
            yield processor


def _is_sampled(span: ReadableSpan) -> bool:
    context = span.get_span_context()
    return context is not None and context.trace_flags.sampled


_processors: weakref.WeakSet[LangSmithSpanProcessor] = weakref.WeakSet()


def _after_fork() -> None:
    for processor in list(_processors):
        processor._after_fork()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
