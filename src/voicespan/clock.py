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
