"""The one low-priority thread that turns recordings into what is attached.

It follows the settled part of each recording while the call runs, a few seconds at a time, and rests while
the writer is behind; so at the end of a call only a tail is left to encode. Opus costs about 3 % of a core
a conversation: where there are too many to follow, their FLACs wait.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from voicespan.guard import guard
from voicespan.recording.forks import watch
from voicespan.recording.formats import FORMATS
from voicespan.recording.transcode import Transcoding
from voicespan.recording.writer import SHARED

if TYPE_CHECKING:
    from pathlib import Path

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.writer import Writer

#: Seconds between two looks at the recordings.
PERIOD = 0.25
#: How much is encoded at a turn, in seconds of audio: opening the growing file costs 0.5 ms.
_TURN = 5
#: A writer that is so late, in seconds, has the machine to itself.
_BEHIND = 0.5
_NICENESS = 10


class _Followed:
    """A recording, and what it becomes."""

    def __init__(self, recorder: Recorder, form: str) -> None:
        self.recorder = recorder
        self.result: Future[Path | None] = Future()
        self._form = form
        self.transcoding = None if recorder.path is None else Transcoding(recorder.path, form)
        if form not in FORMATS:
            raise ValueError(f"no recording is written as {form}: {', '.join(FORMATS)} are known")

    def turn(self, *, rest: bool) -> bool:
        """Encode what is there, and tell whether there is nothing left to do."""
        if self.result.cancelled():
            self._abandon()
            return True
        if self.recorder.status in {"waiting", "recording", "paused"}:
            done = 0 if self.transcoding is None else self.transcoding.done
            ahead = self.recorder.frames_on_disk - done
            if not rest and self.recorder.path is not None and ahead >= _TURN * self.recorder.rate > 0:
                self._transcoding(self.recorder.path).advance(done + _TURN * self.recorder.rate)
            return False
        recorded = self.recorder.finish()
        path = None if recorded is None else self._transcoding(recorded).finish()
        if self.result.set_running_or_notify_cancel():
            self.result.set_result(path)
        return True

    def fail(self, error: Exception) -> None:
        self._abandon()
        if self.result.set_running_or_notify_cancel():
            self.result.set_exception(error)

    def _transcoding(self, path: Path) -> Transcoding:
        if self.transcoding is None:
            self.transcoding = Transcoding(path, self._form)
        return self.transcoding

    def _abandon(self) -> None:
        if self.transcoding is not None:
            self.transcoding.abandon()


class Follower:
    """Transcodes recordings while they grow.

    Args:
        writer: Whose recordings they are; by default the process's.
        threaded: Whether a thread does it; otherwise `run_once` is called by hand.
    """

    def __init__(self, writer: Writer | None = None, *, threaded: bool = True) -> None:
        self._writer = writer or SHARED
        self._threaded = threaded
        self._followed: list[_Followed] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        watch(self)

    def follow(self, recorder: Recorder, form: str) -> Future[Path | None]:
        """Transcode what `recorder` records.

        The recorder is finished when it has been closed.

        Args:
            recorder: One that has just begun.
            form: See `transcode`.

        Returns:
            The transcoded file, once the recorder is closed; None when nothing was recorded. Cancelling it
            removes what was encoded, and leaves the FLAC. An exception as of `transcode`: the FLAC is
            still there.

        Raises:
            ValueError: There is no such format.
        """
        followed = _Followed(recorder, form)
        with self._lock:
            self._followed.append(followed)
            self._wake.clear()
            if self._threaded and self._thread is None:
                thread = threading.Thread(target=self._loop, name="voicespan-transcoding", daemon=True)
                thread.start()
                self._thread = thread
        return followed.result

    def run_once(self) -> None:
        """Give every recording a turn."""
        with self._lock:
            turns = list(self._followed)
        for followed in turns:
            over = True
            error: Exception = RuntimeError("voicespan could not transcode the recording")
            with guard():
                try:
                    over = followed.turn(rest=self._writer.behind > _BEHIND)
                    continue
                except (OSError, RuntimeError, ValueError, ImportError) as known:
                    error = known
                finally:
                    if over:
                        self._forget(followed)
            followed.fail(error)

    def forget_the_parent(self) -> None:
        """Begin anew, in a forked child: what was followed is the parent's."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread = None
        self._followed = []

    def _forget(self, followed: _Followed) -> None:
        with self._lock:
            self._followed.remove(followed)

    def _loop(self) -> None:
        _be_nice()
        while True:
            self.run_once()
            with self._lock:
                if not self._followed:
                    self._thread = None
                    return
            self._wake.wait(PERIOD)


def _be_nice() -> None:
    """Let everybody else go first. Linux alone gives a thread a priority of its own."""
    if sys.platform == "linux":
        with guard():
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
