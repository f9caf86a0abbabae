"""Keeps native libraries (numpy, soxr, libsndfile) from being interrupted by a fork or by the end of the interpreter.

A thread that is inside a C++ extension when the interpreter ends is unwound there, which aborts the process (Python
3.13 and before). A process that forks while a thread is inside libsndfile leaves the child a lock that is never
released. So every call of such a library is made within `native_work()`:

1. Before a fork the process waits until no thread is inside, and lets none in until it has forked.
2. When the interpreter ends, likewise, and for good: our threads that want in then wait for ever.

Locks of ours are taken inside `native_work()`, never around it, so a thread that waits for it holds none. Both
waits are bounded.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: The longest that a fork, or the end of the interpreter, waits for who is inside, in seconds.
_FORK_WAITS, _EXIT_WAITS = 1.0, 3.0
#: Between two looks whether somebody is inside: less than the shortest work takes.
_LOOKS_EVERY = 0.0002


class _Door:
    def __init__(self) -> None:
        self.exiting = False
        #: What is called when nobody can come in any more.
        self.at_end: list[Callable[[], object]] = []
        self.reset()

    def reset(self) -> None:
        """Nobody is inside, and it is open."""
        # Idents of threads. One step each, without a lock: a signal's handler may fork in the middle of anything.
        self._inside: dict[int, None] = {}
        self._closed_by: dict[int, None] = {}
        self._opened = threading.Event()

    def enter(self) -> bool:
        """Wait until it is open; False: this thread is inside already."""
        ident = threading.get_ident()
        if ident in self._inside:
            return False
        while True:
            self._inside[ident] = None  # before the look: who closes it looks the other way round
            if not self._closed_by or (
                self.exiting and threading.current_thread() is threading.main_thread()
            ):
                return True
            del self._inside[ident]
            self._opened.wait()

    def leave(self) -> None:
        """This thread is outside again."""
        self._inside.pop(threading.get_ident(), None)

    def close(self, seconds: float) -> bool:
        """Let nobody in, and wait until nobody is inside, for so long at most; whether that came true."""
        own = threading.get_ident()
        self._opened.clear()
        self._closed_by[own] = None
        until = time.monotonic() + seconds
        while busy := any(ident != own for ident in list(self._inside)):
            if time.monotonic() > until:
                break
            time.sleep(_LOOKS_EVERY)
        return not busy

    def open(self) -> None:
        """Let them in, unless another thread has closed it as well."""
        self._closed_by.pop(threading.get_ident(), None)
        if not self._closed_by:
            self._opened.set()

    def before_fork(self) -> None:
        """A thread forks."""
        if not self.exiting:
            self.close(_FORK_WAITS)

    def after_fork(self) -> None:
        """It has, and this is the parent."""
        if not self.exiting:
            self.open()

    def end(self) -> None:
        """The interpreter ends."""
        self.exiting = True
        if self.close(_EXIT_WAITS):
            for free in self.at_end:
                free()


class _End:
    """Ends with the last of the interpreter's exit handlers, whoever registered them in which order.

    `atexit` keeps the arguments of each handler until all have run: so it is deleted then, and the threads still run.
    Where it is only cleared, as `multiprocessing` does in a forked child, nothing has ended.
    """

    reached = False

    def __del__(self) -> None:
        if self.reached:
            _door.end()


def _reach(end: _End) -> None:
    end.reached = True


_door = _Door()


class native_work:  # noqa: N801  reads as a statement: `with native_work():`
    """Hold off a fork and the end of the interpreter meanwhile; take no lock of ours before it."""

    __slots__ = ("_entered",)

    def __enter__(self) -> None:
        self._entered = _door.enter()

    def __exit__(self, *_: object) -> None:
        if self._entered:
            _door.leave()


def free_at_end(free: Callable[[], object]) -> None:
    """Have `free` called when the interpreter ends and no thread is inside."""
    _door.at_end.append(free)


atexit.register(_reach, _End())
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=_door.before_fork, after_in_parent=_door.after_fork, after_in_child=_door.reset
    )
