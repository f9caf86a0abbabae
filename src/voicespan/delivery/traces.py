"""Which spans belong to which conversation, and how many of them LangSmith takes."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from voicespan.delivery.span_kinds import (
    CALL_PREFIX,
    is_child,
    is_essential,
    is_ours,
    is_root,
    is_server_message,
    repeats_ours,
)
from voicespan.delivery.span_rates import SpanRates
from voicespan.runtime.settings import SPAN_BUDGET, SPAN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import TypeAlias

    from opentelemetry.proto.trace.v1.trace_pb2 import Span as EncodedSpan
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.trace import SpanContext

    from voicespan.delivery.attachments import RootAttachment
    from voicespan.tracing.conversation import Conversation

    #: Of a conversation that is complete: the root's span id, its start, its end, the thread, the folder, how many spans
    #: were kept, the calls, whether its runs are created while it goes on.
    _Past: TypeAlias = tuple[
        int, int, float, str | None, str | None, int, tuple[tuple[int, tuple[int, int | None]], ...], bool
    ]

#: The application's spans that end after the root are taken for another hour.
LATE_SECONDS = 3600.0


class Place(Enum):
    """Where a span that has ended belongs."""

    ROOT = "root"
    CHILD = "child"
    #: It comes after its root, or has none: it waits for nothing.
    LATE = "late"
    TOO_LATE = "too_late"
    #: There are too many, and it is counted on the root; or it says again what is there, or is a server's own affair.
    DROPPED = "dropped"


class Trace:
    """One conversation's spans, from its root's start until an hour after its end."""

    def __init__(self, trace_id: int, root_span_id: int, started_at: int, thread_id: str | None) -> None:
        """`started_at`: wall clock, nanoseconds. See also `opened`."""
        self.trace_id = trace_id
        self.root_span_id = root_span_id
        self.started_at = started_at
        self.root: Span | None = None
        self.conversation: Conversation | None = None
        self.thread_id = thread_id
        #: None again when all of it is complete.
        self.delivery: RootAttachment | None = None
        #: Of its folder in the spool.
        self.folder_name: str | None = None
        #: Its runs are created while it is going on: those of late spans, too.
        self.live = False
        #: Spans that were not kept: `_counting` is held, or it is the spool's thread that counts.
        self._over = 0
        self._unwritten = 0
        #: Monotonic seconds; None: the root is open.
        self.ended_at: float | None = None
        self._counting = threading.RLock()
        self._kept = 0
        #: None: the application wrote no span yet.
        self._rates: SpanRates | None = None
        self._parents: dict[int, None] = {}
        #: Those that have started and not ended. An application that forgets one must be able to.
        self._open: dict[int, weakref.ref[Span]] = {}
        #: Which spans of a trace are the conversation's: None, all of them, or these and what is below them.
        #: With VOICESPAN_PARENT=child the trace also holds what is above the root and beside it.
        self._members: dict[int, set[int] | None] = {trace_id: None}
        #: Start and end of each function call, wall clock, by the id of its span.
        self._calls: dict[int, tuple[int, int | None]] = {}
        #: Where the copies of spans stand that were started late (see `adopt`), by their ids.
        self.parents: dict[int, int] = {}

    @classmethod
    def opened(cls, root: Span, conversation: Conversation | None, thread_id: str | None) -> Trace:
        """That of a conversation whose root has started."""
        context = _context(root)
        trace = cls(context.trace_id, context.span_id, root.start_time or 0, thread_id)
        trace.root, trace.conversation = root, conversation
        if root.parent is not None:
            trace._members[trace.trace_id] = {trace.root_span_id}
        return trace

    def started(self, span: Span, context: SpanContext) -> None:
        """A span that is the conversation's has started."""
        members = self._members[context.trace_id]
        if members is not None and len(members) < SPAN_LIMIT:
            members.add(context.span_id)
        if len(self._open) < SPAN_LIMIT:
            self._open[context.span_id] = weakref.ref(span)
        if is_ours(span) and span.name.startswith(CALL_PREFIX) and len(self._calls) < SPAN_LIMIT:
            self._calls[context.span_id] = (span.start_time or 0, None)

    def is_open(self, span_id: int) -> bool:
        """Whether this is the root, or a span that has started in the conversation and not ended."""
        return span_id in self._open or span_id == self.root_span_id

    @property
    def call_starts(self) -> dict[int, int]:
        """When each function call started (wall clock, nanoseconds), by the id of its span."""
        return {span_id: start for span_id, (start, _) in list(self._calls.items())}

    @property
    def open_ids(self) -> Container[int]:
        """The ids of the spans that have started and not ended, but for the root's."""
        return self._open

    def has(self, span: ReadableSpan, context: SpanContext) -> bool:
        """Whether a span of one of the conversation's traces, with this `context`, is the conversation's."""
        members = self._members.get(context.trace_id)
        if members is None:
            return True
        return context.span_id in members or (span.parent is not None and span.parent.span_id in members)

    def adopt(self, span: Span) -> None:
        """Take in a span that was started long after its start, when the conversation had moved on or ended.

        Its copy goes below the function call that was open when the span began, or else below the root.
        """
        context = _context(span)
        began = span.start_time or 0
        open_then = [
            call
            for call, (start, end) in self._calls.items()
            if start <= began and (end is None or began <= end)
        ]
        self.parents[context.span_id] = open_then[0] if len(open_then) == 1 else self.root_span_id
        members = self._members.setdefault(context.trace_id, set())
        if members is not None:
            members.add(context.span_id)

    def place_copy(self, copy: EncodedSpan, span: ReadableSpan) -> None:
        """Put the copy of a span into the conversation's trace: an adopted one may stand in another."""
        copy.trace_id = self.trace_id.to_bytes(16, "big")
        parent = self.parents.get(_context(span).span_id) if self.parents else None
        if parent is not None:
            copy.parent_span_id = parent.to_bytes(8, "big")

    @property
    def trace_ids(self) -> list[int]:
        """Its own first, and those of adopted spans."""
        return list(self._members)

    def is_root(self, span: ReadableSpan) -> bool:
        """Whether it is the conversation's root."""
        return _context(span).span_id == self.root_span_id

    def takes(self, span: ReadableSpan) -> bool:
        """A span has ended; whether it is within what LangSmith takes."""
        span_id = _context(span).span_id
        self._open.pop(span_id, None)
        if span_id in self._calls:
            self._calls[span_id] = (span.start_time or 0, span.end_time)
        if span_id == self.root_span_id:
            return True
        # A span whose parent never comes is dropped by LangSmith without a word, so a parent is
        # as essential as what it is the parent of.
        essential = is_essential(span) or span_id in self._parents
        with self._counting:
            is_one_of_too_many = not is_ours(span) and self._is_one_of_too_many(span)
            if self._kept >= (SPAN_LIMIT if essential else SPAN_BUDGET) or (
                is_one_of_too_many and not essential
            ):
                self._over += 1
                return False
            self._kept += 1
        if span.parent is not None:
            self._parents[span.parent.span_id] = None
        return True

    def _is_one_of_too_many(self, span: ReadableSpan) -> bool:
        self._rates = self._rates or SpanRates()
        return self._rates.is_one_of_too_many(span)

    def forget(self, span_id: int) -> None:
        """A span that has ended is none of the conversation's."""
        self._open.pop(span_id, None)

    def drop(self, spans: int = 1) -> None:
        """There was no room for so many spans to wait in."""
        with self._counting:
            self._over += spans

    def unwritten(self, spans: int) -> None:
        """Neither disk nor memory had room for so many spans; called by the spool's thread alone.

        Without the lock: a signal's handler may have interrupted who holds it, and wait for that thread.
        """
        self._unwritten += spans

    @property
    def dropped(self) -> int:
        """Spans that were not kept; counted on the root."""
        return self._over + self._unwritten

    def open_spans(self) -> list[Span]:
        """Every span but the root that has started and not ended."""
        # A copy: another thread may start a span meanwhile.
        return [span for reference in list(self._open.values()) if (span := reference()) is not None]

    def end(self, now: float) -> None:
        """The root has ended; nothing large is kept for the hour that late spans have."""
        self.ended_at = now
        self.root = self.conversation = None

    def packed(self) -> _Past | None:
        """What late spans need of it, once it is complete; None: it is not, or has more than fits in there."""
        if (
            self.ended_at is None
            or self.delivery is not None
            or self._open
            or self._members != {self.trace_id: None}
        ):
            return None
        return (
            self.root_span_id,
            self.started_at,
            self.ended_at,
            self.thread_id,
            self.folder_name,
            self._kept,
            tuple(self._calls.items()),
            self.live,
        )

    @classmethod
    def unpacked(cls, trace_id: int, past: _Past) -> Trace:
        """As it was."""
        root_span_id, started_at, ended_at, thread_id, folder_name, kept, calls, live = past
        trace = cls(trace_id, root_span_id, started_at, thread_id)
        trace.ended_at, trace.folder_name = ended_at, folder_name
        trace._kept, trace._calls, trace.live = kept, dict(calls), live
        return trace


