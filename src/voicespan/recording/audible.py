"""When the agent could be heard: the times at which its audio was louder than silence.

A device plays a stream that never ends, mostly zeros, and an answer's audio begins with some quiet. So
"heard" is told from the samples: the first one above -60 dBFS, and the last.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from voicespan.recording.run import NS
from voicespan.recording.samples import AT_ONCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: -60 dB below full scale, in steps of int16: the quietest sample that counts is one above.
THRESHOLD = 32

#: Quiet up to this belongs to speech: between two words, within a plosive.
_MERGE = NS // 5

#: The last few minutes.
_KEPT = 256


class Audible:
    """The last few minutes' times of audible audio, in order."""

    def __init__(self) -> None:
        self._times: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self._apart = False  # what is heard next belongs to nothing before

    def copy(self) -> Audible:
        """Another one that can be added to."""
        other = Audible()
        other._times.extend(self._times)
        other._apart = self._apart
        return other

    def listen(self, start: int, rate: int, samples: NDArray[np.int16], *, apart: bool = False) -> None:
        """Note where `samples` are audible.

        Args:
            start: When the first is heard, in nanoseconds of the monotonic clock.
            rate: In Hz.
            samples: int16, shape `(n,)`.
            apart: An answer begins with them: they are told apart from what was heard before, however
                short the quiet between.
        """
        import numpy as np  # noqa: PLC0415  not before there is audio

        self._apart |= apart
        merged = _MERGE * rate // NS
        ends = _ends(samples, merged)
        if ends is None:
            places = np.flatnonzero(_loud(samples))
            quiet = np.flatnonzero(np.diff(places) > merged)
            ends = np.sort(
                np.concatenate((places[:1], places[quiet], places[quiet + 1], places[-1:]))
            ).tolist()
        for first, last in zip(ends[::2], ends[1::2], strict=True):
            self._add(start + first * NS // rate, start + (last + 1) * NS // rate)

    def cut(self, place: int) -> None:
        """Forget what would have been heard after `place`."""
        while self._times and self._times[-1][0] >= place:
            self._times.pop()
        if self._times and self._times[-1][1] > place:
            self._times[-1] = (self._times[-1][0], place)

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
        if self._times and not self._apart and start - self._times[-1][1] <= _MERGE:
            start = self._times.pop()[0]
        self._times.append((start, end))
        self._apart = False


def _loud(samples: NDArray[np.int16]) -> NDArray[np.bool_]:
    import numpy as np  # noqa: PLC0415  as above

    # -32..32 become 0..64 of 65,536, so one comparison does for both signs.
    loud: NDArray[np.bool_] = samples.view(np.uint16) + np.uint16(THRESHOLD) > 2 * THRESHOLD
    return loud


def _ends(samples: NDArray[np.int16], merged: int) -> list[int] | None:
    """The first and the last audible sample, where few samples show that there is no long quiet between them.

    So it is in the middle of speech, of which a quarter of a second is laid out at a time: quiet of more than
    `merged` samples would have all in it that is further than that from both ends.
    """
    head, tail = _loud(samples[:AT_ONCE]), _loud(samples[-AT_ONCE:])
    if not (len(head) and head[first := int(head.argmax())] and tail[back := -1 - int(tail[::-1].argmax())]):
        return None
    last = len(samples) + back
    between = samples[max(last - merged, 0) : first + merged + 1]
    if last - first > merged and not _loud(between[:: len(between) // AT_ONCE + 1]).any():
        return None
    return [first, last]
