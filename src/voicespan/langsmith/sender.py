"""Which folder is delivered next, and when to try again: for as long as it takes."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.guard import guarded
from voicespan.langsmith import locks, recovery
from voicespan.langsmith.folder import Folder, read_meta
from voicespan.langsmith.reactions import BackOff, Reaction
from voicespan.langsmith.spool import say_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicespan.clock import Clock
    from voicespan.langsmith.courier import Courier
    from voicespan.langsmith.reactions import Answer
    from voicespan.langsmith.settings import Destination, Privacy
    from voicespan.langsmith.spool import Spool

_logger = logging.getLogger("voicespan")

#: Seconds between two looks for folders of processes that have died.
SWEEP_EVERY = 60.0
#: Seconds between two tries, at first and at most.
_FIRST = 1.0
_CAP = 300.0
#: Seconds to wait at least for what only a person can mend.
_PATIENCE = {Reaction.KEY: 60.0, Reaction.NOWHERE: 60.0}
#: Seconds until a folder is looked at again that somebody else works on, or that another must precede.
_BUSY = 5.0


@dataclass
class Parcel:
    """A folder that is to be delivered."""

    name: str
    #: None: it is in memory only.
    path: Path | None
    #: Its conversation ended in this process, which waits for it when it exits.
    mine: bool
    back_off: BackOff
    #: Held while others must not or cannot work on it.
    folder: Folder | None = None
    #: Monotonic seconds.
    not_before: float = 0.0


class Sender:
    """Delivers folders, one at a time. `step` is called by one thread, everything else by any."""

    def __init__(
        self,
        spool: Spool,
        destination: Destination,
        courier: Courier,
        clock: Clock,
        privacy: Privacy,
        *,
        chance: Callable[[], float] = random.random,
        new_key: bool = False,
    ) -> None:
        """`chance` gives 0 to 1; `new_key`: folders that differ in the key alone are taken too."""
        self._spool = spool
        self._destination = destination
        self._courier = courier
        self._clock = clock
        self._privacy = privacy
        self._chance = chance
        self._new_key = new_key
        self._parcels: dict[str, Parcel] = {}
        self._strangers: set[str] = set()
        self._lock = threading.Lock()
        self._gate = self._back_off()
        self._gate_opens_at = 0.0
        self._swept_at: float | None = None
        self._last_answer: Answer | None = None
        #: Of the last folder that could not be read.
        self._problem: str | None = None
        self._busy = False
        self.delivered = 0

    def offer(self, folder: Folder) -> None:
        """A conversation of this process is complete; its folder is locked by this process."""
        parcel = Parcel(folder.name, folder.files.folder, mine=True, back_off=self._back_off(), folder=folder)
        with self._lock:
            self._parcels[folder.name] = parcel

    def step(self) -> float | None:
        """Deliver at most one folder; seconds until there is something to do."""
        now = self._now()
        if self._swept_at is None or now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            self.sweep()
        parcel = self._next(now)
        if parcel is None:
            return self._idle_for(now)
        self._handle(parcel)
        return 0.0

    @guarded
    def sweep(self) -> None:
        """Look for folders of this destination that no process works on."""
        self._spool.tidy()
        waiting = self._spool.waiting()
        self._strangers &= {path.name for path in waiting}
        for path in waiting:
            if path.name in self._parcels or path.name in self._strangers or locks.held_here(path):
                continue
            meta = read_meta(path)
            if meta is None or not self._destination.is_named(meta.destination, new_key=self._new_key):
                self._strangers.add(path.name)
                continue
            with self._lock:
                self._parcels[path.name] = Parcel(path.name, path, mine=False, back_off=self._back_off())

    def hurry(self) -> None:
        """Somebody waits: try at once."""
        with self._lock:
            self._gate_opens_at = 0.0
            self._gate.succeeded()
            for parcel in self._parcels.values():
                if parcel.mine:
                    parcel.not_before = 0.0

    def resting(self, until: float) -> bool:
        """Whether nothing of this process will be tried before `until` (monotonic seconds)."""
        with self._lock:
            if self._busy:
                return False
            left = self._left(everything=False)
            return all(max(parcel.not_before, self._gate_opens_at) >= until for parcel in left)

    def left(self, *, everything: bool = False) -> list[str]:
        """The names of the folders that are not delivered."""
        with self._lock:
            return [parcel.name for parcel in self._left(everything=everything)]

    @property
    def reason(self) -> str | None:
        """Why the last try failed, if it did."""
        return self._problem if self._last_answer is None else str(self._last_answer)

    def forget_all(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = threading.Lock()
        self._parcels = {}
        self._swept_at = None

    def _left(self, *, everything: bool) -> list[Parcel]:
        return [parcel for parcel in self._parcels.values() if parcel.mine or everything]

    def _next(self, now: float) -> Parcel | None:
        """Own folders first, and those that have failed least."""
        with self._lock:
            ready = [
                parcel
                for parcel in self._parcels.values()
                if parcel.not_before <= now and (self._gate_opens_at <= now or self._passes(parcel))
            ]
        return min(
            ready, key=lambda parcel: (parcel.back_off.failures, not parcel.mine, parcel.name), default=None
        )

    def _passes(self, parcel: Parcel) -> bool:
        """Whether the folder is tried although others have failed.

        A conversation that has just ended is, once: that costs little, and tells soonest that the server
        is back.
        """
        answer = self._last_answer
        asked_to_wait = answer is not None and (answer.retry_after or answer.reaction in _PATIENCE)
        return parcel.mine and not parcel.back_off.failures and not asked_to_wait

    def _idle_for(self, now: float) -> float | None:
        with self._lock:
            times = [max(parcel.not_before, self._gate_opens_at) for parcel in self._parcels.values()]
        times.append((self._swept_at or now) + SWEEP_EVERY)
        # Not nothing: what is left of a wait may round to no time at all.
        return max(min(times) - now, 0.001)

    def _handle(self, parcel: Parcel) -> None:
        # Whatever goes wrong with one folder must not be tried again in a busy loop.
        parcel.not_before = self._now() + parcel.back_off.failed()
        self._busy = True
        try:
            self._try(parcel)
        finally:
            self._busy = False

    @guarded
    def _try(self, parcel: Parcel) -> None:
        try:
            self._deliver(parcel)
        except OSError as error:
            # A disk that fails, or files that are none of ours. The other folders go on.
            reason = error.strerror or "it cannot be read"
            self._problem = f"{parcel.name}: {reason}"
            say_once(f"voicespan cannot deliver {parcel.name} ({reason}); it stays in the spool")

    def _deliver(self, parcel: Parcel) -> None:
        folder = parcel.folder or self._claim(parcel)
        if folder is None:
            return
        parcel.folder = folder
        try:
            if self._must_wait(folder):
                parcel.back_off.succeeded()
                parcel.not_before = self._now() + _BUSY
                return
            recovery.finish(folder, hide_recording=self._privacy.hide_recording)
            answer = self._courier.deliver(folder)
        finally:
            # In memory nobody else could work on it, and nobody would find it.
            if folder.files.all_on_disk or folder.files.move_to_disk():
                folder.release()
                parcel.folder = None
        if answer is None:
            self._done(parcel)
        else:
            self._failed(answer)

    def _claim(self, parcel: Parcel) -> Folder | None:
        assert parcel.path is not None  # noqa: S101  what is in memory is held all the time
        folder = Folder.claim(parcel.path, self._spool.memory)
        if folder is None:
            parcel.back_off.succeeded()
            parcel.not_before = self._now() + _BUSY
            # Delivered or worked on by another process; a living one's is met again by the next sweep.
            if not parcel.mine or not parcel.path.exists():
                self._forget(parcel)
        return folder

    def _must_wait(self, folder: Folder) -> bool:
        after, path = folder.meta.after, folder.files.folder
        if after is None or path is None:
            return False
        return after in self._parcels or path.with_name(after).exists()

    def _done(self, parcel: Parcel) -> None:
        self.delivered += 1
        self._forget(parcel)
        self._last_answer = None
        outage = self._gate.failures > 1
        self._gate.succeeded()
        self._gate_opens_at = 0.0
        if outage:
            _logger.info("voicespan: LangSmith takes traces again")
            with self._lock:
                for other in self._parcels.values():
                    other.not_before = 0.0
                    other.back_off.succeeded()

    def _failed(self, answer: Answer) -> None:
        if not self._gate.failures:
            where = self._spool.root or "memory"
            _logger.warning("voicespan: LangSmith did not take traces (%s); they wait in %s", answer, where)
        wait = max(self._gate.failed(answer.retry_after), _PATIENCE.get(answer.reaction, 0.0))
        self._last_answer = answer
        self._gate_opens_at = self._now() + wait

    def _forget(self, parcel: Parcel) -> None:
        with self._lock:
            self._parcels.pop(parcel.name, None)

    def _back_off(self) -> BackOff:
        return BackOff(_FIRST, _CAP, self._chance)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9
