"""Copies of recordings that are made in the background: an event loop must not wait for a disk."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from voicespan.runtime.background import Loop
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable


class PendingCopy:
    """A recording that is being copied."""

    def __init__(self) -> None:
        self._done = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the recording is copied, or cannot be, at most `timeout` seconds; whether it is over."""
        return self._done.wait(timeout)

    def finish(self) -> None:
        """It is copied, or cannot be."""
        self._done.set()


class RecordingCopies:
    """Does what is put here one after the other, in a thread of its own."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._working = False
        self.loop = Loop("voicespan-export", self.step)

    def put(self, copy: Callable[[], None]) -> None:
        """Have `copy` called soon. Never waits."""
        self._waiting.append(copy)
        self.loop.wake()

    @property
    def pending(self) -> bool:
        """Whether something is not copied yet."""
        return self._working or bool(self._waiting)

    def step(self) -> float | None:
        """Make the next copy; seconds until the one after it."""
        # In this order, so that there is no time at which neither says so.
        self._working = True
        try:
            if self._waiting:
                with guard():
                    self._waiting.popleft()()
        finally:
            self._working = False
        return 0.0 if self._waiting else None

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's."""
        self._waiting.clear()
        self._working = False
