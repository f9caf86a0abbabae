"""What becomes of complete folders where another process delivers them: they are let go of, and stay in the spool."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from voicespan.delivery.export.folder_owners import FolderOwners
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from voicespan.delivery.destination.handed_over import HandedOver
    from voicespan.delivery.spool.folder import Folder
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

#: Seconds between two tries to have the disk take what stands in memory.
_RETRY_DISK_EVERY = 1.0
#: Seconds between two looks at which folders are gone.
_FORGET_EVERY = 60.0


class SpoolHandover:
    """Stands where a scheduler of exports does. It sends nothing."""

    def __init__(self, spool: Spool, destination: HandedOver, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        #: Which folders count in this destination's bound.
        self._owners = FolderOwners(spool, destination, clock, new_key=False)
        self._in_memory: dict[str, Folder] = {}
        self._lock = threading.RLock()
        self._forget_at = 0.0
        self.reason: str | None = None

    def offer(self, folder: Folder) -> None:
        """A conversation of this process is complete; its folder is locked by this process."""
        if not self._let_go(folder):
            with self._lock:
                self._in_memory[folder.name] = folder

    def step(self) -> float | None:
        """Try again what no disk has taken; seconds until the next time."""
        now = self._clock.monotonic_ns() / 1e9
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY
            with guard():
                self._owners.forget_all_but({path.name for path in self._spool.waiting()})
        with self._lock:
            waiting = list(self._in_memory.values())
        for folder in waiting:
            with guard():
                if self._spool.move_to_disk(folder) and self._let_go(folder):
                    with self._lock:
                        self._in_memory.pop(folder.name, None)
        return _RETRY_DISK_EVERY if self._in_memory else None

    def hurry(self) -> None:
        """Somebody waits. What can be let go of is."""

    def resting(self, until: float) -> bool:
        """Whether nothing will be tried before `until` (monotonic seconds)."""
        return self._clock.monotonic_ns() / 1e9 + _RETRY_DISK_EVERY >= until

    def left(self, *, everything: bool = False) -> list[str]:  # noqa: ARG002  others' are the deliverer's
        """The names of the folders that are in memory: nobody else can find them."""
        return list(self._in_memory)

    @property
    def left_in_memory(self) -> int:
        """How many those are."""
        return len(self._in_memory)

    def stop(self) -> None:
        """Nothing runs that would have to end."""

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = threading.RLock()
        self._in_memory = {}

    def _let_go(self, folder: Folder) -> bool:
        """Leave a folder to whoever delivers it; False: no disk has taken it whole."""
        path = folder.files.folder
        if path is None or not folder.files.all_on_disk:
            return False
        folder.release()
        # A deliverer looks at once when the time of the spool's directory changes.
        with contextlib.suppress(OSError):
            os.utime(path.parent)
        return True
