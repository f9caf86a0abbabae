"""A background thread that exists only once there is something to do."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING

from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable

_loops: weakref.WeakSet[Loop] = weakref.WeakSet()


class Loop:
    """Calls `step` whenever it is woken, and when the time comes that `step` named.

    All decisions are `step`'s: it is called with nothing and returns after how many seconds it wants to
    be called again, or None. So it can be tested without a thread.
    """

    def __init__(self, name: str, step: Callable[[], float | None], *, batch_delay: float = 0.0) -> None:
        """`linger`: seconds to wait after a wake-up for more of the same, unless it is urgent."""
        self._name = name
        self._step = step
        self._batch_delay = batch_delay
        self._thread: threading.Thread | None = None
        self._reset()
        _loops.add(self)

    def wake(self, *, urgent: bool = False) -> None:
        """Have `step` called soon; the first time starts the thread. Never waits."""
        if urgent:
            self._urgent.set()
        if not self._woken.is_set():
            self._woken.set()
        if self._thread is None:
            self._start()

    def run_once(self) -> None:
        """Do a step here if there is no thread: an interpreter that ends starts no new ones."""
        if self._thread is None:
            with guard():
                self._step()

    def stop(self) -> None:
        """Let the thread end after the step that it is in."""
        self._stopping = True
        self._urgent.set()
        self._woken.set()

    def _reset(self) -> None:
        self._woken = threading.Event()
        self._urgent = threading.Event()
        self._starting = threading.Lock()
        self._stopping = False
        self._thread = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._stopping:
                # A daemon: a process must be able to end while LangSmith is not answering.
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        delay: float | None = None
        while not self._stopping:
            if self._woken.wait(delay) and self._batch_delay:
                self._urgent.wait(self._batch_delay)
            self._woken.clear()
            self._urgent.clear()
            # What goes wrong once may go wrong again at once: not in a busy loop.
            delay = 1.0
            with guard():
                delay = self._step()


def _after_fork() -> None:
    # Threads do not live on in a child, and an event or a lock may be as the fork found it.
    for loop in list(_loops):
        loop._reset()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
