"""Keeps our background threads from holding the interpreter while the application needs it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from voicespan.runtime import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from voicespan.runtime.clock import Clock

_Piece = TypeVar("_Piece")

#: Shorter than anybody notices, and longer than it takes another thread to wake up.
_LEAST = 50e-6
_MOST = 10e-3
#: As long a thread works before it rests: not noticed either, and some ten spans are written in it.
_HOLDS = 1e-3
#: How long a thread waits for its turn.
_PATIENCE = 50e-3


class _Slot:
    def __init__(self) -> None:
        self.reset_after_fork()
        fork.register(self)

    def reset_after_fork(self) -> None:
        """In a forked child nobody is left to give it back."""
        self.lock = threading.Lock()
        self.patience = _PATIENCE


_slot = _Slot()


class background_slot:  # noqa: N801  reads as a statement: `with turn():`
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
        self._lock = _slot.lock
        self._is_ours = self._lock.acquire(timeout=_slot.patience * self._share)
        if self._is_ours:
            _slot.patience = _PATIENCE
        elif self._share == 1.0:
            _slot.patience = 0.0

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            self._lock.release()


def paced(
    pieces: Collection[_Piece],
    work: Callable[[_Piece], object],
    seconds: float,
    clock: Clock,
    *,
    rests: float = 0.0,
    waits: float = 1.0,
) -> None:
    """Call `work` with each piece, spread evenly over `seconds`, and release the GIL in between.

    A thread that computes without a pause releases the GIL only every 5 ms, so an event loop waits up to 5 ms each
    time it wakes up. Calls that release the GIL for some microseconds, as an encoder's do, do not help: they take
    it back before the other thread is awake. An event loop releases it with each read, write and wait, thousands of
    times a second; beside a thread that works at full speed it waits each time, long before the processor is used
    up.

    So the thread rests between pieces while it is in time, and for `rests` of its working time when it is late. It
    works for a millisecond before it rests: to get the GIL back costs more than one small piece.

    Args:
        pieces: What is worked on.
        work: Called with each piece. An exception ends the work.
        seconds: How long the pieces are spread over.
        clock: Measures how late the thread is.
        rests: How long a late thread rests, as a share of the processor time that it worked since the last rest. It
            rests for 50 µs at least, which is long enough for another thread to wake up.
        waits: How long it waits for the other background threads; see `background_slot`.
    """
    due = float(clock.monotonic_ns())
    left = len(pieces)
    each = seconds * 1e9 / max(left, 1)
    queue = iter(pieces)
    while left:
        began, worked = time.thread_time(), 0.0
        with background_slot(waits):
            look_at = clock.monotonic_ns() + _HOLDS * 1e9
            while left and worked < _HOLDS:
                work(next(queue))
                left -= 1
                due += each
                # It cannot have worked for longer than has passed, and to ask for the processor's time takes ten times
                # as long as to ask for the clock's.
                now = clock.monotonic_ns()
                if now >= look_at or not left:
                    worked = time.thread_time() - began
                    look_at = now + (_HOLDS - worked) * 1e9
        if left:
            time.sleep(min(max((due - clock.monotonic_ns()) / 1e9, worked * rests, _LEAST), _MOST))
