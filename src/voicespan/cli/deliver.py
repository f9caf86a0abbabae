"""`voicespan deliver`: sends what applications leave in the spool."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from voicespan.cli.recover import PATIENCE
from voicespan.cli.text import count
from voicespan.delivery.deliverer.deliverer import Deliverer
from voicespan.delivery.deliverer.status_server import StatusServer
from voicespan.delivery.destination.keys import Keys
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.export.safe_text import printable
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.runtime.background import Signal
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from voicespan.runtime.clock import Clock

#: Seconds between two looks at whether the spool has changed.
_LOOK_EVERY = 0.25
_SOMETHING_LEFT = 1
_NICENESS = 10


def run(options: argparse.Namespace) -> int:
    """Deliver, as the command line says; the exit status.

    Raises:
        DeliverySettingsError: the file of keys cannot be used, or the address cannot be listened at.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("voicespan").setLevel(logging.INFO)
    deliverer = Deliverer(
        SpoolSettings.from_environment(folder=options.spool_dir), Keys(), Privacy.from_environment(), SYSTEM
    )
    work = Delivery(deliverer, grace=options.grace)
    with contextlib.ExitStack() as at_end:
        if options.http:
            server = StatusServer(options.http, deliverer.status)
            at_end.callback(server.close)
            print(f"/ready and /metrics at {server.url}", flush=True)  # noqa: T201  what a command says
        at_end.enter_context(_asked_to_end(work))
        if options.once:
            return work.once(options.timeout)
        _be_nice()
        return work.watch()


class Delivery:
    """Runs a deliverer until it is done, or asked to end."""

    def __init__(
        self, deliverer: Deliverer, *, grace: float, out: TextIO | None = None, clock: Clock = SYSTEM
    ) -> None:
        self._deliverer = deliverer
        self._grace = grace
        self._out = out or sys.stdout
        self._clock = clock
        self._asked = Signal()
        #: How often it was asked to end: the second time it does not finish anything.
        self._times = 0

    def end(self) -> None:
        """End soon; a second time: at once. A signal handler may call it."""
        self._times += 1
        self._asked.set()

    def watch(self) -> int:
        """Deliver until asked to end; the exit status."""
        self._say(f"voicespan delivers what waits in {self._deliverer.spool.root}")
        while not self._times:
            self._deliverer.look()
            self._asked.wait(_LOOK_EVERY)
        self._finish()
        return 0

    def once(self, timeout: float = math.inf, patience: float = PATIENCE) -> int:
        """Deliver what waits, while something is taken now and then; the exit status."""
        ends_at = self._now() + timeout
        taken_at, delivered = self._now(), -1
        while not self._times:
            self._deliverer.look()
            status = self._deliverer.status()
            if not (self._deliverer.left() or self._deliverer.is_busy()):
                break
            if status.delivered_folders > delivered:
                delivered, taken_at = status.delivered_folders, self._now()
            if self._now() >= min(taken_at + patience, ends_at):
                break
            self._asked.wait(_LOOK_EVERY if delivered else 0.02)
        self._finish()
        return self._conclude()

    def _finish(self) -> None:
        """Let what is under way come to its end, for so long as it may."""
        self._deliverer.stop()
        ends_at = self._now() + self._grace
        while self._deliverer.is_busy() and self._now() < ends_at and self._times < 2:  # noqa: PLR2004
            self._asked.wait(0.02)

    def _conclude(self) -> int:
        delivered = self._deliverer.status().delivered_conversations
        self._say(f"{count(delivered, 'conversation')} delivered")
        remaining = self._deliverer.remaining()
        for why, number in remaining.items():
            self._say(f"{count(number, 'folder')} left: {why}")
        return _SOMETHING_LEFT if remaining else 0

    def _say(self, line: str) -> None:
        # What it says of folders and servers came from those.
        print(printable(line, 8192), file=self._out, flush=True)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


@contextlib.contextmanager
def _asked_to_end(work: Delivery) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C end it, while inside."""
    before = {
        number: signal.signal(number, lambda *_: work.end()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _be_nice() -> None:
    """Let the applications beside it go first: they speak with people, and this encodes recordings."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICENESS)
