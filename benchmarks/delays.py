"""Delays, counted in a table that does not grow with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Each step is so much wider than the one before it.
_STEP = 1.02
_LEAST = 1e-5
_STEPS = 800  # up to 75 s


class Delays:
    """How often which delay was seen; in seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0.0
        self._counts = [0] * _STEPS

    def add(self, seconds: float) -> None:
        """One was seen."""
        self.count += 1
        self.most = max(self.most, seconds)
        step = 0 if seconds <= _LEAST else int(math.log(seconds / _LEAST, _STEP)) + 1
        self._counts[min(step, _STEPS - 1)] += 1

    def quantile(self, share: float) -> float:
        """What this share of the delays was no longer than, to 2 %."""
        left = share * self.count
        for step, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return min(_LEAST * _STEP**step, self.most)
        return self.most

    def later_than(self, seconds: float) -> int:
        """How many were longer than that, to 2 %."""
        step = int(math.log(seconds / _LEAST, _STEP)) + 1
        return sum(self._counts[step + 1 :])

    def milliseconds(self) -> dict[str, float]:
        """What a report tells of them."""
        told = {name: self.quantile(share) for name, share in _TOLD.items()}
        return {name: round(seconds * 1000, 3) for name, seconds in {**told, "max": self.most}.items()}


_TOLD = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


async def probe(note: Callable[[float], None], every: float = 0.01) -> None:
    """Wake every 10 ms and tell by how much too late, until cancelled: what holds the loop is seen by it."""
    import asyncio

    loop = asyncio.get_running_loop()
    due = loop.time() + every
    while True:
        await asyncio.sleep(due - loop.time())
        late = loop.time() - due
        note(max(late, 0.0))
        # What was missed while the loop was held is one delay, and not one for each 10 ms of it.
        due = max(due + every, loop.time())
