"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

_NS = 1_000_000_000

#: 2026-01-02T03:04:05.123456Z: every digit group differs, so a swapped or cut field shows.
_DEFAULT_WALL_NS = 1_767_323_045_123_456_000
#: Far from the wall clock's value, so that code which takes one for the other fails at once.
_DEFAULT_MONOTONIC_NS = 1_000 * _NS


class FakeClock:
    """A `voicespan.runtime.clock.Clock` moved by hand; may be read and moved from any thread.

    Args:
        time_ns: What the wall clock shows at first, in nanoseconds since the Unix epoch.
        monotonic_ns: What the monotonic clock shows at first, in nanoseconds.
    """

    def __init__(self, *, time_ns: int = _DEFAULT_WALL_NS, monotonic_ns: int = _DEFAULT_MONOTONIC_NS) -> None:
        self._lock = threading.Lock()
        self._wall = time_ns
        self._monotonic = monotonic_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""
        with self._lock:
            return self._monotonic

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch; jumps when `step_wall` says so."""
        with self._lock:
            return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks.

        Raises:
            ValueError: `seconds` is negative. Only the wall clock can go back: see `step_wall`.
        """
        if seconds < 0:
            raise ValueError("time does not go back; step_wall() sets the wall clock back")
        passed = round(seconds * _NS)
        with self._lock:
            self._wall += passed
            self._monotonic += passed

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does; no time passes."""
        with self._lock:
            self._wall += round(seconds * _NS)
