"""One way out for each destination: its client, its scheduler and the thread of that. There are not very many at a time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from voicespan.delivery.deliverer.shown_calls import ShownCalls
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.run_links import RunLinks
from voicespan.delivery.export.scheduler import AT_ONCE, ExportScheduler
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.spool.folder import SETTLED
from voicespan.runtime.background import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.delivery.deliverer.spool_watch import Waiting
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.spool.folder import Folder
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

#: Destinations that are delivered to at the same time, and how many of them by as many threads as can be.
MOST = 32
_BUSY = 4
_THREADS_OF_OTHERS = 2
#: Seconds that a recording waits to be encoded. Then it goes as it is: three times as large, but in time.
_PATIENCE = 60.0
#: Folders that wait in one destination's line. More stay in the spool until there is room.
MOST_WAITING = 10_000


class Outlet:
    """The way to one destination."""

    def __init__(
        self, destination: Destination, spool: Spool, privacy: Privacy, clock: Clock, *, threads: int
    ) -> None:
        self.destination = destination
        self._clock = clock
        #: Wall clock, seconds.
        self._begun_at = clock.time_ns() / 1e9
        self.http = HttpClient(destination, clock)
        uploader = Uploader(
            destination,
            self.http,
            clock,
            privacy,
            scored_project=self.http.project_id,
            scores_all=spool.settings.feedback,
            has_time=self._has_time,
            links=RunLinks(destination, self.http.project),
        )
        self.scheduler = ExportScheduler(
            spool, destination, uploader, clock, privacy, sweeps=False, at_once=threads
        )
        self.loop = Loop("voicespan-export", self.scheduler.step)
        #: None: nothing can be shown there before it is over.
        self.shown = (
            ShownCalls(destination.project or "", self.http, clock) if destination.takes_runs else None
        )

    def take(self, waiting: Waiting, *, new: bool) -> bool:
        """Deliver a folder; False: too many wait already, or some of it is being shown at this moment."""
        if waiting.is_shown and self.shown is not None and not self.shown.let_go(waiting.path):
            return False
        if len(self.scheduler.left(everything=True)) >= MOST_WAITING:
            return False
        self.scheduler.take(waiting.path, new=new)
        self.loop.wake()
        return True

    def _has_time(self, folder: Folder) -> bool:
        """Whether a recording is encoded: not after a minute in which there was no time to, unless nothing is taken."""
        path = folder.files.folder
        if path is None or self.scheduler.is_failing:
            return True
        complete_at = self._begun_at
        with contextlib.suppress(OSError):
            complete_at = max(complete_at, (path / SETTLED).stat().st_mtime)
        return self._clock.time_ns() / 1e9 - complete_at < _PATIENCE

    def stop(self) -> None:
        """Let the threads end after what they are at, and begin nothing any more."""
        if self.shown is not None:
            self.shown.stop()
        self.scheduler.stop()
        self.loop.stop()

    def is_done(self) -> bool:
        """Whether nothing is under way any more, after `stop`; it has let go of all folders then."""
        return not self.scheduler.is_busy and (self.shown is None or self.shown.stop())


class Outlets:
    """All of them."""

    def __init__(self, spool: Spool, privacy: Privacy, clock: Clock) -> None:
        self._spool = spool
        self._privacy = privacy
        self._clock = clock
        self._outlets: dict[Destination, Outlet] = {}
        #: Take no more folders; what they are at goes on.
        self._closing: list[Outlet] = []
        #: Of those that are closed: how many conversations were delivered, and how many folders in all.
        self._delivered = [0, 0]

    def to(self, destination: Destination) -> Outlet | None:
        """The way to a destination; None: there are too many."""
        found = self._outlets.get(destination)
        if found is None and len(self._outlets) >= MOST:
            idle = [outlet for outlet in self if not outlet.scheduler.left(everything=True)]
            for outlet in idle[:1]:
                self._retire(outlet)
            self._close()
        if found is None and len(self._outlets) < MOST:
            threads = AT_ONCE if len(self._outlets) < _BUSY else _THREADS_OF_OTHERS
            found = self._outlets[destination] = Outlet(
                destination, self._spool, self._privacy, self._clock, threads=threads
            )
        return found

    def waiting(self) -> set[str]:
        """The names of the folders that stand in a line."""
        self._close()
        return {name for outlet in (*self, *self._closing) for name in outlet.scheduler.left(everything=True)}

    def delivered(self) -> tuple[int, int]:
        """How many conversations, and how many folders in all, have been delivered."""
        schedulers = [outlet.scheduler for outlet in (*self, *self._closing)]
        return (
            self._delivered[0] + sum(each.delivered_conversations for each in schedulers),
            self._delivered[1] + sum(each.delivered for each in schedulers),
        )

    def reasons(self) -> dict[str, str]:
        """Why the last try failed, by destination, where it did."""
        return {
            outlet.destination.shown: outlet.scheduler.reason for outlet in self if outlet.scheduler.reason
        }

    def is_busy(self) -> bool:
        """Whether a folder is being delivered."""
        self._close()
        return bool(self._closing) or any(outlet.scheduler.is_busy for outlet in self)

    def run_once(self) -> None:
        """Do a step here for those that have no thread: the system may have none left."""
        for outlet in self:
            outlet.loop.run_once()
            if outlet.shown is not None:
                outlet.shown.sender.loop.run_once()

    def retire(self) -> None:
        """Begin no delivery any more that way: there are other keys, or the process is to end."""
        for outlet in self:
            self._retire(outlet)
        self._close()

    def __iter__(self) -> Iterator[Outlet]:
        return iter(list(self._outlets.values()))

    def _retire(self, outlet: Outlet) -> None:
        outlet.stop()
        self._closing.append(outlet)
        del self._outlets[outlet.destination]

    def _close(self) -> None:
        """Close those that are at nothing any more."""
        for outlet in [each for each in self._closing if each.is_done()]:
            self._closing.remove(outlet)
            self._delivered[0] += outlet.scheduler.delivered_conversations
            self._delivered[1] += outlet.scheduler.delivered
            outlet.http.close()
