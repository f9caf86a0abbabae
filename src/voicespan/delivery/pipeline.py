"""What stands behind a processor once there is a conversation: spool, writer, exporter, and their threads."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from voicespan.delivery.spool.spool import SpoolTarget
from voicespan.delivery.spool_writer import Ended, Opened, SpoolWriter, StandaloneSpan, Started
from voicespan.delivery.traces import Place
from voicespan.runtime.background import Loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.delivery.destination.any_destination import AnyDestination
    from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
    from voicespan.delivery.export.http_client import HttpClient
    from voicespan.delivery.export.live import LiveSender
    from voicespan.delivery.spool.folder import Folder, RecordingResult
    from voicespan.delivery.spool.meta import Terms
    from voicespan.delivery.spool.spool import Spool
    from voicespan.delivery.traces import Trace
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Seconds that ended spans wait for others before they are written: a part of the quarter second that a kill may cost.
_BATCH_DELAY = 0.05
#: Seconds between two looks while somebody waits.
_LOOK_EVERY = 0.02
#: The share of the time at exit that a recording may take to be finished.
_RECORDING_SHARE = 0.5


class JoinLate(Protocol):
    """What becomes of a recording that comes when its conversation is complete."""

    def __call__(
        self, spool: Spool, name: str | None, file: BinaryIO, result: RecordingResult, _clock: Clock, /
    ) -> None:
        """Put it where it belongs; `name`: of the conversation's folder in the spool.

        Raises:
            OSError: it cannot be copied.
        """


class Scheduler(Protocol):
    """What becomes of folders that are complete. `step` is called by one thread, everything else by any."""

    def offer(self, folder: Folder) -> None:
        """A conversation of this process is complete; its folder is locked by this process."""

    def step(self) -> float | None:
        """Do what is next; seconds until there is something to do."""

    def hurry(self) -> None:
        """Somebody waits: try at once."""

    def resting(self, until: float) -> bool:
        """Whether nothing of this process will be tried before `until` (monotonic seconds)."""

    def left(self, *, everything: bool = False) -> list[str]:
        """The names of the folders that it has not done with; `everything`: others' as well."""

    @property
    def left_in_memory(self) -> int:
        """How many of them no disk has taken whole."""

    @property
    def reason(self) -> str | None:
        """Why the last try failed, if it did."""

    def stop(self) -> None:
        """Let its threads end."""

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's."""


class Target(NamedTuple):
    """Where a pipeline leads."""

    destination: AnyDestination
    scheduler: Scheduler
    join_late: JoinLate
    #: None: nothing goes over the network.
    http: HttpClient | None = None
    #: Makes what shows conversations while they are going on; None: nothing does.
    live: Callable[[Callable[[Folder], None]], LiveSender] | None = None
    #: What whoever delivers it has to keep to; None: this process delivers it.
    terms: Terms | None = None


