"""Which folders of the spool this process may send, and what is said about the others."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from voicespan.delivery.spool.folder import read_meta, signs_of_life

if TYPE_CHECKING:
    from pathlib import Path

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.folder_destination import FolderDestination
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Seconds for which another machine's folder is left alone after it was last written to.
ELSEWHERE_SECONDS = 900.0


class FolderOwners:
    """Decides by what folders say of themselves, and remembers it by their names."""

    def __init__(
        self, spool: Spool, destination: Destination | FolderDestination, clock: Clock, *, new_key: bool
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

    def is_for_us(self, path: Path) -> bool:
        """Whether a folder that nobody works on here may be sent now."""
        return not self.is_of_others(path) and not self.may_live_elsewhere(path)

    def may_live_elsewhere(self, path: Path) -> bool:
        """Whether another machine may work on the folder: volumes exist whose locks hold on one machine alone."""
        meta = read_meta(path)
        if meta is None or meta.host == socket.gethostname():
            return False
        return self._clock.time_ns() / 1e9 - signs_of_life(path) < ELSEWHERE_SECONDS

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
