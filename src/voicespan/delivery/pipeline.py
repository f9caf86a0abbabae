"""What stands behind a processor once there is a conversation: spool, writer, sender, and their threads."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.scheduler import ExportScheduler
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.spool.folder import PROGRESS, Folder, Meta
from voicespan.delivery.spool.spool import Spool
from voicespan.delivery.spool_writer import Ended, Opened, SpoolWriter, StandaloneSpan, Started
from voicespan.runtime.background import Loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.delivery.attachments import RootAttachment
    from voicespan.delivery.destination.destination import Destination, Privacy, SpoolSettings
    from voicespan.delivery.spool.folder import RecordingResult
    from voicespan.delivery.traces import Trace
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Seconds that ended spans wait for others before they are written: a part of the quarter second that a kill may cost.
_LINGER = 0.05
#: Seconds between two looks while somebody waits.
_LOOK_EVERY = 0.02
#: The share of the time at exit that a recording may take to be finished.
_RECORDING_SHARE = 0.5


class Pipeline:
    """One destination's delivery. Its methods may be called from any thread; none but the waits wait."""

    def __init__(
        self,
        destination: Destination,
        spool_settings: SpoolSettings,
        privacy: Privacy,
        clock: Clock,
        *,
        sample_rate: float | None = None,
    ) -> None:
        self.destination = destination
        self.spool = Spool(spool_settings, clock)
        self._clock = clock
        copy = SpanEncoder(privacy, marked=destination.through_collector, sample_rate=sample_rate)
        self.post = HttpClient(destination, clock)
        courier = Uploader(destination, self.post, clock, privacy)
        self.sender = ExportScheduler(self.spool, destination, courier, clock, privacy)
        # One salt for each process: folders of one process can be told to have one key, and no more.
        named = destination.named(secrets.token_bytes(16))
        self.writer = SpoolWriter(self.spool, copy, named, clock, self._hand_over)
        self._writing = Loop("voicespan-spool", self.writer.step, batch_delay=_LINGER)
        self._sending = Loop("voicespan-export", self.sender.step)

    def opened(self, trace: Trace) -> None:
        """A conversation has opened."""
        self.writer.put(Opened(trace))
        self._writing.wake()
        # It also looks for what dead processes left.
        self._sending.wake()

    def started(self, trace: Trace) -> None:
        """A span of an open conversation has started."""
        self.writer.put(Started(trace), always=False)
        self._writing.wake()

    def ended(self, trace: Trace, span: ReadableSpan, *, root: bool) -> None:
        """A span of a conversation has ended."""
        if not self.writer.put(Ended(trace, span), always=root):
            trace.drop()
        # A process that is told to end does so moments after its conversations.
        self._writing.wake(urgent=root)

    def standalone(self, trace: Trace | None, span: ReadableSpan) -> None:
        """A span has ended that waits for no root."""
        if not self.writer.put(StandaloneSpan(trace, span), always=False):
            self.drop()
        self._writing.wake()
        self._sending.wake()

    def drop(self) -> None:
        """A span came when nothing could take it any more."""
        self.writer.lost += 1
        if self.writer.lost == 1:
            _logger.warning(
                "voicespan: a span ended too long after its conversation; such spans are not sent"
            )

    def recording_settled(self) -> None:
        """Something changed about a recording."""
        self._writing.wake(urgent=True)

    def reserve(self, size: int) -> bool:
        """Whether so many bytes of a recording may be written."""
        return self.spool.reserve(size)

    def late(self, delivery: RootAttachment, file: BinaryIO, settled: RecordingResult) -> None:
        """A recording came when its conversation was complete: it still joins a root that waits.

        Raises:
            OSError: it cannot be copied.
        """
        root, name = self.spool.root, delivery.folder_name
        if root is None or name is None or settled.file is None:
            _logger.warning("voicespan: a recording came too late and there is no disk to keep it on")
            return
        folder = Folder.claim(root / name, self.spool.memory)
        if folder is not None and not DeliveryState.of(folder.files.read(PROGRESS)).root_sent:
            try:
                folder.files.copy_in(settled.file, file)
                folder.set_recording_result(settled)
            finally:
                folder.release()
            return
        if folder is not None:
            folder.release()
        self._keep(name, file, settled)

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
        self._writing.stop()
        self._sending.stop()
        self.sender.stop()

    def reset_after_fork(self) -> None:
        """In a forked child: everything here is the parent's."""
        self.writer.reset_after_fork()
        self.sender.reset_after_fork()
        self.post.reset_after_fork()

    def left(self) -> int:
        """How many conversations of this process have ended and are not delivered."""
        return self.writer.pending + len(self.sender.left())

    def _deliver_until(
        self, deadline: float, on_wait: Callable[[], None], *, recordings_within: float | None = None
    ) -> bool:
        written = threading.Event()
        self.writer.put(written)
        self._writing.wake(urgent=True)
        self.sender.hurry()
        self._sending.wake()
        if not self._until(written.is_set, deadline, on_wait):
            return False
        if recordings_within is not None:
            self.writer.hurry(recordings_within)
            self._writing.wake(urgent=True)
        if not self._until(lambda: not self.writer.pending, deadline, on_wait):
            return False
        self.sender.hurry()
        self._sending.wake()
        return self._until(lambda: not self.sender.left(), deadline, on_wait, self.sender.resting)

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
            self._writing.run_once()
            self._sending.run_once()
            time.sleep(_LOOK_EVERY)
        return True

    def _keep(self, name: str, file: BinaryIO, settled: RecordingResult) -> None:
        meta = Meta(destination={}, started_at=self._clock.time_ns(), after=name)
        kept = Folder.create(self.spool.root, f"{name}-late", meta, None, self.spool.memory)
        kept.files.copy_in(settled.file or "recording", file)
        kept.set_recording_result(replace(settled, status="late"))
        kept.keep()
        _logger.warning("voicespan: a recording came after its root was sent; kept in %s", kept.files.folder)

    def _hand_over(self, folder: Folder) -> None:
        self.sender.offer(folder)
        self._sending.wake()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic_ns() / 1e9
