"""When somebody spoke, by the energy of the audio.

A microphone is never silent, so the threshold follows its noise: the quietest 10 ms of the last seconds, and 10 dB
more. Tests hold the result within 20 ms of a detector that nobody here wrote.
"""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from voicespan.recording.timeline.intervals import Intervals
from voicespan.recording.timeline.segment import NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: Energies are means of squares of int16 samples; 0 dB is full scale.
_FULL_SCALE = 32_768.0**2


def _energy(decibels: float) -> float:
    return _FULL_SCALE * math.pow(10, decibels / 10)


#: Frames of a second: each lasts 10 ms.
_FRAMES = 100
#: Quieter than this nobody speaks, however quiet the line is.
_QUIETEST = _energy(-45)
#: Speech begins 10 dB above the noise, and goes on until it is 6 dB quieter than that.
_BEGINS, _GOES_ON = math.pow(10, 1.0), math.pow(10, -0.6)
#: What is taken for noise. What is louder is speech, though it never pauses.
_LEAST_NOISE, _MOST_NOISE = _energy(-80), _energy(-36)
#: Before the first quiet: somebody may speak at once.
_FIRST_NOISE = _energy(-50)
#: How fast noise may grow, a frame: 3 dB a second.
_RISES = math.pow(10, 0.3 / _FRAMES)
#: A microphone that never gives more than this is dead, once so much of it was heard.
_INAUDIBLE = _energy(-60)
_ENOUGH = 5 * NS
#: A quiet up to this belongs to what is said.
_MERGE = NS // 4
#: What is shorter is a click, in frames.
_CLICK = 5
#: The last few minutes.
_KEPT = 256


