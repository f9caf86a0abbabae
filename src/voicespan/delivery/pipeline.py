"""What stands behind a processor once there is a conversation: spool, writer, sender, and their threads."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import Copy
from voicespan.delivery.export.delivery_state import Progress
from voicespan.delivery.export.http_client import Post
from voicespan.delivery.export.scheduler import Sender
from voicespan.delivery.export.uploader import Courier
from voicespan.delivery.spool.folder import PROGRESS, Folder, Meta
from voicespan.delivery.spool.spool import Spool
from voicespan.delivery.spool_writer import Ended, Loose, Opened, Started, Writer
from voicespan.runtime.background import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.delivery.attachments import Delivery
    from voicespan.delivery.destination.destination import Destination, Privacy, SpoolSettings
    from voicespan.delivery.spool.folder import Settled
    from voicespan.delivery.traces import Trace
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Seconds that ended spans wait for others before they are written: a part of the quarter second that a kill may cost.
_LINGER = 0.05
#: Seconds between two looks while somebody waits.
_LOOK_EVERY = 0.02
#: The share of the time at exit that a recording may take to be finished.
_RECORDING_SHARE = 0.5


class Engine:
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
        copy = Copy(privacy, marked=destination.through_collector, sample_rate=sample_rate)
        self.post = Post(destination, clock)
        courier = Courier(destination, self.post, clock, privacy)
        self.sender = Sender(self.spool, destination, courier, clock, privacy)
        # One salt for each process: folders of one process can be told to have one key, and no more.
        named = destination.named(secrets.token_bytes(16))
        self.writer = Writer(self.spool, copy, named, clock, self._hand_over)
        self._writing = Worker("voicespan-spool", self.writer.step, linger=_LINGER)
        self._sending = Worker("voicespan-sender", self.sender.step)

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

    def loose(self, trace: Trace | None, span: ReadableSpan) -> None:
        """A span has ended that waits for no root."""
        if not self.writer.put(Loose(trace, span), always=False):
            self.lose()
        self._writing.wake()
        self._sending.wake()

    def lose(self) -> None:
        """A span came when nothing could take it any more."""
        self.writer.lost += 1
        if self.writer.lost == 1:
            _logger.warning(
                "voicespan: a span ended too long after its conversation; such spans are not sent"
            )

    def settle(self) -> None:
        """Something changed about a recording."""
        self._writing.wake(urgent=True)

    def reserve(self, size: int) -> bool:
        """Whether so many bytes of a recording may be written."""
        return self.spool.reserve(size)

    def late(self, delivery: Delivery, file: BinaryIO, settled: Settled) -> None:
        """A recording came when its conversation was complete: it still joins a root that waits.

        Raises:
            OSError: it cannot be copied.
        """
        root, name = self.spool.root, delivery.folder_name
        if root is None or name is None or settled.file is None:
            _logger.warning("voicespan: a recording came too late and there is no disk to keep it on")
            return
        folder = Folder.claim(root / name, self.spool.memory)
        if folder is not None and not Progress.of(folder.files.read(PROGRESS)).root_sent:
            try:
                folder.files.copy_in(settled.file, file)
                folder.settle(settled)
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

    def forget_all(self) -> None:
        """In a forked child: everything here is the parent's."""
        self.writer.forget_all()
        self.sender.forget_all()
        self.post.forget()

    def left(self) -> int:
        """How many conversations of this process have ended and are not delivered."""
        return self.writer.unsettled + len(self.sender.left())

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
        if not self._until(lambda: not self.writer.unsettled, deadline, on_wait):
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
            self._writing.help()
            self._sending.help()
            time.sleep(_LOOK_EVERY)
        return True

    def _keep(self, name: str, file: BinaryIO, settled: Settled) -> None:
        meta = Meta(destination={}, started_at=self._clock.time_ns(), after=name)
        kept = Folder.create(self.spool.root, f"{name}-late", meta, None, self.spool.memory)
        kept.files.copy_in(settled.file or "recording", file)
        kept.settle(replace(settled, status="late"))
        kept.keep()
        _logger.warning("voicespan: a recording came after its root was sent; kept in %s", kept.files.folder)

    def _hand_over(self, folder: Folder) -> None:
        self.sender.offer(folder)
        self._sending.wake()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic_ns() / 1e9
