"""How a background thread leaves the interpreter to the application's."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from voicespan import forks

if TYPE_CHECKING:
    from voicespan.clock import Clock

#: Shorter than anybody notices, and longer than it takes another thread to wake up.
_LEAST = 50e-6
_MOST = 10e-3
#: How long a thread waits for its turn.
_PATIENCE = 50e-3


class Spread:
    """Spreads pieces of work evenly over a time, and lets a thread that waits for the interpreter have it in between.

    A thread that works on is made to let go only every 5 ms, and so long an event loop would wait each time it wakes
    up. Calls that leave the interpreter for some microseconds, as those of an encoder, do not help: they have it back
    before the other thread has woken up. And an event loop lets go of it with each read, write and wait, thousands of
    times a second: next to a thread that does all its work at once it waits each time, and comes to a standstill long
    before the processor is used up. So a thread that has time takes it, and one that has none leaves half of it.

    Args:
        pieces: How many there are.
        seconds: For how long they are spread.
        clock: Tells how late it is.
        share: How long who is late rests, as a share of the processor time that its last piece took; at least for as
            long as another thread needs to wake up.
    """

    def __init__(self, pieces: int, seconds: float, clock: Clock, *, share: float = 0.0) -> None:
        self._now = clock.monotonic_ns
        self._due = float(clock.monotonic_ns())
        self._each = seconds * 1e9 / max(pieces, 1)
        self._left = pieces
        self._share = share
        self._spent = time.thread_time()

    def rest(self) -> None:
        """Rest until the next piece is due, a few milliseconds at most; called after each, at once after the last."""
        self._due += self._each
        self._left -= 1
        if self._left <= 0:
            return
        worked = time.thread_time() - self._spent
        time.sleep(min(max((self._due - self._now()) / 1e9, worked * self._share, _LEAST), _MOST))
        self._spent = time.thread_time()


class _Turns:
    def __init__(self) -> None:
        self.forget_the_parent()
        forks.watch(self)

    def forget_the_parent(self) -> None:
        """In a forked child nobody is left to give it back."""
        self.lock = threading.Lock()
        self.patience = _PATIENCE


_turns = _Turns()


class turn:  # noqa: N801  reads as a statement: `with turn():`
    """Of the threads that are ours one works at a time.

    When one lets go of the interpreter, any that waits may get it: an application's thread would wait behind each of
    ours. Whoever has waited for 50 ms works all the same, and so do all until a turn is free again: what one of them
    does for long (a user's own hook, a slow disk) is not to hold up the others.

    Args:
        share: Of those 50 ms, for who is late.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share

    def __enter__(self) -> None:
        self._lock = _turns.lock
        self._is_ours = self._lock.acquire(timeout=_turns.patience * self._share)
        if self._is_ours:
            _turns.patience = _PATIENCE
        elif self._share == 1.0:
            _turns.patience = 0.0

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            self._lock.release()
