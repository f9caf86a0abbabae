"""What the writer does for one recording: reads the inbox, lays out, resamples, writes.

Two locks, neither of which an audio thread ever takes: `_state` guards the timeline and is held for the
time of some arithmetic, `_file` guards the file and is held while it is written.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.recording.audio_queue import AGENT, USER, AudioQueue
from voicespan.recording.codec.audio_file import AudioFile
from voicespan.recording.codec.formats import CHANNELS, rate_at_least
from voicespan.recording.codec.resampler import Resampler
from voicespan.recording.codec.samples import decode
from voicespan.recording.timeline.activity import ActivityDetector
from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.timeline import Timeline
from voicespan.recording.timeline.track import MS
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from voicespan.recording.timeline.track import Piece, Track
    from voicespan.runtime.clock import Clock

#: What lies so far back is settled: facts about it come too late (see also `timeline.LATE`).
SETTLE = 400 * MS
#: What lies so far back is written. The difference is what the resampler holds back.
LAG = 500 * MS

#: The most that is written in one pass, in seconds: a long silence before the first word.
_MOST_SECONDS = 600
#: The most that is given to the encoder at once. Each time it is left, the interpreter is waited for, up to 5 ms in a
#: process that has much to do: who is late catches up by writing more at a time.
_BLOCK_SECONDS = 30
#: The most that is laid out at once when the recording ends.
_STEP = 10 * NS
#: Two FLAC blocks and more: what the encoder may not have put into the file yet.
_IN_THE_ENCODER = 4096


class RecordingWriter:
    """One recording, from the writer's side.

    Args:
        folder: Where the FLAC file is made, with the first audio; a function is asked then.
        name: Of the file.
        origin: The time of the first frame, in nanoseconds of the monotonic clock.
        clock: Tells when audio is handed over and read.

    Attributes:
        state: `waiting` for audio, `recording`, `finished`, `failed`, or `forked`: it goes on in the
            parent process.
        error: Why it failed.
        rate: Of the file, in Hz; 0 while there is none. It is the faster side's when the first block is
            written, or `least_rate`, whichever is more: a side that turns out faster later is resampled.
        frames: How many were written.
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
        self.inbox = AudioQueue(clock)
        self.state = "waiting"
        self.error: str | None = None
        self.least_rate = 0
        self.rate = 0
        self.frames = 0
        self._audible = ActivityDetector()
        self._events_read = 0
        self._unwritten = 0  # bytes that were laid out in this pass
        self._channels: tuple[Resampler, Resampler] | None = None
        self._out: AudioFile | None = None
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
        return self.inbox.dropped + self.timeline.user.left_out + self.timeline.agent.left_out

    @property
    def frames_on_disk(self) -> int:
        """How many frames another reader of the file will surely find."""
        return self.frames if self.state == "finished" else max(0, self.frames - _IN_THE_ENCODER)

    def run(self, now: int) -> None:
        """Write what has settled by `now`; when the inbox is closed, all that there is."""
        with self._file:
            if self.over:
                return
            try:
                if self.inbox.open:
                    self._lay_out(now - SETTLE)
                    self._write(now - LAG)
                else:
                    self._finish()
            except (OSError, RuntimeError, ImportError) as error:
                self._fail(error.strerror if isinstance(error, OSError) and error.strerror else str(error))

    def fail(self, error: str) -> None:
        """Stop recording, because of `error`."""
        with self._file:
            if not self.over:
                self._fail(error)

    def disown(self) -> None:
        """Be nobody's, in a forked child. The locks may be held by threads that are not there."""
        self._state, self._file = threading.Lock(), threading.Lock()
        self.inbox.close()
        for intake in self.inbox.sides:
            intake.facts.clear()
        self.timeline = Timeline(self.origin)
        if not self.over:
            self.state = "forked"

    def read_queue(self) -> None:
        """Let the timeline know what was told until now."""
        with self._state:
            self._read_queue()

    def cut(self, handed: int, at: int | None, played: int | None, tell: list[int]) -> None:
        """Cut the agent's side, see `AgentTrack.cut`; `tell` is filled with what that returns."""
        told = self.timeline.agent.cut(handed, at, played)
        self._audible.cut(told[0])
        tell.extend(told)

    def first_heard(self, after: int, now: int | None) -> int | None:
        """See `Recorder.first_heard`; `now`: None for what is known without reading what waits."""
        with self._state:
            # Mostly it was seconds ago, and has settled. What is to be read then is more audio, which is later.
            first = self._first(self._audible, after) if self._events_read == self.inbox.events else None
            return first if first is not None or now is None else self._first(self._listen_until(now), after)

    def _first(self, audible: ActivityDetector, after: int) -> int | None:
        begin = self.timeline.agent.begin_of_answer(after)
        return None if begin is None else audible.first(begin)

    def last_heard(self, before: int, now: int) -> int | None:
        """See `Recorder.last_heard`."""
        with self._state:
            return self._listen_until(now).last(before)

    def heard(self, start: int, end: int, now: int) -> int:
        """See `Recorder.heard_ms`; in nanoseconds."""
        with self._state:
            audible = self._listen_until(now)
            first, last = audible.first(start, afresh=False), audible.last(min(end, now))
            if first is None or last is None:
                return 0
            return self.timeline.agent.played(first, last)

    def _listen_until(self, now: int) -> ActivityDetector:
        """When the agent was audible, what is not settled included."""
        self._read_queue()
        audible = self._audible.copy()
        for piece in self.timeline.peek_agent(now):
            self._listen(audible, piece, decode(piece.pcm, piece.encoding))
        return audible

    def _listen(self, audible: ActivityDetector, piece: Piece, samples: NDArray[np.int16]) -> None:
        end = piece.start + len(samples) * NS // piece.rate
        answers = self.timeline.agent.answers_between(piece.start, end)
        for begin in (*answers, end):
            count = -((piece.start - begin) * piece.rate // NS)
            audible.listen(piece.start, piece.rate, samples[:count], apart=piece.start in answers)
            samples = samples[count:]
            piece = piece._replace(start=begin)

    def _read_queue(self) -> None:
        with guard():
            self._read(self.timeline.user, self.inbox.sides[USER].facts)
        with guard():
            self._read(self.timeline.agent, self.inbox.sides[AGENT].facts)
        self.inbox.sides[USER].held = self.timeline.user.held
        self.inbox.sides[AGENT].held = self.timeline.agent.held

    def _read(self, side: Track, facts: deque[Any]) -> None:
        """Do to `side` what was told of it, see `inbox.py`."""
        take = facts.popleft
        left = len(facts)
        going_on: list[bytes] = []
        while left:
            part = take()
            left -= 1
            if type(part) is bytes:
                going_on.append(part)
                continue
            # All of its parts first: whatever one of these raises, the next fact begins where it should.
            told = (take(), take(), take(), take(), take()) if part is None else take()
            left -= 5 if part is None else 1
            if going_on:
                pieces, going_on = going_on, []
                side.go_on(pieces, self._clock.monotonic_ns())
            if part is None:
                side.place(*told)
            else:
                self._events_read += 1
                part(*told)
        if going_on:
            side.go_on(going_on, self._clock.monotonic_ns())

    def _lay_out(self, until: int) -> None:
        """Settle what lies before `until`, and bring it to the file's rate."""
        if not (self.inbox.waits or self.timeline.user or self.timeline.agent):
            return
        with self._state:
            self._read_queue()
            if self.inbox.open:
                until = self.timeline.settles(until)
            rates = self.timeline.user.rates | self.timeline.agent.rates
            user, agent = self.timeline.take(until)
            heard = [decode(piece.pcm, piece.encoding) for piece in agent]
            for piece, samples in zip(agent, heard, strict=True):
                self._listen(self._audible, piece, samples)
        if not (user or agent):
            return
        self._unwritten += sum(len(piece.pcm) for piece in (*user, *agent))
        left, right = self._channels or self._start(max(rates))
        for piece in user:
            left.feed(piece, decode(piece.pcm, piece.encoding))
        for piece, samples in zip(agent, heard, strict=True):
            right.feed(piece, samples)

    def _start(self, fastest: int) -> tuple[Resampler, Resampler]:
        rate = rate_at_least(max(fastest, self.least_rate))
        ask, self._folder = self._folder, None
        if ask is not None and (folder := ask()) is not None:
            self._path = str(folder / self._name)
        if self.path is None:
            raise OSError("there is no folder to record into")
        self._out = AudioFile(self.path, "flac", rate, CHANNELS)
        self.rate = rate
        self._channels = Resampler(self.origin, rate), Resampler(self.origin, rate)
        self.state = "recording"
        return self._channels

    def _write(self, until: int) -> None:
        """Write the frames before `until`, as far as they are known.

        Silence is written when something follows it: a conversation in which nothing happens costs nothing.
        """
        if self._channels is None or self._out is None:
            return
        left, right = self._channels
        end = min(max(left.position, right.position), (until - self.origin) * self.rate // NS)
        end = min([end, *(channel.position for channel in (left, right) if channel.open)])
        end = min(end, self.frames + _MOST_SECONDS * self.rate)
        import numpy as np  # noqa: PLC0415  not before there is audio

        while self.frames < end:
            block = np.zeros((min(end - self.frames, _BLOCK_SECONDS * self.rate), CHANNELS), dtype=np.int16)
            left.fill(block[:, 0], self.frames)
            right.fill(block[:, 1], self.frames)
            self._out.write(block)
            self.frames += len(block)
        self._unwritten = 0

    def _finish(self) -> None:
        self.read_queue()
        end = self.timeline.end
        if end is not None:
            until = min(self.timeline.user.settled, self.timeline.agent.settled)
            while until <= end:
                until = min(until + _STEP, end + 1)
                self._lay_out(until)
                self._write(until)
        if self._channels is not None and self._out is not None:
            ends = max(channel.position for channel in self._channels)
            while self.frames < ends:
                self._write(self.origin + (ends + 1) * NS // self.rate)
            self._out.close()
        self._out = self._channels = None
        self.state = "finished"

    def _fail(self, error: str) -> None:
        self.state, self.error = "failed", error
        with self._state:
            self.inbox.close(failed=True)
            self.inbox.dropped += self._unwritten
            for side in (self.timeline.user, self.timeline.agent):
                self.inbox.dropped += side.left_out + side.waiting
            self.timeline = Timeline(self.origin)
        out, self._out, self._channels = self._out, None, None
        if out is not None:
            out.abandon()
