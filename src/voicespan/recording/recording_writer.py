"""What the writer does for one recording: reads the queue, lays out, resamples, writes.

Two locks, neither of which an audio thread ever takes: `_state` guards the timeline and is held for the
time of some arithmetic, `_file` guards the file and is held while it is written.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.recording.audio_queue import AGENT, USER, AudioQueue
from voicespan.recording.codec.formats import rate_at_least
from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.timeline import Timeline
from voicespan.recording.timeline.track import MS, TOLERANCE
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.descriptors import NONE_LEFT
from voicespan.runtime.guard import guard
from voicespan.runtime.native_work import native_work

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from voicespan.recording.codec.stereo_file import StereoFile
    from voicespan.recording.sound import Listener
    from voicespan.recording.timeline.track import Track
    from voicespan.runtime.clock import Clock

#: What lies so far back is settled: facts about it come too late (see also `timeline.LATE`).
SETTLE = 400 * MS
#: What lies so far back is written. The difference is what the resampler holds back.
LAG = 500 * MS

#: So little of an answer may be left over when it was played whole: the quiet that it begins and ends with.
_PLAYED_WHOLE = 200 * MS

#: So long a process may have no descriptor left for the file.
_MOST_DELAY = 60 * NS
#: So long there may be no folder, which a spool that was refused makes later. What is said meanwhile is in memory, of
#: every call that there is.
_MOST_WITHOUT_FOLDER = 5 * NS
#: The most that is laid out at once when the recording ends.
_STEP = 10 * NS
#: Two FLAC blocks and more: what the encoder may not have put into the file yet.
_IN_THE_ENCODER = 4096


class _NoFolderError(OSError):
    """Whoever makes the folder has none, by now."""


class RecordingWriter:
    """Writes one recording. Used by the writer's thread alone.

    Args:
        folder: Where the FLAC file is made, with the first audio; a function is asked then.
        name: Of the file.
        origin: The time of the first frame, in nanoseconds of the monotonic clock.
        clock: Says when audio is given and read.

    Attributes:
        state: `waiting` for audio, `recording`, `finished`, `failed`, or `forked`: it goes on in the
            parent process.
        error: Why it failed.
        rate: Of the file, in Hz; 0 while there is none. It is the faster side's when the first block is
            written, or `least_rate`, whichever is more: a side that turns out faster later is resampled.
    """

    def __init__(
        self, folder: Path | Callable[[], Path | None], name: str, origin: int, clock: Clock = SYSTEM
    ) -> None:
        self._folder: Callable[[], Path | None] | None = folder if callable(folder) else None
        self._name = name
        # As a text: a path is two objects, of each call.
        self._path = None if callable(folder) else str(folder / name)
        self.origin = origin
        self._clock = clock
        self.timeline = Timeline(origin)
        self.queue = AudioQueue(clock)
        self.state = "waiting"
        self.error: str | None = None
        self.least_rate = 0
        self.rate = 0
        self._listener: Listener | None = None  # as the file, once there is audio
        self._events_read = 0
        self._unwritten = 0  # bytes that were laid out in this pass
        self._sound: StereoFile | None = None
        self._delayed_since: int | None = None
        self._state = threading.Lock()
        self._file = threading.Lock()

    @property
    def path(self) -> Path | None:
        """Of the file; None while it is not known."""
        return None if self._path is None else Path(self._path)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in {"finished", "failed", "forked"}

    @property
    def dropped(self) -> int:
        """Bytes of audio that came and are not in the file, cuts and pauses aside."""
        return self.queue.dropped + self.timeline.user.left_out + self.timeline.agent.left_out

    @property
    def frames(self) -> int:
        """How many were written."""
        return 0 if self._sound is None else self._sound.frames

    def seconds_at_end(self) -> float:
        """How long the file is, or will be if nothing more comes."""
        written = self.frames / self.rate if self.rate else 0.0
        if self.over:
            return written
        with self._state:
            self._read_all()
            end, begin = self.timeline.end, self.origin
            if self._sound is None:
                begin = min(begin, self.timeline.begin or begin)
        return written if end is None else max(written, (end - begin) / NS)

    @property
    def frames_on_disk(self) -> int:
        """How many frames another reader of the file will surely find."""
        return self.frames if self.state == "finished" else max(0, self.frames - _IN_THE_ENCODER)

    def run(self, now: int) -> None:
        """Write what has settled by `now`; when the queue is closed, all that there is."""
        with native_work(), self._file:
            if self.over:
                return
            try:
                if self.queue.open:
                    self._lay_out(now - SETTLE)
                    self._write(now - LAG)
                else:
                    self._finish()
                self._delayed_since = None
            except (OSError, RuntimeError, ImportError) as error:
                if self._may_try_again(error, now):
                    return
                self._fail(error.strerror if isinstance(error, OSError) and error.strerror else str(error))

    @property
    def is_delayed(self) -> bool:
        """Whether the file could not be opened at this moment, and is to be opened at one of the next turns."""
        return self._delayed_since is not None and not self.over

    def _may_try_again(self, error: Exception, now: int) -> bool:
        """Whether the file cannot be opened at this moment, and could not for not too long. Nothing is lost by then."""
        if isinstance(error, _NoFolderError):
            most = _MOST_WITHOUT_FOLDER
        elif isinstance(error, OSError) and error.errno in NONE_LEFT:
            most = _MOST_DELAY
        else:
            return False
        if self._delayed_since is None:
            self._delayed_since = now
        return now - self._delayed_since < most

    def fail(self, error: str) -> None:
        """Stop recording, because of `error`."""
        with self._file:
            if not self.over:
                self._fail(error)

    def disown(self) -> None:
        """Be nobody's, in a forked child. The locks may be held by threads that are not there."""
        self._state, self._file = threading.Lock(), threading.Lock()
        self.queue.close()
        for track in self.queue.tracks:
            track.entries.clear()
        self.timeline = Timeline(self.origin)
        if not self.over:
            self.state = "forked"

    def read_queue(self) -> None:
        """Read what was queued until now into the timeline."""
        with self._state:
            self._read_queue()

    def cut(self, called_at: int, at: int | None, played: int | None, result: list[int]) -> None:
        """Cut the agent's side, see `AgentTrack.cut`; `result` is filled with what that returns."""
        cut = self.timeline.agent.cut(called_at, at, played)
        if self._listener is not None:
            self._listener.cut_agent(cut[0])
        result.extend(cut)

    def first_heard(self, after: int, now: int | None, *, on_device: bool) -> int | None:
        """See `Recorder.first_heard`; `now`: None for what is known without reading what waits."""
        with native_work(), self._state:
            # Mostly it was seconds ago, and has settled. What is to be read then is more audio, which is later.
            settled = self._listener if self._events_read == self.queue.events else None
            first = self._first_of(settled, after, on_device=on_device)
            if first is not None or now is None:
                return first
            return self._first_of(self._listen_until(now), after, on_device=on_device)

    def _first(self, listener: Listener | None, after: int) -> int | None:
        begin = self.timeline.agent.begin_of_answer(after)
        return None if begin is None or listener is None else listener.agent.first(begin)

    def _first_of(self, listener: Listener | None, after: int, *, on_device: bool) -> int | None:
        """The same, but nothing of the next answer: that is not heard of one that nobody could hear.

        What is played on a device may have been received long before, and the next answer as well.
        """
        first = self._first(listener, after)
        following = None if on_device else self.timeline.agent.next_answer(after)
        return None if first is not None and following is not None and first >= following else first

    def first_heard_behind(self, older: int, generated: int, after: int, now: int) -> int | None:
        """See `Recorder.first_heard_behind`."""
        with native_work(), self._state:
            listener, agent = self._listen_until(now), self.timeline.agent
            if listener is None or generated - agent.played(older, after) <= _PLAYED_WHOLE:
                return self._first(listener, after)
            place = agent.played_out(older, generated, after)
            if place is None:
                return None
            place = max(place - TOLERANCE, after)
            first = listener.agent.first(place)
            # Where one goes over into the other without any quiet, nobody can say when.
            certain = listener.agent.last(place) != place and first is not None and first - place <= NS
            return first if certain else None

    def last_heard(self, before: int, now: int) -> int | None:
        """See `Recorder.last_heard`."""
        with native_work(), self._state:
            listener = self._listen_until(now)
            return None if listener is None else listener.agent.last(before)

    def heard(self, start: int, end: int, now: int) -> int:
        """See `Recorder.heard_ms`; in nanoseconds."""
        with native_work(), self._state:
            listener = self._listen_until(now)
            if listener is None:
                return 0
            first, last = listener.agent.first(start, afresh=False), listener.agent.last(min(end, now))
            if first is None or last is None:
                return 0
            return self.timeline.agent.played(first, last)

    def listened(self, now: int | None) -> Listener | None:
        """Who knows when each side was heard until `now`; None: as far as it has settled."""
        with native_work(), self._state:
            return self._listener if now is None else self._listen_until(now)

    def _listen_until(self, now: int) -> Listener | None:
        """The same, what is not settled included; None while there is no audio."""
        self._read_queue()
        user, agent = self.timeline.peek(now)
        if not (user or agent):
            return self._listener
        listener = self._listening().copy()
        listener.listen_to_user(user)
        listener.listen_to_agent(agent, self.timeline.agent)
        return listener

    def _listening(self) -> Listener:
        if self._listener is None:
            self._listener = _sound().Listener()
        # With the file it is known whether the user had said something before.
        self._listener.origin = self.origin
        return self._listener

    def _read_queue(self) -> None:
        with guard():
            self._read(self.timeline.user, self.queue.tracks[USER].entries)
        with guard():
            self._read(self.timeline.agent, self.queue.tracks[AGENT].entries)
        self.queue.tracks[USER].held = self.timeline.user.held
        self.queue.tracks[AGENT].held = self.timeline.agent.held

    def _read_all(self) -> None:
        """The same; once nothing more comes, what a source holds back has its place, too."""
        self._read_queue()
        if self.timeline.unplaced is not None and not self.queue.open:
            with guard():
                self.timeline.unplaced()

    def _read(self, side: Track, entries: deque[Any]) -> None:
        """Apply the entries of a track, see `audio_queue.py`."""
        take = entries.popleft
        left = len(entries)
        going_on: list[bytes] = []
        while left:
            part = take()
            left -= 1
            if type(part) is bytes:
                going_on.append(part)
                continue
            # All of its parts first: whatever one of these raises, the next fact begins where it should.
            arguments = (take(), take(), take(), take(), take()) if part is None else take()
            left -= 5 if part is None else 1
            if going_on:
                pieces, going_on = going_on, []
                side.go_on(pieces, self._clock.monotonic_ns())
            if part is None:
                side.place(*arguments)
            else:
                self._events_read += 1
                part(*arguments)
        if going_on:
            side.go_on(going_on, self._clock.monotonic_ns())

    def _lay_out(self, until: int) -> None:
        """Settle what lies before `until`, and bring it to the file's rate."""
        if not (self.queue.waits or self.timeline.user or self.timeline.agent):
            return
        with self._state:
            self._read_queue()
            if self.queue.open:
                until = self.timeline.settles(until)
        # Before anything is taken: where the file cannot be made at this moment, all is still there at the next turn.
        sound = self._sound or self._start(until)
        if sound is None:
            return
        with self._state:
            user, agent = self.timeline.take(until)
            if not (user or agent):
                return
            left = self._listening().listen_to_user(user)
            right = self._listening().listen_to_agent(agent, self.timeline.agent)
            self._listening().settle(until)
        self._unwritten += sum(len(piece.pcm) for piece in (*user, *agent))
        sound.add(left, right)

    def _start(self, until: int) -> StereoFile | None:
        """Make the file for what lies before `until`; None where nothing does."""
        with self._state:
            pieces = [piece for side in self.timeline.peek(until) for piece in side]
            rates = self.timeline.user.rates | self.timeline.agent.rates
        if not pieces:
            with self._state:
                self.timeline.take(until)
            return None
        rate = rate_at_least(max(*rates, self.least_rate))
        if self._path is None and self._folder is not None and (folder := self._folder()) is not None:
            self._path = str(folder / self._name)
        if self.path is None:
            raise _NoFolderError("there is no folder to record into")
        # What the user had said before, see `UserTrack`.
        self.origin = min(self.origin, *(piece.start for piece in pieces))
        self._sound = _sound().StereoFile(self.path, self.origin, rate)
        self._folder = None
        self.rate = rate
        self.state = "recording"
        return self._sound

    def _write(self, until: int) -> None:
        if self._sound is not None:
            self._sound.write(until)
            self._unwritten = 0

    def _finish(self) -> None:
        with self._state:
            self._read_all()
            end = self.timeline.end
        if end is not None:
            until = min(self.timeline.user.settled, self.timeline.agent.settled)
            while until <= end:
                until = min(until + _STEP, end + 1)
                self._lay_out(until)
                self._write(until)
        if self._sound is not None:
            self._sound.close()
        self.state = "finished"

    def _fail(self, error: str) -> None:
        self.state, self.error = "failed", error
        with self._state:
            self.queue.close(failed=True)
            self.queue.dropped += self._unwritten
            for side in (self.timeline.user, self.timeline.agent):
                self.queue.dropped += side.left_out + side.waiting
            self.timeline = Timeline(self.origin)
        if self._sound is not None:
            self._sound.abandon()


def _sound() -> ModuleType:
    from voicespan.recording import sound  # noqa: PLC0415  heavy libraries, not before there is audio

    return sound
