"""`voicespan recover`: sends what waits for one destination."""

from __future__ import annotations

import math
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, TextIO

from voicespan.cli.leftovers import Leftovers, lines
from voicespan.cli.text import count, destination_name
from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.scheduler import ExportScheduler
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.shutdown import ProgressLine
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool
from voicespan.runtime.background import Loop, Signal
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from voicespan.cli.leftovers import Leftover
    from voicespan.delivery.destination.destination import Destination
    from voicespan.runtime.clock import Clock

#: Seconds to go on trying when nothing is taken.
PATIENCE = 120.0
#: Seconds between two looks at how far it is.
_DRAW_EVERY = 0.2
#: Exit statuses, besides 0: nothing is left for the destination.
_SOMETHING_LEFT, _ONLY_OTHERS = 1, 3


def confirmed(question: str) -> bool:
    """Whether the person at the terminal says yes; nobody there is no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except (EOFError, RuntimeError):  # RuntimeError: there is no standard input
        return False


def recover(
    *,
    api_key: str | None = None,
    endpoint: str | None = None,
    project: str | None = None,
    workspace: str | None = None,
    spool_dir: str | os.PathLike[str] | None = None,
    new_key: bool = False,
    patience: float = PATIENCE,
    timeout: float = math.inf,
    drop_older_than: float | None = None,
    confirm: Callable[[str], bool] = confirmed,
    out: TextIO | None = None,
    clock: Clock = SYSTEM,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send what is in the spool for one destination, also what dead processes left.

    Args:
        api_key: LangSmith's key. It and the next four have the defaults of `LangSmithSpanProcessor`.
        endpoint: LangSmith's API.
        project: LangSmith's project.
        workspace: LangSmith's workspace.
        spool_dir: Where the spool is.
        new_key: Take folders as well whose destination differs in the key alone: the key was replaced.
        patience: Seconds to continue while nothing is accepted.
        timeout: Seconds for everything.
        drop_older_than: Days. Folders that are older and could not be sent are removed, whatever their destination is.
        confirm: Asked before anything is removed.
        out: Where to print; by default standard output.
        clock: Where time comes from.
        sleep: Waits for so many seconds.

    Returns:
        The exit status: 0 nothing is left for the destination, 1 something is, 3 only others' folders were there.

    Raises:
        DeliverySettingsError: There is no key and no endpoint.
    """
    destination = resolve(api_key=api_key, endpoint=endpoint, project=project, workspace=workspace)
    settings = SpoolSettings.from_environment(folder=spool_dir)
    recovery = _Recovery(settings, destination, clock, out or sys.stdout, new_key=new_key)
    recovery.send(patience, timeout, sleep)
    return recovery.conclude(drop_older_than, confirm)


class _Recovery:
    def __init__(
        self, settings: SpoolSettings, destination: Destination, clock: Clock, out: TextIO, *, new_key: bool
    ) -> None:
        folders = Spool(settings, clock)
        self.destination = destination
        self.http = HttpClient(destination, clock)
        privacy = Privacy.from_environment()
        uploader = Uploader(
            destination,
            self.http,
            clock,
            privacy,
            scored_project=self.http.project_id if settings.feedback else None,
        )
        self._scheduler = ExportScheduler(folders, destination, uploader, clock, privacy, new_key=new_key)
        self._leftovers = Leftovers(folders, destination, clock, new_key=new_key)
        self._clock = clock
        self._out = out
        self._done = Signal()
        self._stopped = False

    def left(self) -> int:
        """How many folders are not sent, of those that can be."""
        return len(self._scheduler.left(everything=True))

    def send(self, patience: float, timeout: float, sleep: Callable[[float], None]) -> None:
        """Deliver what can be, in a thread: no server that hangs keeps a person waiting past `timeout`."""
        ends_at = self._now() + timeout
        work = Loop("voicespan-recover", partial(self._send, patience, ends_at, sleep))
        line = ProgressLine(self)
        try:
            work.wake()
            work.run_once()  # here, where no thread can be started
            while not self._done.wait(_DRAW_EVERY) and self._now() < ends_at:
                line.draw()
        finally:
            line.close()
            self._stopped = True
            self._scheduler.stop()
            work.stop()

    def conclude(self, drop_older_than: float | None, confirm: Callable[[str], bool]) -> int:
        """Say what was sent and what was not, drop what is old; the exit status."""
        scheduler = self._scheduler
        other = scheduler.delivered - scheduler.delivered_conversations
        sent = count(scheduler.delivered_conversations, "conversation")
        if other:
            sent += f" and {count(other, 'folder')} of late spans"
        self._say(f"{sent} sent to {self._named}")
        left = self._leftovers.find(scheduler.left(everything=True), scheduler.reason)
        for line in lines(left):
            self._say(line)
        if drop_older_than is not None:
            left = self._drop(left, drop_older_than, confirm)
        if any(each.is_ours for each in left):
            return _SOMETHING_LEFT
        return _ONLY_OTHERS if left and not scheduler.delivered else 0

    def _send(self, patience: float, ends_at: float, sleep: Callable[[float], None]) -> None:
        try:
            # That is said at the end, with what else is left.
            self._scheduler.owners.is_quiet = True
            self._scheduler.sweep()
            self._deliver(patience, ends_at, sleep)
            self._scheduler.stop()
            self.http.close()
        finally:
            self._done.set()

    def _deliver(self, patience: float, ends_at: float, sleep: Callable[[float], None]) -> None:
        taken_at, delivered = self._now(), 0
        while self.left() and not self._stopped:
            delay = self._scheduler.step() or 0.0
            if delay and self._scheduler.await_helpers():
                continue
            now = self._now()
            if self._scheduler.delivered > delivered:
                delivered, taken_at = self._scheduler.delivered, now
            if now + delay > min(taken_at + patience, ends_at):
                return
            sleep(delay)

    def _drop(self, left: list[Leftover], days: float, confirm: Callable[[str], bool]) -> list[Leftover]:
        """Remove what is older than so many days, if the person wants that; what is left then."""
        old, old_age = self._leftovers.older_than(days, left), "1 day" if days == 1 else f"{days:g} days"
        if not old:
            self._say(f"nothing that waits is older than {old_age}")
            return left
        for each in old:
            self._say(f"older than {old_age}: {self._leftovers.row(each)}")
        if not confirm(f"Remove {'it' if len(old) == 1 else f'these {len(old)}'} for good? [y/N] "):
            self._say("nothing dropped")
            return left
        for each in old:
            self._say(self._leftovers.drop(each))
        return [each for each in left if each.path.exists()]

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    @property
    def _named(self) -> str:
        destination = self.destination
        named = {"url": destination.url, "project": destination.project, "workspace": destination.workspace}
        return destination_name(named)