class SpeechDetector:
    """The last few minutes' times in which one side spoke, in order.

    Attributes:
        listened: How much audio there was, in nanoseconds.
        loudest: The energy of its loudest 10 ms.
    """

    __slots__ = (
        "_begins_at", "_ends_at", "_frames", "_most", "_noise", "_rest", "_rest_at", "_times", "listened", "loudest",
    )  # fmt: skip

    def __init__(self, most: int = _KEPT) -> None:
        """`most`: how many times are remembered."""
        self._most = most
        self.listened = 0
        self.loudest = 0.0
        self._times: Intervals | None = None  # until there is speech: each call has as few objects as can be
        self._noise = _FIRST_NOISE
        self._begins_at = 0  # of what may be speech or a click
        self._ends_at = 0
        self._frames = 0  # of it; 0: there is nothing
        #: Of a frame that is not complete: the squares of its samples, together, and when it begins.
        self._rest = 0.0
        self._rest_at = 0

    def copy(self) -> SpeechDetector:
        """Another one that can be added to."""
        other = SpeechDetector(self._most)
        other._times = None if self._times is None else self._times.copy()
        other._noise = self._noise
        other._begins_at, other._ends_at, other._frames = self._begins_at, self._ends_at, self._frames
        other._rest, other._rest_at = self._rest, self._rest_at
        other.listened, other.loudest = self.listened, self.loudest
        return other

    @property
    def times(self) -> Iterable[tuple[int, int]]:
        """Those that are remembered: starts and ends."""
        return self._times or ()

    @property
    def is_dead(self) -> bool | None:
        """Whether none of the audio rises above -60 dBFS; None: there is too little to say so."""
        return self.loudest < _INAUDIBLE if self.listened >= _ENOUGH else None

    def listen(self, start: int, rate: int, samples: NDArray[np.int16], origin: int = 0) -> None:
        """Note where there is speech in `samples`.

        Args:
            start: When the first was captured, in nanoseconds of the monotonic clock.
            rate: In Hz.
            samples: int16, shape `(n,)`.
            origin: Where the frames begin, in however many pieces the samples come. From the beginning of the file on
                whoever reads it finds the same ones.
        """
        size = rate // _FRAMES
        duration = size * NS // rate
        self.listened += len(samples) * NS // rate
        number, lead = divmod(((start - origin) * rate + NS // 2) // NS, size)
        begins_at = origin + number * duration
        if self._rest and begins_at != self._rest_at:
            # It ended within a frame, and there was silence.
            energy, self._rest = self._rest / size, 0.0
            self._add(self._rest_at, duration, [energy])
        # Digital silence costs a comparison, and what begins with a sound is none.
        if not self._rest and not (len(samples) and samples[0]) and not samples.any():
            self._noise = _LEAST_NOISE
            if self._frames < _CLICK:
                self._frames = 0
            return
        energies, self._rest = _energies(samples, size, lead, self._rest)
        self._rest_at = begins_at + len(energies) * duration
        if not energies:
            return
        loudest = max(energies)
        self.loudest = max(self.loudest, loudest)
        if not self._frames and loudest < _QUIETEST:  # most of the time
            self._noise = min(max(min(energies), _LEAST_NOISE), self._noise)
            return
        self._add(begins_at, duration, energies)

    def cut(self, place: int) -> None:
        """Forget what would have been heard after `place`."""
        if self._times is not None:
            self._times.cut(place)
        if self._ends_at > place:
            self._ends_at, self._frames = place, 0
        self._rest = 0.0

    def ended_before(self, at: int) -> int | None:
        """When the last speech before `at` ended; None where there was none, or it goes on at `at`."""
        for start, end in reversed(self._times or ()):
            if start < at:
                return end if end <= at else None
        return None

    def began_before(self, at: int) -> int | None:
        """When the newest speech began that had begun by `at`; None where there was none."""
        return next((start for start, _ in reversed(self._times or ()) if start <= at), None)

    def began_after(self, at: int) -> int | None:
        """When the first speech began that began at `at` or later."""
        return next((start for start, _ in self._times or () if start >= at), None)

    def _add(self, start: int, duration: int, energies: list[float]) -> None:  # noqa: C901  as it says
        """Go through frames of this duration, of which the first begins at `start`.

        A hundred a second come by here, of each side of each call: so there is no function for one of them.
        """
        noise, frames, ends_at, times = self._noise, self._frames, self._ends_at, self._times
        for at, energy in zip(count(start, duration), energies, strict=False):
            noise *= _RISES
            if energy < noise:
                noise = max(energy, _LEAST_NOISE)
            if noise > _MOST_NOISE:  # noqa: PLR1730  `min` takes as long as all the rest
                noise = _MOST_NOISE
            threshold = noise * _BEGINS
            if threshold < _QUIETEST:  # noqa: PLR1730  as above
                threshold = _QUIETEST
            if frames >= _CLICK and times is not None:
                if at - ends_at < _MERGE:
                    if energy >= threshold * _GOES_ON:
                        ends_at = at + duration
                        times.go_on(ends_at)
                    continue
                frames = 0
            if energy < threshold:
                frames = 0
                continue
            if not frames or at - ends_at > duration:
                self._begins_at, frames = at, 0
            frames += 1
            ends_at = at + duration
            if frames == _CLICK:
                times = self._times = times or Intervals(self._most)
                times.add(self._begins_at, ends_at)
        self._noise, self._frames, self._ends_at = noise, frames, ends_at


def _energies(samples: NDArray[np.int16], size: int, lead: int, rest: float) -> tuple[list[float], float]:
    """The mean square of each `size` samples, and the squares of those that are left over, together.

    The first frame has begun before: `lead` samples of it were others, whose squares are `rest`.
    """
    scaled = samples.astype(np.float32)
    energies: list[float] = []
    if lead:
        head, scaled = scaled[: size - lead], scaled[size - lead :]
        rest += float(np.dot(head, head))
        if lead + len(head) < size:
            return energies, rest
        energies.append(rest / size)
    whole = len(scaled) // size * size
    frames = scaled[:whole].reshape(-1, 1, size)
    # Of each its product with itself: half of what `einsum` takes.
    squares = np.matmul(frames, frames.transpose(0, 2, 1)).ravel() / np.float32(size)
    energies += squares.tolist()
    left = scaled[whole:]
    return energies, float(np.dot(left, left))
