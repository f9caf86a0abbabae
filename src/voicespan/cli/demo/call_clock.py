"""The time of the call, which may run faster than the machine's."""

from __future__ import annotations

import asyncio
import time

_NS = 1_000_000_000


class CallClock:
    """A `voicespan.runtime.clock.Clock` on which `speed` seconds pass in one.

    Everything of the call goes by it, what is traced too. So a trace has the same times at any speed, apart
    from what the machine itself takes.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._monotonic = time.monotonic_ns()
        self._wall = time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""
        return self._monotonic + self._passed()

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._wall + self._passed()

    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return self._passed() / _NS

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` of the call pass."""
        await asyncio.sleep(max(seconds, 0.0) / self._speed)

    def _passed(self) -> int:
        return round((time.monotonic_ns() - self._monotonic) * self._speed)
