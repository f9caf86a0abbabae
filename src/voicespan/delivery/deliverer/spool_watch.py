"""Finds the folders of the spool that nobody works on any more: their call has ended, or their process has died.

There is no message between an application and its deliverer: the spool is enough, and survives both. A folder is ready
when it says what became of its recording (`settled.json`), or its lock is free. A process that dies lets go of all of its
locks at once, so of each process only a few folders are asked for their lock at a look.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from voicespan.delivery.export.folder_owners import may_live_elsewhere
from voicespan.delivery.spool.folder import SETTLED, is_held, read_meta

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voicespan.delivery.spool.meta import Meta
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

#: Seconds between two whole looks where nothing seems to have changed: that a process died can be seen in no directory.
LOOK_EVERY = 1.0
#: Folders of one process that are asked for their lock at a look. All of them have their turn.
_ASKED = 8
#: The share of a core that looking may take.
_SHARE = 0.02
#: Seconds between two removals of what killed processes left half made.
_TIDY_EVERY = 60.0


@dataclass
class Waiting:
    """A folder that waits, as it was last seen."""

    path: Path
    #: None: it is of another version, or damaged.
    meta: Meta | None

    @property
    def process(self) -> tuple[str, int]:
        """Who works on it, or did."""
        return ("", 0) if self.meta is None else (self.meta.host, self.meta.process)

    @property
    def is_shown(self) -> bool:
        """Whether it is to be shown while it is going on."""
        return self.meta is not None and self.meta.terms is not None and self.meta.terms.live

    @property
    def is_complete(self) -> bool:
        """Whether nothing more comes into it from its process."""
        return self.meta is not None and (
            self.meta.standalone or os.path.exists(self.path / SETTLED)  # noqa: PTH110  many of them, each second
        )


class SpoolWatch:
    """Looks at the places where folders are. Called by one thread."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._known: dict[str, Waiting] = {}
        #: Of the folders of each process, which was asked last.
        self._turn = 0
        self._changed: tuple[int, ...] = ()
        self._look_at = self._tidy_at = 0.0
        #: Folders whose process still works on them, at the last look, and those of them that are to be shown already.
        self.open = 0
        self.shown: list[Waiting] = []

    def is_due(self) -> bool:
        """Whether something may have changed: two calls of the system say so."""
        return self._now() >= self._look_at or self._changed_at() != self._changed

    def look(self, passed_over: set[str]) -> Iterator[Waiting]:
        """The folders that can be delivered now, but those that are named; oldest first."""
        began = time.thread_time()
        if self._now() >= self._tidy_at:
            self._tidy_at = self._now() + _TIDY_EVERY
            self._spool.tidy()
        self._remember(self._spool.waiting())
        others = [each for each in self._known.values() if each.path.name not in passed_over and each.meta]
        complete = [each for each in others if each.is_complete]
        rest = {each.path.name: each for each in others}
        for each in complete:
            rest.pop(each.path.name)
            if self._is_free(each):
                yield each
        left = self._left_by_the_dead(list(rest.values()))
        self.open = len(rest) - len(left)
        over = {each.path.name for each in left}
        self.shown = [each for name, each in rest.items() if each.is_shown and name not in over]
        yield from left
        # To ask for a lock may make a file there. What an application changed meanwhile is seen a second later.
        self._changed = self._changed_at()
        # With very many folders a look takes its time.
        self._look_at = self._now() + max(LOOK_EVERY, (time.thread_time() - began) / _SHARE)

    @property
    def unreadable(self) -> int:
        """How many folders are of another version, or damaged."""
        return sum(each.meta is None for each in self._known.values())

    def all(self) -> list[Waiting]:
        """Every folder that was there at the last look."""
        return list(self._known.values())

    def _remember(self, paths: list[Path]) -> None:
        known = self._known
        self._known = {}
        for path in paths:
            found = known.get(path.name)
            self._known[path.name] = Waiting(path, read_meta(path)) if found is None else found

    def _left_by_the_dead(self, incomplete: list[Waiting]) -> list[Waiting]:
        processes: dict[tuple[str, int], list[Waiting]] = {}
        for each in incomplete:
            processes.setdefault(each.process, []).append(each)
        self._turn += 1
        found: list[Waiting] = []
        for folders in processes.values():
            start = self._turn * _ASKED % len(folders)
            asked = islice((*folders[start:], *folders[:start]), _ASKED)
            # Two processes may have one number: in containers of one pod, for example.
            if any(map(self._is_free, asked)):
                found += filter(self._is_free, folders)
        return found

    def _is_free(self, waiting: Waiting) -> bool:
        now = self._clock.time_ns() / 1e9
        return not is_held(waiting.path) and not may_live_elsewhere(waiting.path, waiting.meta, now)

    def _changed_at(self) -> tuple[int, ...]:
        return tuple(map(_changed_at, self._spool.places()))

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _changed_at(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0
