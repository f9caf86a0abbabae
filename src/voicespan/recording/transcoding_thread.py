"""Encodes recordings to the format that is attached (Ogg Opus), in one thread with a low priority.

It follows each recording while the call runs, a few seconds at a time, so that only the last seconds are left to
encode when the call ends. Opus costs 1.7 % of a core for each conversation. Where that is more than the machine has
left, encoding gives way first:

1. It rests while the writer's thread is late.
2. Calls that are over go before those that are not, since their root waits for the file.
3. A call that has waited for a minute is not encoded: its FLAC file is attached, three times as large but in time.
   Where very many wait, the same is done with those that have waited longest, since each takes memory.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from voicespan.recording.codec.formats import FORMATS
from voicespan.recording.recording_thread import SHARED
from voicespan.recording.timeline.segment import NS
from voicespan.runtime.background import Loop
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.descriptors import are_plentiful
from voicespan.runtime.fork import register
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicespan.recording.codec.transcode import Transcoding
    from voicespan.recording.recorder import Recorder
    from voicespan.recording.recording_thread import RecordingThread
    from voicespan.runtime.clock import Clock

#: Seconds between two looks at the recordings.
PERIOD = 0.25
#: How much is encoded at a turn, in seconds of audio: opening the growing file costs 0.5 ms.
_TURN = 5
#: How long a call that is over waits to be encoded, in seconds.
_PATIENCE = 60.0
#: So many wait at most: about as many as are job while they go on.
_MOST_WAITING = 64
#: The share of a core that it takes to see who has ended, while there is nothing to do, and the most seconds between.
_LOOKING = 0.01
_SELDOM = 2.0
_NICENESS = 10
#: After so many seconds without a recording the thread ends.
_IDLE_SECONDS = 1.0
#: The states of a recorder in which more may come.
_OPEN = frozenset({"waiting", "recording", "paused"})


class _Job:
    """A recording, and whom to call with its file."""

    def __init__(self, recorder: Recorder, form: str, done: Callable[[Path | None], object]) -> None:
        self.recorder = recorder
        #: Since when it waits to be finished, in nanoseconds of the monotonic clock.
        self.ended_at: int | None = None
        self._form = form
        self._done = done
        self._encodes = True
        self.transcoding: Transcoding | None = None
        if form not in FORMATS:
            raise ValueError(f"no recording is written as {form}: {', '.join(FORMATS)} are known")

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.recorder.status not in _OPEN

    @property
    def done(self) -> int:
        """How many frames were encoded."""
        return 0 if self.transcoding is None else self.transcoding.done

    def advance(self) -> bool:
        """Encode a few seconds; False: there are not so many that have not been."""
        done = self.done
        # The encoded file is one more that is open while the call runs.
        enough = (
            self._encodes
            and (self.transcoding is not None or are_plentiful())
            and self.recorder.frames_on_disk - done >= _TURN * self.recorder.rate > 0
        )
        if enough and (path := self.recorder.path) is not None:
            self._transcoding(path).advance(done + _TURN * self.recorder.rate)
        return enough

    def finish(self, *, encode: bool) -> bool:
        """Encode what is left, or report what was recorded as it is."""
        path = self.recorder.finish()
        if path is not None and encode and self._encodes:
            path = self._transcoding(path).finish()
        else:
            self.keep_flac()
        self._done(path)
        return True

    def is_delayed(self) -> bool:
        """Whether its file cannot be made yet, see `RecordingView.is_delayed`."""
        return self.recorder.finish() is None and self.recorder.is_delayed

    def keep_flac(self) -> None:
        """It cannot be encoded (no space, no codec), or there is no time to."""
        self._encodes = False
        if self.transcoding is not None:
            self.transcoding.abandon()

    def report_path(self) -> bool:
        """Something went wrong with its end as well: report what there is."""
        path = self.recorder.path
        self._done(path if path is not None and path.exists() else None)
        return True

    def _transcoding(self, path: Path) -> Transcoding:
        if self.transcoding is None:
            from voicespan.recording.codec.transcode import Transcoding  # noqa: PLC0415  as in `recording_writer`

            self.transcoding = Transcoding(path, self._form)
        return self.transcoding


class TranscodingThread:
    """Transcodes recordings while they grow.

    Args:
        writer: Whose recordings they are; by default the process's.
        clock: Tells how long a call that is over has waited.
        threaded: Whether a thread does it; otherwise `run_once` is called by hand.
    """

    def __init__(
        self, writer: RecordingThread | None = None, *, clock: Clock = SYSTEM, threaded: bool = True
    ) -> None:
        self._writer = writer or SHARED
        self._clock = clock
        self._threaded = threaded
        self._jobs: list[_Job] = []
        self._lock = threading.Lock()
        self._loop = Loop("voicespan-transcode", self._step, idle_seconds=_IDLE_SECONDS)
        self._due = 0.0  # when it looks again, in seconds of the clock
        self._nice: int | None = None  # the thread that has been made so
        register(self)

    def add(self, recorder: Recorder, form: str, done: Callable[[Path | None], object]) -> None:
        """Transcode what `recorder` records.

        The recorder is finished when it has been closed.

        Args:
            recorder: One that has just begun.
            form: See `transcode`.
            done: Called once the recorder is closed, with the transcoded file; with the FLAC itself where there was
                no time to transcode it, or it cannot be; with None when nothing was recorded.

        Raises:
            ValueError: There is no such format.
        """
        job = _Job(recorder, form, done)
        with self._lock:
            self._jobs.append(job)
        if self._threaded:
            self._loop.wake()

    def run_once(self) -> bool:
        """Give every recording a turn; whether anything was done."""
        busy = self._finish_ended()
        for job in self._all() if not self._rests else ():
            # A turn takes its time: who waits meanwhile?
            if not job.ended and not self._rests and self._try(job, job.advance):
                self._finish_ended()
                busy = True
        return busy

    @property
    def _rests(self) -> bool:
        return self._writer.is_behind

    def _all(self) -> list[_Job]:
        with self._lock:
            return list(self._jobs)

    def _finish_ended(self) -> bool:
        """Finish the calls that are over, in the order in which they ended; whether there was one."""
        finished = False
        while ended := self._ended():
            first = ended[0]
            waited = (self._clock.monotonic_ns() - (first.ended_at or 0)) / NS
            encode = waited < _PATIENCE and len(ended) <= _MOST_WAITING
            if encode and self._rests:
                break
            if self._try(first, first.is_delayed):
                break
            self._finish(first, encode=encode)
            self._forget(first)
            finished = True
        return finished

    def _ended(self) -> list[_Job]:
        """Those that are over, the first first."""
        ended = [job for job in self._all() if job.ended]
        for job in ended:
            if job.ended_at is None:
                job.ended_at = self._clock.monotonic_ns()
        return sorted(ended, key=lambda job: job.ended_at or 0)

    def _finish(self, job: _Job, *, encode: bool) -> None:
        # Whatever goes wrong, `done` is called.
        steps = (
            partial(job.finish, encode=encode),
            partial(job.finish, encode=False),
            job.report_path,
        )
        any(self._try(job, step) for step in steps)

    def _try(self, job: _Job, step: Callable[[], bool]) -> bool:
        """Do it; a recording that cannot be encoded goes as it is when it is whole, and no other minds."""
        with guard(), contextlib.suppress(OSError, RuntimeError, ValueError, ImportError):
            return step()
        with guard():
            job.keep_flac()
        return False

    def _forget(self, job: _Job) -> None:
        with self._lock:
            if job in self._jobs:
                self._jobs.remove(job)

    def reset_after_fork(self) -> None:
        """Begin anew, in a forked child: what was job is the parent's."""
        self._lock = threading.Lock()
        self._jobs = []

    def _step(self) -> float | None:
        """Look at the recordings, if that is due; seconds until the next look, None while there are none."""
        if self._nice != (thread := threading.get_native_id()):
            _be_nice()
            self._nice = thread
        if self._jobs and self._clock.monotonic_ns() / NS >= self._due:
            began = time.thread_time()
            busy = self.run_once()
            # Hundreds are not to be looked at all the time, to see that nobody has ended.
            looked = 0.0 if busy else time.thread_time() - began
            self._due = self._clock.monotonic_ns() / NS + min(max(PERIOD, looked / _LOOKING), _SELDOM)
        return max(self._due - self._clock.monotonic_ns() / NS, 0.0) if self._jobs else None


def _be_nice() -> None:
    """Let everybody else go first. Linux alone gives a thread a priority of its own."""
    if sys.platform == "linux":
        with guard():
            thread = threading.get_native_id()
            # A process may have been started with a priority of its own, and raising it takes privileges.
            own = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(own + _NICENESS, 19))
