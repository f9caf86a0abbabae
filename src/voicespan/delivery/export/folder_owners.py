"""Which folders of the spool this process may send, and what is said about the others."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from voicespan.delivery.spool import locks
from voicespan.delivery.spool.folder import read_meta, signs_of_life
from voicespan.delivery.spool.machine import machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voicespan.delivery.destination.any_destination import AnyDestination
    from voicespan.delivery.spool.meta import Meta
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Seconds for which another machine's folder is left alone after it was last written to.
ELSEWHERE_SECONDS = 900.0


class FolderOwners:
    """Decides by what folders say of themselves, and remembers it by their names."""

    def __init__(
        self,
        spool: Spool,
        destination: AnyDestination,
        clock: Clock,
        *,
        new_key: bool,
    ) -> None:
        """`new_key`: folders that differ in the key alone are ours too."""
        self._destination = destination
        self._clock = clock
        self._new_key = new_key
        self._of_others: dict[str, bool] = {}
        self._said = 0
        self._place: Path | None = None  # of the last one of others
        #: Nothing is logged of others' folders.
        self.is_quiet = False
        self._spool = spool
        spool.is_of_others = self.is_of_others

    def is_of_others(self, path: Path) -> bool:
        """Whether a folder is for another destination than this one's: another key, say, which was replaced."""
        known = self._of_others.get(path.name)
        if known is None:
            meta = read_meta(path)
            if meta is None:  # damaged, of another version, or not there yet: nobody's, for now
                return True
            known = not self._destination.is_named(meta.destination, new_key=self._new_key)
            self._of_others[path.name] = known
            self._place = path.parent if known else self._place
        return known

    def find(self) -> Iterator[Path]:
        """Every folder that may be sent now, where nobody here works on it."""
        self._spool.tidy()
        waiting = self._spool.waiting()
        self.forget_all_but({path.name for path in waiting})
        yield from (path for path in waiting if not locks.held_here(path) and self.is_for_us(path))
        self.say()

    def is_for_us(self, path: Path) -> bool:
        """Whether a folder that nobody works on here may be sent now."""
        return not self.is_of_others(path) and not self.may_live_elsewhere(path)

    def may_live_elsewhere(self, path: Path) -> bool:
        """Whether another machine may work on the folder."""
        return may_live_elsewhere(path, read_meta(path), self._clock.time_ns() / 1e9)

    def forget_all_but(self, names: set[str]) -> None:
        """Only these are there."""
        for name in list(self._of_others):
            if name not in names:
                self._of_others.pop(name, None)

    def say(self) -> None:
        """Log how many wait for others, once, and again when there are more."""
        count = sum(self._of_others.values())
        if self.is_quiet or count <= self._said:
            return
        self._said = count
        _logger.warning(
            "voicespan: %s in %s for another key or project, and this process sends none of them; voicespan spool "
            "shows them, and if the key was replaced voicespan recover --new-key sends them",
            "1 conversation waits" if count == 1 else f"{count} conversations wait",
            self._place,
        )


def may_live_elsewhere(path: Path, meta: Meta | None, now: float) -> bool:
    """Whether another machine may work on a folder: volumes exist whose locks hold on one machine alone.

    `now`: seconds since the epoch.
    """
    if meta is None or meta.host == socket.gethostname() or (meta.machine and meta.machine == machine()):
        return False
    return now - signs_of_life(path) < ELSEWHERE_SECONDS
