"""When the agent could be heard: the times at which its audio was louder than silence.

A device plays a stream that never ends, mostly zeros, and an answer's audio begins with some quiet. So
"heard" is decided by the samples: the first one above -60 dBFS, and the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicespan.recording.codec.samples import AT_ONCE
from voicespan.recording.timeline.intervals import Intervals
from voicespan.recording.timeline.segment import NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: -60 dB below full scale, in steps of int16: the quietest sample that counts is one above.
THRESHOLD = 32

#: Quiet up to this belongs to speech: between two words, within a plosive.
_MERGE = NS // 5

#: The last few minutes.
_KEPT = 256

#: So many zeros are passed over at once.
_LONG = 4_800
_ZEROS = bytes(2 * _LONG)


class ActivityDetector:
    """The last few minutes' times of audible audio, in order."""

    def __init__(self) -> None:
        self._times = Intervals(_KEPT)
        self._apart = False  # what is heard next belongs to nothing before

    def copy(self) -> ActivityDetector:
        """Another one that can be added to."""
        other = ActivityDetector()
        other._times = self._times.copy()
        other._apart = self._apart
        return other

    def listen(self, start: int, rate: int, samples: NDArray[np.int16], *, apart: bool = False) -> None:
        """Note where `samples` are audible.

        Args:
            start: When the first is heard, in nanoseconds of the monotonic clock.
            rate: In Hz.
            samples: int16, shape `(n,)`.
            apart: An answer begins with them: they are kept apart from what was heard before, however
                short the quiet between.
        """
        self._apart |= apart
        for first, last in _intervals(samples, _MERGE * rate // NS):
            self._add(start + first * NS // rate, start + (last + 1) * NS // rate)

    @property
    def start(self) -> int | None:
        """Of the oldest one that is remembered."""
        return next((start for start, _ in self._times), None)

    def is_audible_after(self, place: int) -> bool:
        """Whether anything could be heard after `place`."""
        return bool(self._times) and self._times.end > place

    def cut(self, place: int) -> None:
        """Forget what would have been heard after `place`."""
        self._times.cut(place)

    def first(self, after: int, *, afresh: bool = True) -> int | None:
        """The first time from `after` on at which something could be heard.

        Args:
            after: In nanoseconds of the monotonic clock.
            afresh: What had been sounding already by then does not count.
        """
        for start, end in self._times:
            if start >= after:
                return start
            if end > after and not afresh:
                return after
        return None

    def last(self, before: int) -> int | None:
        """The last time up to `before` at which something could be heard."""
        for start, end in reversed(self._times):
            if start < before:
                return min(end, before)
        return None

    def _add(self, start: int, end: int) -> None:
        if self._times and not self._apart and start - self._times.end <= _MERGE:
            self._times.go_on(end)
        else:
            self._times.add(start, end)
        self._apart = False


def _loud(samples: NDArray[np.int16]) -> NDArray[np.bool_]:
    # -32..32 become 0..64 of 65,536, so one comparison does for both signs.
    loud: NDArray[np.bool_] = samples.view(np.uint16) + np.uint16(THRESHOLD) > 2 * THRESHOLD
    return loud


def _intervals(samples: NDArray[np.int16], merged: int) -> Iterator[tuple[int, int]]:
    """The first and the last audible sample of each stretch that has no more than `merged` quiet ones in a row.

    So few samples are looked at at a time that numpy keeps the interpreter, see `AT_ONCE`; and few in all: of speech
    one look for each `merged` samples shows that it goes on.
    """
    first = _next(samples, 0)
    while first is not None:
        last = first
        while (later := _last(samples, last + 1, last + 1 + merged)) is not None:
            last = later
        yield first, last
        first = _next(samples, last + 1 + merged)


def _next(samples: NDArray[np.int16], start: int) -> int | None:
    """The first audible sample from `start` on."""
    # What a device plays is mostly zeros.
    while samples[start : start + _LONG].tobytes() == _ZEROS:
        start += _LONG
    near = start + _LONG
    while start < len(samples):
        # In a long quiet more at a time: it is left once, and not looked at ten times.
        size = AT_ONCE if start < near else 10 * _LONG
        loud = _loud(samples[start : start + size])
        if loud[place := int(loud.argmax())]:
            return start + place
        start += size
    return None


def _last(samples: NDArray[np.int16], start: int, end: int) -> int | None:
    """The last audible sample from `start` on and before `end`."""
    end = min(end, len(samples))
    for stop in range(end, start, -AT_ONCE):
        loud = _loud(samples[max(stop - AT_ONCE, start) : stop])[::-1]
        if loud[back := int(loud.argmax())]:
            return stop - 1 - back
    return None
