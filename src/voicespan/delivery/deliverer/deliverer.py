"""Delivers what waits in a spool, for all processes and destinations of a machine or a pod.

Several may run on one spool: whoever has a folder's lock works on it. What is not delivered stays in the spool, for the
next one.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from voicespan.delivery.deliverer.outlets import Outlets
from voicespan.delivery.deliverer.spool_watch import SpoolWatch
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.delivery.spool.folder import is_held, read_meta
from voicespan.delivery.spool.spool import Spool, say_once

if TYPE_CHECKING:
    from voicespan.delivery.deliverer.spool_watch import Waiting
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.keys import Keys
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.spool.settings import SpoolSettings
    from voicespan.runtime.clock import Clock

#: Seconds after which who has not looked is not ready.
_STUCK = 30.0


class Status(NamedTuple):
    """How it stands."""

    #: Whether the spool can be used, and is looked at.
    is_ready: bool
    delivered_conversations: int
    #: With those of late spans.
    delivered_folders: int
    #: Complete, or of processes that died, and not delivered.
    waiting: int
    #: Of these, for whose endpoint there is no key.
    without_key: int
    #: Conversations that go on.
    open: int
    #: Of another version, or damaged.
    unreadable: int
    #: Seconds since the oldest conversation began that waits.
    oldest_seconds: float
    #: Why the last try failed, by destination.
    reasons: dict[str, str]


class Deliverer:
    """Looks for folders and has them delivered. All but `status` is called by one thread."""

    def __init__(self, settings: SpoolSettings, keys: Keys, privacy: Privacy, clock: Clock) -> None:
        self.spool = Spool(settings, clock)
        self._keys = keys
        self._clock = clock
        self._watch = SpoolWatch(self.spool, clock)
        self._outlets = Outlets(self.spool, privacy, clock)
        #: Folders that no key is for, and the URLs that those name.
        self._without_key: dict[str, str] = {}
        self._looked_at: float | None = None
        self._stopping = False
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def look(self) -> None:
        """Have what can be delivered now delivered, in the background."""
        with self._lock:
            if self._keys.refresh():
                self._without_key = {}
                self._outlets.retire()
            if self._watch.is_due():
                self._find()
            self._looked_at = self._now()
        self._outlets.run_once()

    def left(self) -> int:
        """How many folders can be delivered and are not."""
        return len(self._outlets.waiting())

    def is_busy(self) -> bool:
        """Whether a folder is being delivered at this moment."""
        return self._outlets.is_busy()

    def stop(self) -> None:
        """Begin no delivery any more. Those that are under way go on: see `is_busy`."""
        with self._lock:
            self._stopping = True
            self._reasons = self._outlets.reasons()
            self._outlets.retire()

    def status(self) -> Status:
        """How it stands; from any thread."""
        with self._lock:
            line, seen = self._outlets.waiting(), self._watch.all()
            waits = line | self._without_key.keys()
            started = [each.meta.started_at for each in seen if each.meta and each.path.name in waits]
            conversations, folders = self._outlets.delivered()
            looked_at = self._looked_at
            return Status(
                looked_at is not None
                and self._now() - looked_at < _STUCK
                and self.spool.root is not None
                and not self._stopping,
                conversations,
                folders,
                len(waits),
                len(self._without_key),
                self._watch.open,
                self._watch.unreadable,
                max(self._clock.time_ns() - min(started), 0) / 1e9 if started else 0.0,
                self._outlets.reasons(),
            )

    def remaining(self) -> Counter[str]:
        """How many folders are in the spool after all, by why they are: once nothing is under way any more."""
        reasons = "; ".join(f"{shown}: {reason}" for shown, reason in self._reasons.items())
        counted: Counter[str] = Counter()
        for path in self.spool.waiting():
            if path.name in self._without_key:
                counted[f"there is no key here for {self._without_key[path.name]}"] += 1
            elif read_meta(path) is None:
                counted["not a folder of this version and this user"] += 1
            elif is_held(path):
                counted["in use by another process"] += 1
            else:
                counted[f"not delivered{f' ({reasons})' if reasons else ''}"] += 1
        return counted

    def _find(self) -> None:
        is_first = self._looked_at is None
        found = list(self._watch.look(self._outlets.waiting() | self._without_key.keys()))
        there = {each.path.name for each in self._watch.all()}
        self._without_key = {name: url for name, url in self._without_key.items() if name in there}
        for each in found:
            destination = self._destination(each)
            if destination is None:
                continue
            outlet = self._outlets.to(destination)
            if outlet is not None:
                # What had waited before this process began is tried once its server is known to take something.
                outlet.take(each, new=not is_first)
        for each in self._watch.shown:
            destination = self._destination(each)
            outlet = None if destination is None else self._outlets.to(destination)
            if outlet is not None and outlet.shown is not None:
                outlet.shown.look(each)

    def _destination(self, waiting: Waiting) -> Destination | None:
        assert waiting.meta is not None  # noqa: S101  others are not found
        named = waiting.meta.destination
        try:
            destination = self._keys.destination(named)
        except DeliverySettingsError as error:
            destination = None
            say_once(f"voicespan: {error}")
        if destination is None:
            url = named.get("url") or "nowhere"
            self._without_key[waiting.path.name] = url
            say_once(
                f"voicespan: there is no key for {url}, or the folder names another one; what is for there waits in "
                f"{waiting.path.parent}"
            )
        return destination

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9
