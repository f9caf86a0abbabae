"""Brings ended spans from the application's threads to the spool, at most a quarter of a second later."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from voicespan.delivery import checkpoint
from voicespan.delivery.attachments import RootAttachment
from voicespan.delivery.encoding import cost, langsmith_spans
from voicespan.delivery.encoding.cost import ConversationCost
from voicespan.delivery.spool import recordings
from voicespan.delivery.standalone_spans import StandaloneSpans
from voicespan.runtime.guard import guard, guarded
from voicespan.runtime.measurements import SHARED, DroppedSpans
from voicespan.runtime.pacing import paced
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from opentelemetry.proto.trace.v1.trace_pb2 import Span as EncodedSpan
    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.delivery.spool.folder import Folder
    from voicespan.delivery.spool.spool import SpoolTarget
    from voicespan.delivery.traces import Trace

#: Spans that wait in memory for the writer. More means that the disk has stood still for minutes.
MOST_QUEUED = 20_000
#: Seconds between two writings of what is open in one conversation.
_CHECKPOINT_EVERY = 0.1
#: Bytes of open spans a second: a long transcript is rewritten less often.
_CHECKPOINT_RATE = 1_000_000
#: The share of a core that all checkpoints together may take.
_CHECKPOINT_SHARE = 0.02
#: Seconds after which ended spans are looked for again.
_TEND_AT_MOST = 0.05
#: What there is to write is spread over so many seconds.
_SPREAD = 0.05
_RETRY_DISK_EVERY = 1.0


class Opened(NamedTuple):
    """A root has started."""

    trace: Trace


class Started(NamedTuple):
    """A child has started: what is open has changed."""

    trace: Trace


class Ended(NamedTuple):
    """A span has ended; the root as well as any other."""

    trace: Trace
    span: ReadableSpan


class StandaloneSpan(NamedTuple):
    """A span has ended that waits for no root; `trace`: whose root it comes after."""

    trace: Trace | None
    span: ReadableSpan


Event: TypeAlias = "Opened | Started | Ended | StandaloneSpan | threading.Event"


@dataclass(eq=False)
class _Entry:
    """A conversation whose folder this process works on."""

    trace: Trace
    folder: Folder
    checkpoint_at: float = 0.0
    dirty: bool = False
    ended: bool = False
    recording_started_at: float | None = None
    #: That have ended and are not written.
    spans: list[ReadableSpan] | None = None
    #: None: nothing was generated yet.
    _cost: ConversationCost | None = None

    @property
    def cost(self) -> ConversationCost:
        """What the conversation costs."""
        self._cost = self._cost or ConversationCost()
        return self._cost

    def place_copy(self, copy: EncodedSpan, span: ReadableSpan) -> None:
        """Put the copy of a child into the conversation's trace, and count what it cost."""
        self.trace.place_copy(copy, span)
        if cost.has_cost(copy.name, span.attributes or ()):
            self.cost.add(copy)

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to do for it, or may be."""
        if self.dirty or self.ended:
            return True
        delivery, conversation = self.trace.delivery, self.trace.conversation
        return (delivery is not None and self.recording_started_at != delivery.recording_started_at) or (
            conversation is not None and len(conversation.deliveries) > 1
        )


class SpoolWriter:
    """The only one that writes to folders of open conversations. `step` is called by its thread alone."""

    def __init__(
        self,
        target: SpoolTarget,
        on_complete: Callable[[Folder], None],
        on_change: Callable[[Trace, Folder], None] | None = None,
    ) -> None:
        """`on_complete` takes each folder that is complete, locked; `on_change` hears of each that was written to."""
        self._target = target
        self._spool, self._encoder, self._clock = target.spool, target.encoder, target.clock
        self._on_complete = on_complete
        self._on_change = on_change
        self._queue: deque[Event] = deque()
        self._entries: dict[Trace, _Entry] = {}
        self._standalone = StandaloneSpans(target, self._complete)
        self._retry_disk_at = 0.0

    def put(self, event: Event, *, always: bool = True) -> bool:
        """Have `event` written; False: there are too many already. From any thread."""
        if len(self._queue) >= MOST_QUEUED and not always:
            return False
        self._queue.append(event)
        return True

    @property
    def pending(self) -> int:
        """How many conversations have ended whose folder is not complete: they wait for a recording."""
        return sum(entry.ended for entry in list(self._entries.values()))

    @property
    def pending_in_memory(self) -> int:
        """How many of those no disk has taken whole."""
        return sum(
            entry.ended and not entry.folder.files.all_on_disk for entry in list(self._entries.values())
        )

    def step(self) -> float | None:
        """Write everything that has come; seconds until there is something to do without anything coming."""
        with guard():
            self._spool.give_way()
            self._spool.look_now_and_then()
        flushed: list[threading.Event] = []
        touched: dict[_Entry, None] = {}  # in order, each once
        for event in self._taken(flushed):
            with guard():
                entry = self._note(event)
                if entry is not None:
                    touched[entry] = None
        # Not over more: what has ended is to be on the disk a quarter of a second later.
        paced(touched, self._journal, _SPREAD, self._clock)
        self._standalone.write()
        if flushed:
            # Somebody waits: collect no longer.
            self._standalone.close_now()
        delay = self._tend()
        for waiting in flushed:
            waiting.set()
        return delay

    def _taken(self, flushed: list[threading.Event]) -> Iterator[Opened | Started | Ended | StandaloneSpan]:
        # One at a time: a list would hold each span until the last has been written, and what is held in large
        # numbers makes the garbage collector look through the whole process, while nothing else runs.
        for _ in range(len(self._queue)):
            event = self._queue.popleft()
            if isinstance(event, threading.Event):
                flushed.append(event)
            else:
                yield event

    def _note(self, event: Opened | Started | Ended | StandaloneSpan) -> _Entry | None:
        """Put the event where it belongs; the conversation that it changed."""
        entry = None if event.trace is None else self._entries.get(event.trace)
        if isinstance(event, Opened):
            entry = self._entries[event.trace] = self._begin(event.trace)
        elif isinstance(event, StandaloneSpan) or (isinstance(event, Ended) and entry is None):
            # Also what ended while its root did, in another thread.
            self._standalone.add(event.trace, event.span)
            return None
        elif isinstance(event, Ended) and entry is not None:
            entry.spans = entry.spans or []
            entry.spans.append(event.span)
        if entry is not None:
            entry.dirty = True
        return entry

    def _begin(self, trace: Trace) -> _Entry:
        meta = self._target.meta(
            trace.started_at,
            trace_id=f"{trace.trace_id:032x}",
            root_span_id=f"{trace.root_span_id:016x}",
            thread_id=trace.thread_id,
        )
        folder = self._spool.create(meta, checkpoint.opened(trace, self._encoder, first=True))
        trace.folder_name = folder.name
        if trace.delivery is not None:
            trace.delivery.made(folder)
        # What ends after the root goes the same way.
        trace.live = folder.meta.terms is not None and folder.meta.terms.live
        if self._on_change is not None:
            self._on_change(trace, folder)
        return _Entry(trace, folder)

    @guarded
    def _journal(self, entry: _Entry) -> None:
        """Write the spans of one conversation that have ended since the last time."""
        trace = entry.trace
        spans, entry.spans = entry.spans or (), None
        children = [span for span in spans if _id(span) != trace.root_span_id]
        for envelope, encoded in (
            self._encoder.of(children, trace.thread_id, entry.place_copy) if children else ()
        ):
            trace.unwritten(self._spool.append(entry.folder, envelope, encoded))
        entry.dirty = True
        if children and (self._on_change is not None or trace.live):
            if any(child.parent is not None and child.parent.span_id in trace.open_ids for child in children):
                # Whoever reads along finds there what they are below.
                entry.checkpoint_at = 0.0
            if self._on_change is not None:
                self._on_change(trace, entry.folder)
        for root in spans:
            if _id(root) == trace.root_span_id:
                self._end(entry, root)

    def _end(self, entry: _Entry, root: ReadableSpan) -> None:
        trace = entry.trace

        def revise(copy: EncodedSpan, _: ReadableSpan) -> None:
            langsmith_spans.as_root(copy)
            entry.cost.add_to_root(copy)
            langsmith_spans.count_dropped(copy, trace.dropped)
            if not entry.folder.files.all_on_disk:
                langsmith_spans.set_attributes(copy, {semconv.METADATA + "voicespan_spool": "memory"})

        entry.folder.end(checkpoint.request(self._encoder.of([root], trace.thread_id, revise)))
        entry.ended = True
        if trace.dropped:
            SHARED.put(DroppedSpans(trace.dropped))
        if trace.delivery is not None:
            trace.delivery.ended()

    def _tend(self) -> float | None:
        """Do what is due for the folders that this process works on; seconds until something is due again."""
        now = self._now()
        delays: list[float | None] = []
        # Those first whose turn it has been for longest. Most of hundreds have nothing new, many times a second.
        changed = [entry for entry in self._entries.values() if entry.has_changed]

        def tend(entry: _Entry) -> None:
            if self._now() - now > _TEND_AT_MOST:
                # What has ended meanwhile is not to wait for the rest.
                delays.append(0.0)
            else:
                delays.append(self._tend_one(entry) if entry.ended else self._checkpoint(entry, now))

        changed.sort(key=lambda entry: entry.checkpoint_at)
        paced(changed, tend, _TEND_AT_MOST, self._clock)
        delays += [self._standalone.close_due(now), self._move_to_disk(now)]
        # While nothing is said nobody would notice that the application needs the descriptors.
        delays.append(self._spool.close_journals())
        due = [delay for delay in delays if delay is not None]
        return min(due) if due else None

    def _tend_one(self, entry: _Entry) -> float | None:
        delivery = entry.trace.delivery
        if delivery is None:
            return None
        remaining = delivery.due_in()
        if remaining is None or remaining > 0:
            return remaining
        with guard():
            delivery.make_whole()
        with guard():
            entry.folder.set_recording_result(
                delivery.close(otherwise=partial(recordings.finished, entry.folder))
            )
        self._complete(entry.folder)
        del self._entries[entry.trace]
        entry.trace.delivery = None
        return None

    def _checkpoint(self, entry: _Entry, now: float) -> float | None:
        with guard():
            self._share_recording(entry)
        delivery = entry.trace.delivery
        if delivery is not None and entry.recording_started_at != delivery.recording_started_at:
            entry.recording_started_at = delivery.recording_started_at
            entry.dirty = True
        if not entry.dirty:
            return None
        if now < entry.checkpoint_at:
            return entry.checkpoint_at - now
        entry.dirty = False
        began = self._now()
        with guard():
            opened = checkpoint.opened(entry.trace, self._encoder)
            if opened is not None:
                entry.folder.checkpoint(opened)
                spent = self._now() - began
                entry.checkpoint_at = now + max(
                    _CHECKPOINT_EVERY,
                    len(opened) / _CHECKPOINT_RATE,
                    spent * len(self._entries) / _CHECKPOINT_SHARE,
                )
            elif entry.trace.root is not None:
                # Its conversation did not answer: asked again then.
                entry.dirty, entry.checkpoint_at = True, now + _CHECKPOINT_EVERY
                return _CHECKPOINT_EVERY
        return None

    def _share_recording(self, entry: _Entry) -> None:
        """Where a conversation has two destinations, have the file that its recorder writes in both folders.

        As a link: what the recorder appends is then in both, whichever of them a kill leaves to whom.
        """
        conversation, own = entry.trace.conversation, entry.folder.files.folder
        if conversation is None or own is None or len(conversation.deliveries) < 2:  # noqa: PLR2004
            return
        first = conversation.deliveries[0]
        theirs = first.folder if isinstance(first, RootAttachment) else None
        if theirs is None or theirs == own:
            return
        for recording in theirs.glob("*.flac"):
            with contextlib.suppress(OSError):
                (own / recording.name).hardlink_to(recording)

    def _complete(self, folder: Folder) -> None:
        folder.files.close()
        self._on_complete(folder)

    def _move_to_disk(self, now: float) -> float | None:
        """Try again now and then what the disk refused; seconds until the next time, None: it has taken all."""
        # Mostly it has, and there may be hundreds to look at, many times a second.
        if self._spool.memory.is_empty:
            return None
        refused = [entry.folder for entry in self._entries.values() if not entry.folder.files.all_on_disk]
        if refused and now >= self._retry_disk_at:
            self._retry_disk_at = now + _RETRY_DISK_EVERY
            refused = [folder for folder in refused if not self._spool.move_to_disk(folder)]
        return max(self._retry_disk_at - now, 0.0) if refused else None

    def hurry(self, seconds: float) -> None:
        """The process is about to end: no recording is waited for longer than `seconds`."""
        for entry in list(self._entries.values()):
            if entry.trace.delivery is not None:
                entry.trace.delivery.hurry(seconds)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def reset_after_fork(self) -> None:
        """In a forked child: what the parent was writing is the parent's."""
        self._queue = deque()
        self._entries = {}
        self._standalone.reset_after_fork()


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return 0 if context is None else context.span_id
