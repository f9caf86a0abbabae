"""Decides which folder is delivered next, and when a failed one is tried again. It never gives up."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.delivery.destination.folder_destination import not_delivered
from voicespan.delivery.export.export_job import ExportJob
from voicespan.delivery.export.folder_owners import FolderOwners
from voicespan.delivery.export.responses import Action, BackOff
from voicespan.delivery.spool import locks, recovery
from voicespan.delivery.spool.folder import Folder
from voicespan.delivery.spool.spool import say_once
from voicespan.runtime.background import Loop
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.folder_destination import FolderDestination
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.export.responses import Answer
    from voicespan.delivery.export.uploader import Uploads
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Seconds between two looks for folders of processes that have died.
SWEEP_EVERY = 60.0
#: Seconds between two tries, at first and at most.
_FIRST = 1.0
_CAP = 300.0
#: Seconds to wait at least for what only a person can mend.
_PATIENCE = {Action.KEY: 60.0, Action.NOWHERE: 60.0}
#: Seconds until a folder is looked at again that somebody else works on, or that another must precede.
_BUSY = 5.0
#: Folders that are delivered at the same time at most, each by a thread of its own. Where a request takes four seconds,
#: 48 conversations that end together are delivered in 13 s by 16 threads, and in 50 s by 4.
AT_ONCE = 16
#: Seconds that a delivery may take before others are not kept waiting for it.
_LONG = 0.25


class ExportScheduler:
    """Delivers folders. `step` is called by one thread, everything else by any.

    That thread delivers one after the other. Only while each takes long, because LangSmith does or a recording is
    large, more threads join it, up to `AT_ONCE` in all: they would wait for the network, and not the conversations.
    What has failed is tried again by the first thread alone.
    """

    def __init__(
        self,
        spool: Spool,
        destination: Destination | FolderDestination,
        uploader: Uploads,
        clock: Clock,
        privacy: Privacy,
        *,
        chance: Callable[[], float] = random.random,
        new_key: bool = False,
        sweeps: bool = True,
        at_once: int = AT_ONCE,
    ) -> None:
        """`chance` gives 0 to 1; `new_key`: folders that differ in the key alone are taken too.

        `sweeps`: it looks for folders itself, otherwise `take` is called; `at_once`: so many threads deliver at most.
        """
        self._spool = spool
        self._destination = destination
        self._uploader = uploader
        self._clock = clock
        self._privacy = privacy
        self._chance = chance
        self._sweeps = sweeps
        self._jobs: dict[str, ExportJob] = {}
        self.owners = FolderOwners(spool, destination, clock, new_key=new_key)
        self._lock = threading.RLock()
        self._gate = self._back_off()
        self._gate_opens_at = 0.0
        #: When the last failure that counts came (monotonic seconds).
        self._failed_at = -math.inf
        self._swept_at: float | None = None
        self._last_answer: Answer | None = None
        #: What has been said of the outage that lasts.
        self._said: set[Action] = set()
        #: Of the last folder that could not be read.
        self._problem: str | None = None
        #: Since when who delivers a folder, 0 being the one that calls `step` (monotonic seconds).
        self._delivering: dict[int, float] = {}
        self._all_idle = threading.Condition(self._lock)
        #: Seconds that the last delivery took.
        self._took = 0.0
        self._helpers = {
            number: Loop("voicespan-export", partial(self._help, number)) for number in range(1, at_once)
        }
        self.delivered = 0
        #: How many of those were conversations, and no spans that wait for no root.
        self.delivered_conversations = 0

    def offer(self, folder: Folder) -> None:
        """A conversation of this process is complete; its folder is locked by this process."""
        path = folder.files.folder
        job = ExportJob(
            folder.name,
            None if path is None else str(path),
            mine=True,
            back_off=self._back_off(),
            folder=folder,
        )
        with self._lock:
            self._jobs[folder.name] = job
            if self._delivering:
                self._call_for_help()

    def step(self) -> float | None:
        """Deliver at most one folder; seconds until there is something to do."""
        now = self._now()
        if self._sweeps and (self._swept_at is None or now - self._swept_at >= SWEEP_EVERY):
            self._swept_at = now
            self.sweep()
        return 0.0 if self._deliver_one(0) else self._idle_for(now)

    def await_helpers(self) -> bool:
        """Wait until nobody delivers any more; False: nobody did."""
        with self._lock:
            if not self._delivering:
                return False
            return self._all_idle.wait_for(lambda: not self._delivering)

    @property
    def is_busy(self) -> bool:
        """Whether a folder is being delivered."""
        return bool(self._delivering)

    @property
    def is_failing(self) -> bool:
        """Whether what was tried last failed, for a reason that concerns all."""
        return bool(self._gate.failures)

    def stop(self) -> None:
        """Let the threads end that joined the one that calls `step`."""
        for helper in self._helpers.values():
            helper.stop()

    @guarded
    def sweep(self) -> None:
        """Look for folders of this destination that no process works on."""
        for path in self.owners.find():
            self.take(path)

    def take(self, path: Path, *, new: bool = False) -> None:
        """Deliver a folder that no process works on. `new`: its conversation has just ended."""
        if path.name in self._jobs or locks.held_here(path):
            return
        with self._lock:
            self._jobs[path.name] = ExportJob(path.name, str(path), mine=new, back_off=self._back_off())

    def hurry(self) -> None:
        """Somebody waits: try at once."""
        # Without the lock, here and in what follows: a signal handler may ask while its thread holds it.
        self._gate_opens_at = 0.0
        self._gate.succeeded()
        for job in self._left(everything=False):
            job.not_before = 0.0

    def resting(self, until: float) -> bool:
        """Whether nothing of this process will be tried before `until` (monotonic seconds)."""
        if self._delivering:
            return False
        left = self._left(everything=False)
        return all(max(job.not_before, self._gate_opens_at) >= until for job in left)

    def left(self, *, everything: bool = False) -> list[str]:
        """The names of the folders that are not delivered."""
        return [job.name for job in self._left(everything=everything)]

    @property
    def left_in_memory(self) -> int:
        """How many of this process's no disk has taken whole."""
        return sum(job.is_in_memory for job in self._left(everything=False))

    @property
    def reason(self) -> str | None:
        """Why the last try failed, if it did."""
        return self._problem if self._last_answer is None else str(self._last_answer)

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = threading.RLock()
        self._all_idle = threading.Condition(self._lock)
        self._delivering = {}
        self._jobs = {}
        self._swept_at = None

    def _left(self, *, everything: bool) -> list[ExportJob]:
        return [job for job in list(self._jobs.values()) if job.mine or everything]

    def _deliver_one(self, who: int) -> bool:
        """Deliver the folder that is next; False: there is none."""
        began = self._now()
        with self._lock:
            ready = self._ready(began)
            if not ready:
                return False
            # Own folders first, and those that have failed least.
            job = min(ready, key=lambda each: (each.back_off.failures, not each.mine, each.name))
            job.in_progress = True
            # Whatever goes wrong with one folder must not be tried again in a busy loop.
            job.not_before = began + job.back_off.failed()
            self._delivering[who] = began
            if len(ready) > 1:
                self._call_for_help()
        try:
            self._try(job, began)
        finally:
            with self._lock:
                job.in_progress = False
                self._took = self._now() - began
                self._delivering.pop(who, None)
                self._all_idle.notify_all()
        return True

    def _call_for_help(self) -> None:
        """Have one more thread look whether it is needed. The lock is held."""
        idle = next((helper for who, helper in self._helpers.items() if who not in self._delivering), None)
        # While the server fails one is enough to find out when it is back.
        if idle is not None and not self._gate.failures:
            idle.wake()

    def _help(self, who: int) -> float | None:
        """What such a thread does; seconds until it wants to look again."""
        now = self._now()
        with self._lock:
            if self._gate.failures or not self._ready(now):
                return None
            oldest = min(self._delivering.values(), default=now)
            if self._took < _LONG and now - oldest < _LONG:
                return _LONG - (now - oldest)
        return 0.0 if self._deliver_one(who) else None

    def _ready(self, now: float) -> list[ExportJob]:
        return [
            job
            for job in self._jobs.values()
            if not job.in_progress
            and job.not_before <= now
            and (self._gate_opens_at <= now or self._passes(job))
        ]

    def _passes(self, job: ExportJob) -> bool:
        """Whether the folder is tried although others have failed.

        A conversation that has just ended is, once: that costs little, and is the quickest way to see that the server
        is back.
        """
        answer = self._last_answer
        asked_to_wait = answer is not None and (answer.retry_after or answer.action in _PATIENCE)
        return job.mine and not job.back_off.failures and not asked_to_wait

    def _idle_for(self, now: float) -> float | None:
        with self._lock:
            # What another thread fails to deliver is for this one to try again.
            times = [
                now + _FIRST if job.in_progress else max(job.not_before, self._gate_opens_at)
                for job in self._jobs.values()
            ]
        if self._sweeps:
            times.append((self._swept_at or now) + SWEEP_EVERY)
        if not times:
            return None
        # Not nothing: what is left of a wait may round to no time at all.
        return max(min(times) - now, 0.001)

    @guarded
    def _try(self, job: ExportJob, began: float) -> None:
        try:
            self._deliver(job, began)
        except OSError as error:
            # A disk that fails, or files that are none of ours. The other folders go on.
            reason = error.strerror or "it cannot be read"
            self._problem = f"{job.name}: {reason}"
            missing = not_delivered(self._destination)
            say_once(
                f"voicespan: cannot deliver {job.name} ({reason}); it stays in the spool and is {missing}"
            )

    def _deliver(self, job: ExportJob, began: float) -> None:
        folder = job.folder or self._claim(job)
        if folder is None:
            return
        job.folder = folder
        answer = None
        try:
            if self._must_wait(job, folder):
                return
            recovery.finish(folder, hide_recording=self._privacy.hide_recording)
            answer = self._uploader.deliver(folder)
        finally:
            # In memory nobody else could work on it, and nobody would find it.
            root = self._spool.root
            if folder.files.all_on_disk or (root is not None and folder.move_to_disk(root)):
                if answer is not None and not job.is_synced:
                    job.is_synced = True
                    with contextlib.suppress(OSError):
                        folder.sync()
                folder.release()
                # What stood in memory has a place by now.
                job.path, job.folder = str(folder.files.folder), None
        if answer is None:
            self._done(job, is_conversation=not folder.meta.standalone)
        else:
            self._failed(answer, began)

    def _claim(self, job: ExportJob) -> Folder | None:
        assert job.path is not None  # noqa: S101  what is in memory is held all the time
        path = Path(job.path)
        folder = Folder.claim(path, self._spool.memory)
        if folder is None:
            job.back_off.succeeded()
            job.not_before = self._now() + _BUSY
            # Delivered or worked on by another process; a living one's is met again by the next sweep.
            if not job.mine or not path.exists():
                self._forget(job)
        return folder

    def _must_wait(self, job: ExportJob, folder: Folder) -> bool:
        after, path = folder.meta.after, folder.files.folder
        if after is None or path is None:
            return False
        with self._lock:
            if after not in self._jobs and not path.with_name(after).exists():
                return False
            job.after = after
            job.back_off.succeeded()
            job.not_before = self._now() + _BUSY
        return True

    def _done(self, job: ExportJob, *, is_conversation: bool) -> None:
        with self._lock:
            self.delivered += 1
            self.delivered_conversations += is_conversation
            self._jobs.pop(job.name, None)
            self._last_answer = None
            self._said = set()
            outage = self._gate.failures > 1
            self._gate.succeeded()
            self._gate_opens_at = 0.0
            for other in self._jobs.values():
                if outage:
                    other.back_off.succeeded()
                if outage or other.after == job.name:
                    other.not_before = 0.0
        if outage:
            _logger.info("voicespan: %s takes traces again", self._destination.shown)

    def _failed(self, answer: Answer, began: float) -> None:
        with self._lock:
            # Of several that failed together one counts: otherwise one short failure would be an outage of minutes.
            wait = answer.retry_after or 0.0
            if began >= self._failed_at:
                wait = self._gate.failed(answer.retry_after)
                self._failed_at = self._now()
            self._last_answer = answer
            opens_at = self._now() + max(wait, _PATIENCE.get(answer.action, 0.0))
            self._gate_opens_at = max(self._gate_opens_at, opens_at)
            is_new = answer.action not in self._said
            self._said.add(answer.action)
        if is_new:
            where = self._spool.root or "memory"
            _logger.warning("voicespan: %s; conversations wait in %s", self._uploader.failure(answer), where)

    def _forget(self, job: ExportJob) -> None:
        with self._lock:
            self._jobs.pop(job.name, None)

    def _back_off(self) -> BackOff:
        return BackOff(_FIRST, _CAP, self._chance)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9
