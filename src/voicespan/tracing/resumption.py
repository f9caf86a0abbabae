"""Conversations that have lost their connection and wait to be taken up again.

A session that was cut off, or told to leave, can be resumed on another connection. Until that comes, or a
time has passed, its conversation stays open. One thread watches the time for all of them; it is there only
while somebody waits. What ends the wait is the conversation's own business: nothing here holds a lock
while it calls one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from voicespan.runtime.clock import Clock

    class Waiting(Protocol):
        """What can wait."""

        def resume_timeout(self) -> None:
            """Nobody has come in time."""


_changed = threading.Condition()
#: Until when, in monotonic nanoseconds of which clock.
_waiting: dict[Waiting, tuple[int, Clock]] = {}
_watching = False


def wait(one: Waiting, deadline: int, clock: Clock) -> None:
    """Have `one` give up when `clock` shows `deadline` (monotonic nanoseconds)."""
    global _watching  # noqa: PLW0603  one watch per process
    with _changed:
        _waiting[one] = (deadline, clock)
        _changed.notify()
        if _watching:
            return
        _watching = True
    threading.Thread(target=_watch, name="voicespan-resumption", daemon=True).start()


def stop_waiting(one: Waiting) -> None:
    """It was resumed, or is over."""
    with _changed:
        if _waiting.pop(one, None) is not None:
            _changed.notify()


def give_up_due() -> None:
    """Have all those give up whose time has passed."""
    with _changed:
        due = [one for one, (deadline, clock) in _waiting.items() if clock.monotonic_ns() >= deadline]
        for one in due:
            del _waiting[one]
        # Whoever did not call this from the watch itself: it may have nothing left to wait for.
        _changed.notify()
    for one in due:
        one.resume_timeout()


def forget_all() -> None:
    """After a fork: the parent's watch and those who wait are the parent's."""
    global _changed, _watching  # noqa: PLW0603  the lock may be held by a thread that is not here
    _changed = threading.Condition()
    _waiting.clear()
    _watching = False


def _watch() -> None:
    global _watching  # noqa: PLW0603  as above
    while True:
        give_up_due()
        with _changed:
            if not _waiting:
                _watching = False
                return
            nearest = min(deadline - clock.monotonic_ns() for deadline, clock in _waiting.values())
            _changed.wait(max(nearest, 0) / 1e9)
