"""The agent's side of the recording: the rules that hold for a loudspeaker only.

What is given_at to a speaker lies in its buffer until it is heard, and can be taken back. So this side has
cuts: a cut removes what had not been heard by then, and nothing else. Audio that is heard (`at`) well
before what was given earlier has ended says the same: a speaker cannot play two things, so the rest
of the first was not heard.

A playback that is paused holds what is to be heard: it has no place until the playback goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.recording.timeline.intervals import Intervals
from voicespan.recording.timeline.segment import NS, Segment
from voicespan.recording.timeline.track import BREAK, MS, Track

if TYPE_CHECKING:
    from voicespan.recording.timeline.segment import Pcm

#: An overlap up to this is a clock that runs fast; above, the first was replaced.
REPLACED = 200 * MS

#: How many intervals of playback and how many answers are remembered: the last few minutes of a lively
#: conversation.
_MOST_INTERVALS = 256
_ANSWERS = 64
#: An answer is marked so soon after its first audio was received.
_MARKED_WITHIN = 100 * MS


class AgentTrack(Track):
    """The agent's side."""

    def __init__(self, origin: int) -> None:
        super().__init__(origin)
        self._intervals = Intervals(_MOST_INTERVALS)  # of what is played
        self._answers: tuple[tuple[int, int], ...] = ()  # when marked, where it begins
        self._marked: int | None = None  # an answer of which nothing was given yet
        self._answer = origin  # where the newest answer begins
        self._afresh = True  # what comes next begins a new answer, if the application marks none
        self._held: list[Segment] | None = None  # what waits while the playback is paused; None: it is not

    @property
    def held(self) -> int:
        """See `Track.held`."""
        return super().held + sum(run.held for run in self._held or ())

    @property
    def waiting(self) -> int:
        """See `Track.waiting`."""
        return super().waiting + sum(run.waiting for run in self._held or ())

    @property
    def rates(self) -> set[int]:
        """See `Track.rates`."""
        return super().rates | {run.rate for run in self._held or ()}

    def mark_answer(self, marked: int) -> None:
        """What is given from here on is another answer."""
        self._marked = marked
        self._flow = None

    def begin_of_answer(self, after: int) -> int | None:
        """Where the answer lies that was the newest one at the time `after`.

        Returns:
            None while nothing of it was given; `after` itself where no answer was marked.
        """
        if self._marked is not None and self._marked <= after:
            return None
        for marked, start in reversed(self._answers):
            if marked <= after:
                return max(start, after)
        return after

    def next_answer(self, after: int) -> int | None:
        """Where the answer begins that follows the one whose first audio was received at `after`.

        Returns:
            None where there is none, or nothing of that one was given.
        """
        for number, (marked, _) in enumerate(self._answers[:-1]):
            if 0 <= marked - after <= _MARKED_WITHIN:
                return self._answers[number + 1][1]
        return None

    def answers_between(self, start: int, end: int) -> list[int]:
        """Where the answers begin that begin from `start` on and before `end`."""
        return [begin for _, begin in self._answers if start <= begin < end]

    def cut(self, given_at: int, at: int | None, played: int | None) -> tuple[int, int, int]:
        """Remove what had not been heard.

        Args:
            given_at: When the cut was reported, in nanoseconds of the monotonic clock.
            at: When playback stopped; None: when it was reported.
            played: How many nanoseconds of the newest answer were played; this decides, where given.

        Returns:
            Where it was cut, how much of the newest answer had been heard, and how much was removed, in
            nanoseconds.
        """
        place = self._stopped(given_at, at, played)
        heard = 0 if played is not None and self._marked is not None else self.played(self._answer, place)
        return place, heard, self._cut(place)

    def hold(self, given_at: int, at: int | None, played: int | None) -> None:
        """Let nothing be heard until `release`. While it is held already: it was held there, and no earlier or later.

        Args: as those of `cut`.
        """
        if self._held is not None and self.end is not None:
            self.release(self.end, 0)
        self._held = self._take_away(self._stopped(given_at, at, played))

    def release(self, at: int, skipped: int) -> None:
        """Let what is held be heard from `at` on, but for its first `skipped` nanoseconds."""
        held, self._held = self._held, None
        begins_at: int | None = at
        for run in held or ():
            left_out = min(run.samples, round(skipped * run.rate / NS))
            skipped -= left_out * NS // run.rate
            for pcm in run.pieces_after(left_out):
                self._place(at, pcm, run.rate, run.encoding, begins_at)
                begins_at = None
        # What comes next follows that, and has no time of its own.
        self._flow = None

    def played(self, start: int, end: int) -> int:
        """How many nanoseconds of the time from `start` to `end` had audio in them, loud or not."""
        return sum(
            max(0, min(end, played_to) - max(start, played_from))
            for played_from, played_to in self._intervals
        )

    def played_out(self, start: int, duration: int, after: int) -> int | None:
        """When `duration` of what is played from `start` on was over.

        A player that fell silent after the time `after`, and plays again, had dropped the rest: then that is when.
        None: it is still to be played.
        """
        before: int | None = None
        for begin, end in self._intervals:
            first = max(begin, start)
            if end <= first:
                continue
            if before is not None and first - before >= BREAK and first > after:
                return first
            if end - first >= duration:
                return first + duration
            duration -= end - first
            before = end
        return None

    def _place(self, given_at: int, pcm: Pcm, rate: int, encoding: str, at: int | None) -> int | None:
        if self._held is not None:
            run = self._held[-1] if self._held else None
            if run is None or (run.rate, run.encoding) != (rate, encoding):
                run = Segment(given_at, rate, encoding)
                self._held.append(run)
            run.append(pcm)
            return None
        before = self.end
        if at is not None and before is not None and before - at > REPLACED:
            self._cut(at)
        start = super()._place(given_at, pcm, rate, encoding, at)
        if start is None or self.end is None:
            return None
        if self._intervals and self._intervals.end == start:
            self._intervals.go_on(self.end)
        else:
            self._intervals.add(start, self.end)
        if self._marked is not None:
            self._answers = (*self._answers, (self._marked, start))[-_ANSWERS:]
            self._answer, self._marked = start, None
        elif not self._answers and (self._afresh or before is None or start - before >= BREAK):
            self._answer = start
        self._afresh = False
        return start

    def _flowed(self, end: int) -> None:
        self._intervals.go_on(end)

    def _first(self, given_at: int, at: int | None) -> int:
        if not self._afresh or self.end is None:
            return super()._first(given_at, at)
        # What comes after a cut continues nothing: not even within the tolerance.
        return max(given_at, self.end) if at is None else at

    def _stopped(self, given_at: int, at: int | None, played: int | None) -> int:
        """Where the playback was stopped; see `cut`."""
        # Of an answer that has no place yet nothing was played.
        if played is not None and self._marked is None:
            return self._after_playing(played)
        return given_at if at is None else at

    def _after_playing(self, duration: int) -> int:
        """Where so much of the newest answer has been played."""
        place = self._answer
        for start, end in self._intervals:
            length = end - max(start, self._answer)
            if length > 0 and duration > 0:
                place = max(start, self._answer) + min(duration, length)
                duration -= length
        return place

    def _cut(self, place: int) -> int:
        removed = self._take_away(place)
        if self._held is not None:
            removed += self._held
            self._held = []
        self._afresh = True
        return sum(run.samples * NS // run.rate for run in removed)

    def _take_away(self, place: int) -> list[Segment]:
        """Remove and return what would be heard from `place` on."""
        removed = [run.split(place) for run in self._runs if run.end > place]
        if self.end is not None and self.end > place:
            self.end = place
        self._odd, self._format, self._flow = b"", (0, ""), None  # what follows completes no sample of before
        self._intervals.cut(place)
        while self._runs and self._runs[-1].samples == 0:
            self._runs.pop()
        return removed
