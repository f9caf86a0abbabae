"""Stretches of time, each with a start and an end: of playback, of what was audible."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Intervals:
    """The newest ones, in order, none of which begins before the one before it has ended.

    Their times stand in one array. With a tuple for each, hundreds of calls keep a hundred thousand of them, which
    the garbage collector is called for as they come, and looks through.

    Args:
        most: How many are kept.
    """

    __slots__ = ("_most", "_times")

    def __init__(self, most: int) -> None:
        self._most = most
        self._times = array("q")  # a start, its end, the next start: nanoseconds of the monotonic clock

    def __len__(self) -> int:
        return len(self._times) // 2

    def __iter__(self) -> Iterator[tuple[int, int]]:
        times = iter(self._times)
        return zip(times, times, strict=True)

    def __reversed__(self) -> Iterator[tuple[int, int]]:
        times = reversed(self._times)
        return ((start, end) for end, start in zip(times, times, strict=True))

    @property
    def end(self) -> int:
        """Of the newest; there is one."""
        return self._times[-1]

    def copy(self) -> Intervals:
        """Others that can be added to."""
        other = Intervals(self._most)
        other._times = self._times[:]
        return other

    def add(self, start: int, end: int) -> None:
        """Another one."""
        self._times.append(start)
        self._times.append(end)
        if len(self._times) > 2 * self._most:
            del self._times[:2]

    def go_on(self, end: int) -> None:
        """The newest one ends here; there is one."""
        self._times[-1] = end

    def cut(self, place: int) -> None:
        """Forget what would have come from `place` on."""
        times = self._times
        while times and times[-2] >= place:
            del times[-2:]
        if times:
            times[-1] = min(times[-1], place)