class Pipeline:
    """One destination's delivery. Its methods may be called from any thread; none but the waits wait."""

    def __init__(
        self,
        target: Target,
        spool: Spool,
        encoder: SpanEncoder,
        clock: Clock,
    ) -> None:
        self.destination = destination = target.destination
        self.spool = spool
        self._target = target
        self._clock = clock
        #: Whether a span came when nothing could take it any more, and that was said.
        self._has_missed = False
        self.http = target.http
        self.scheduler = target.scheduler
        # One salt for each process: folders of one process can be seen to have one key, and no more.
        named = destination.named(secrets.token_bytes(16))
        #: None: nothing is shown before it is over.
        self.live = None if target.live is None else target.live(self._export)
        self.writer = SpoolWriter(
            SpoolTarget(spool, encoder, named, clock, target.terms),
            self._export if self.live is None else self.live.completed,
            None if self.live is None else self.live.changed,
        )
        self._spool_loop = Loop("voicespan-spool", self.writer.step, batch_delay=_BATCH_DELAY)
        self._export_loop = Loop("voicespan-export", self.scheduler.step)

    def opened(self, trace: Trace) -> None:
        """A conversation has opened."""
        self.writer.put(Opened(trace))
        self._spool_loop.wake()
        # The application may open many at once, each with a socket: our threads would come too late.
        self.spool.give_way()
        # It also looks for what dead processes left.
        self._export_loop.wake()

    def started(self, trace: Trace) -> None:
        """A span of an open conversation has started."""
        self.writer.put(Started(trace), always=False)
        self._spool_loop.wake()

    def ended(self, trace: Trace | None, span: ReadableSpan, place: Place) -> None:
        """A span has ended; `trace`: the conversation that it belongs to, if there is one."""
        if trace is not None and place in (Place.ROOT, Place.CHILD):
            is_root = place is Place.ROOT
            if not self.writer.put(Ended(trace, span), always=is_root):
                trace.drop()
            # A process that is asked to end does so right after its conversations.
            self._spool_loop.wake(urgent=is_root)
        elif place is Place.LATE and self.writer.put(StandaloneSpan(trace, span), always=False):
            self._spool_loop.wake()
            self._export_loop.wake()
        elif place is not Place.DROPPED and not self._has_missed:
            self._has_missed = True
            _logger.warning(
                "voicespan: a span ended too long after its conversation; such spans are not sent"
            )

    def recording_changed(self) -> None:
        """Something changed about a recording."""
        self._spool_loop.wake(urgent=True)

    def copy_later(self, copy: Callable[[], None], discard: Callable[[], None]) -> None:
        """Have `copy` called in the background, or `discard` where that is stopped before."""
        self.spool.copies.put(copy, discard)

    def reserve(self, size: int) -> bool:
        """Whether so many bytes of a recording may be written."""
        return self.spool.reserve(size)

    def late_recording(self, folder_name: str | None, file: BinaryIO, result: RecordingResult) -> None:
        """A recording came when its conversation was complete: it still joins a root that waits.

        Raises:
            OSError: it cannot be copied.
        """
        self._target.join_late(self.spool, folder_name, file, result, self._clock)

    def flush(self, deadline: float) -> bool:
        """Wait until everything that has ended is delivered, or until `deadline` (monotonic seconds)."""
        return self._deliver_until(deadline, lambda: None)

    def shutdown(self, deadline: float, on_wait: Callable[[], None] = lambda: None) -> bool:
        """As `flush`, but recordings that are still expected have only a part of the time.

        `on_wait` is called again and again meanwhile.
        """
        share = (deadline - self.now()) * _RECORDING_SHARE
        delivered = self._deliver_until(deadline, on_wait, recordings_within=share)
        self.stop()
        return delivered

    def stop(self) -> None:
        """Let the threads end."""
        self._spool_loop.stop()
        self._export_loop.stop()
        if self.live is not None:
            self.live.loop.stop()
        self.spool.copies.stop()
        self.scheduler.stop()

    def reset_after_fork(self) -> None:
        """In a forked child: everything here is the parent's."""
        self.writer.reset_after_fork()
        self.scheduler.reset_after_fork()
        if self.live is not None:
            self.live.reset_after_fork()
        if self.http is not None:
            self.http.reset_after_fork()
        self.spool.copies.reset_after_fork()

    def left(self) -> int:
        """How many conversations of this process have ended and are not delivered."""
        return self.writer.pending + self._under_way + len(self.scheduler.left())

    def waiting(self) -> int:
        """How many wait to be delivered, those that dead processes left included."""
        return self.writer.pending + self._under_way + len(self.scheduler.left(everything=True))

    def catch_up(self, seconds: float) -> None:
        """Have what has ended written to the spool, and by that priced; wait at most so many seconds."""
        written, deadline = threading.Event(), time.monotonic() + seconds
        self.writer.put(written)
        self._spool_loop.wake(urgent=True)
        while not written.wait(_LOOK_EVERY) and time.monotonic() < deadline:
            self._spool_loop.run_once()

    def left_in_memory(self) -> int:
        """How many of them no disk has taken whole: nobody can send them when this process has ended."""
        return self.writer.pending_in_memory + self.scheduler.left_in_memory

    @property
    def _under_way(self) -> int:
        """How many complete folders wait for a request with some of them that is under way."""
        return 0 if self.live is None else self.live.pending

    def _deliver_until(
        self, deadline: float, on_wait: Callable[[], None], *, recordings_within: float | None = None
    ) -> bool:
        written = threading.Event()
        self.writer.put(written)
        self._spool_loop.wake(urgent=True)
        self.scheduler.hurry()
        self._export_loop.wake()
        if not self._until(written.is_set, deadline, on_wait):
            return False
        if recordings_within is not None:
            self.writer.hurry(recordings_within)
            self._spool_loop.wake(urgent=True)
        if not self._until(
            lambda: not (self.spool.copies.pending or self.writer.pending or self._under_way),
            deadline,
            on_wait,
        ):
            return False
        self.scheduler.hurry()
        self._export_loop.wake()
        return self._until(lambda: not self.scheduler.left(), deadline, on_wait, self.scheduler.resting)

    def _until(
        self,
        done: Callable[[], bool],
        deadline: float,
        on_wait: Callable[[], None],
        hopeless: Callable[[float], bool] = lambda _: False,
    ) -> bool:
        while not done():
            if self.now() >= deadline or hopeless(deadline):
                return False
            on_wait()
            self._spool_loop.run_once()
            self._export_loop.run_once()
            if self.live is not None:
                self.live.loop.run_once()
            self.spool.copies.loop.run_once()
            time.sleep(_LOOK_EVERY)
        return True

    def _export(self, folder: Folder) -> None:
        self.scheduler.offer(folder)
        self._export_loop.wake()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic_ns() / 1e9
