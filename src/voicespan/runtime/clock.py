"""Where time comes from: a monotonic reading for order and durations, a wall clock for timestamps.

The standard library's `time` module is such a clock, and the default everywhere;
`voicespan.testing.FakeClock` is another.
"""

from __future__ import annotations

import time
from typing import Protocol, cast


class Clock(Protocol):
    """What voicespan asks of a clock."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back, from an arbitrary zero."""
        ...

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch; may jump."""
        ...


SYSTEM = cast("Clock", time)


class WallClock:
    """Monotonic nanoseconds on the wall clock, mapped once: a clock that is set during a call does not bend it."""

    def __init__(self, clock: Clock, now: int) -> None:
        """`now`: the first of what is to be mapped; nothing is earlier than that."""
        self._offset = clock.time_ns() - now
        self._first = self.last = max(self._offset + now, 0) // 1000 * 1000

    def __call__(self, at: int) -> int:
        """Nanoseconds since the Unix epoch; the latest of them stays in `last`."""
        # Whole microseconds, since LangSmith's run order has no more and every rounding should agree.
        wall = max((self._offset + at) // 1000 * 1000, self._first)
        self.last = max(self.last, wall)
        return wall