class Traces:
    """Every conversation that spans may still come for. Safe from any thread, finalisers and signal handlers."""

    def __init__(self) -> None:
        self._traces: dict[int, list[Trace]] = {}
        self._ended: deque[Trace] = deque()
        #: Those that are complete, by their trace ids, in the order in which they came here. Of a process that holds
        #: hundreds of calls an hour's are thousands, and the garbage collector leaves numbers and texts alone.
        self._past: dict[int, _Past] = {}
        self._lock = threading.RLock()

    def add(self, trace: Trace, now: float) -> None:
        """A root has started."""
        with self._lock:
            self._tidy_up(now)
            self._traces.setdefault(trace.trace_id, []).append(trace)

    def place(self, span: ReadableSpan, now: Callable[[], float]) -> tuple[Trace, Place] | None:
        """Whose span has ended, and where it belongs there; None: it is of no conversation. `now`: monotonic seconds."""
        trace = self.of(span)
        if trace is None:
            return None
        if repeats_ours(span) or is_server_message(span):
            trace.forget(_context(span).span_id)
            return trace, Place.DROPPED
        if not trace.takes(span):
            return trace, Place.DROPPED
        if trace.ended_at is not None:
            return trace, Place.TOO_LATE if _is_past(trace.ended_at, now()) else Place.LATE
        return trace, Place.ROOT if trace.is_root(span) else Place.CHILD

    def of(self, span: ReadableSpan) -> Trace | None:
        """The conversation of a span that has started before."""
        # Every span of the application comes by here: two look-ups, no lock.
        context = _context(span)
        for trace in self._traces.get(context.trace_id, ()):
            # The cheaper question first: a missing attribute raises an exception inside the SDK.
            if trace.is_open(context.span_id) or (
                trace.has(span, context) and (is_child(span) or not is_root(span))
            ):
                return trace
        if context.trace_id in self._past and (is_child(span) or not is_root(span)):
            return self._recalled(context.trace_id)
        return None

    def started(self, span: Span) -> Trace | None:
        """The conversation of a span that starts and is no root."""
        context = _context(span)
        for trace in self._traces.get(context.trace_id, ()):
            if trace.has(span, context):
                trace.started(span, context)
                return trace
        return None

    def of_root(self, trace_id: int, root_span_id: int) -> Trace | None:
        """The conversation with this root."""
        for trace in self._traces.get(trace_id, ()):
            if trace.root_span_id == root_span_id:
                return trace
        past = self._past.get(trace_id)
        return None if past is None or past[0] != root_span_id else self._recalled(trace_id)

    def adopt(self, trace: Trace, span: Span) -> None:
        """Take a span into a conversation whatever trace it is in: see `Trace.adopt`."""
        trace.adopt(span)
        with self._lock:
            known = self._traces.setdefault(_context(span).trace_id, [])
            if trace not in known:
                known.append(trace)

    def end(self, trace: Trace, now: float) -> None:
        """A root has ended."""
        with self._lock:
            trace.end(now)
            self._ended.append(trace)

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self.__init__()  # type: ignore[misc]

    def _tidy_up(self, now: float) -> None:
        # Two for each that comes: it gets less.
        for trace in [self._ended.popleft() for _ in range(min(len(self._ended), 2))]:
            packed = trace.packed() if len(self._traces.get(trace.trace_id, ())) == 1 else None
            if packed is not None:
                self._past[trace.trace_id] = packed
            if packed is not None or _is_past(trace.ended_at, now):
                self._forget(trace)
            else:
                self._ended.append(trace)
        # A finaliser may end a span in between, and so take one out.
        while (oldest := next(iter(self._past.items()), None)) is not None and _is_past(oldest[1][2], now):
            self._past.pop(oldest[0], None)

    def _recalled(self, trace_id: int) -> Trace | None:
        with self._lock:
            past = self._past.pop(trace_id, None)
            if past is not None:
                trace = Trace.unpacked(trace_id, past)
                self._traces.setdefault(trace_id, []).append(trace)
                self._ended.append(trace)
            # Another thread may have been quicker.
            return next(iter(self._traces.get(trace_id, ())), None)

    def _forget(self, gone: Trace) -> None:
        for trace_id in gone.trace_ids:
            left = [trace for trace in self._traces.get(trace_id, ()) if trace is not gone]
            if left:
                self._traces[trace_id] = left
            else:
                self._traces.pop(trace_id, None)


def _is_past(ended_at: float | None, now: float) -> bool:
    """Whether spans that come now come too late."""
    return ended_at is not None and now - ended_at > LATE_SECONDS


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None  # noqa: S101  a span that was started has one
    return context
