"""A background thread that exists only while there is something to do. All threads of ours are made here.

What always holds:

1. `wake` takes no lock and never waits: finalisers, signal handlers and log handlers may call it, in the middle
   of a start or of another `wake` of the same thread.
2. Whoever takes the token starts the thread; the token is given back when that fails, and when the thread ends.
   So no failure is for ever: the next `wake` tries again, and so does each other thread of ours after a step.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable

_loops: weakref.WeakSet[Loop] = weakref.WeakSet()
#: How long a thread that has nothing to do stays, for what comes next.
_IDLE_SECONDS = 5.0
#: How long it rests after something went wrong between two steps.
_AFTER_FAILURE = 0.05


class Signal:
    """A `threading.Event` for one waiter, which forgets the signal as it takes it. `set` takes no lock."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Have `wait` return."""
        # Mostly it is set already, and an exception for that would take longer than all the rest.
        if self._lock.locked():
            with contextlib.suppress(RuntimeError):  # another thread has set it meanwhile
                self._lock.release()

    def is_set(self) -> bool:
        """Whether the next `wait` returns at once."""
        return not self._lock.locked()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the signal and take it; whether it came."""
        timeout = -1 if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX)
        return self._lock.acquire(timeout=timeout)


class Loop:
    """Calls `step` whenever it is woken, and when the time comes that `step` named.

    All decisions are `step`'s: it is called with nothing and returns after how many seconds it wants to
    be called again, or None. So it can be tested without a thread.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        batch_delay: float = 0.0,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        """Nothing is started yet.

        Args:
            name: the thread's.
            step: does what there is to do.
            batch_delay: seconds to wait after a wake-up for more of the same, unless it is urgent.
            idle_seconds: after so many without anything to do the thread ends.
        """
        self._name = name
        self._step = step
        self._batch_delay = batch_delay
        self._idle_seconds = idle_seconds
        self._thread: threading.Thread | None = None
        self._reset()
        _loops.add(self)

    def wake(self, *, urgent: bool = False) -> None:
        """Have `step` called soon; starts the thread if there is none. Never waits."""
        if urgent:
            self._urgent.set()
        self._woken.set()
        if not self._stopping and self._token.acquire(blocking=False):
            self._start(self._token)

    def run_once(self) -> None:
        """Do a step here if there is no thread: an interpreter that ends starts no new ones."""
        token = self._token
        # A thread that is being started has it: two steps at a time would get into each other's way.
        if token.acquire(blocking=False):
            try:
                with guard():
                    self._step()
            finally:
                token.release()
            if self._woken.is_set():
                self.wake()

    def stop(self) -> None:
        """Let the thread end after the step that it is in."""
        self._stopping = True
        self._urgent.set()
        self._woken.set()

    def _reset(self) -> None:
        self._woken = Signal()
        self._urgent = Signal()
        #: Held by the thread that runs, or by whoever starts it.
        self._token = _thread.allocate_lock()
        self._stopping = False
        self._thread = None
        self._failed = False  # it could not be started

    def _start(self, token: _thread.LockType) -> None:
        started = False
        try:
            # `Thread.start` takes locks of `threading` that the interrupted thread may hold: not here.
            _thread.start_new_thread(self._start_thread, (token,))
            started = True
        except RuntimeError:
            pass  # no more threads, or the interpreter ends: whoever wakes it next tries again
        finally:
            if not started:
                self._failed = True
                token.release()

    def _start_thread(self, token: _thread.LockType) -> None:
        # A daemon: a process must be able to end while LangSmith is not answering.
        thread = threading.Thread(target=self._run, args=(token,), name=self._name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            self._failed = True
            token.release()

    def _run(self, token: _thread.LockType) -> None:
        self._thread = threading.current_thread()
        try:
            while True:
                failed = True
                while failed:
                    # Each step has a guard of its own. Between them there may be no memory.
                    with guard():
                        self._work()
                        failed = False
                    if failed:
                        time.sleep(_AFTER_FAILURE)
                        with guard():
                            self._woken.set()
                self._thread = None
                token.release()
                # Woken since it was last looked at: by now somebody else may have started another thread.
                if self._stopping or not self._woken.is_set() or not token.acquire(blocking=False):
                    return
                self._thread = threading.current_thread()
        except BaseException:
            self._thread = None
            token.release()
            raise

    def _work(self) -> None:
        delay: float | None = None
        while not self._stopping:
            woken = self._woken.wait(self._idle_seconds if delay is None else delay)
            if not woken and delay is None:
                return
            if woken and self._batch_delay:
                self._urgent.wait(self._batch_delay)
            self._urgent.wait(0)
            # What goes wrong once may go wrong again at once: not in a busy loop.
            delay = 1.0
            with guard():
                delay = self._step()
            _start_those_that_failed()


def _start_those_that_failed() -> None:
    with contextlib.suppress(RuntimeError):  # another one was made meanwhile: after the next step, then
        for loop in list(_loops):
            if loop._failed:  # noqa: SLF001
                loop._failed = False  # noqa: SLF001
                loop.wake()


def _after_fork() -> None:
    # Threads do not live on in a child, and a lock may be as the fork found it.
    for loop in list(_loops):
        loop._reset()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
