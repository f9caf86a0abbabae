"""Copies of recordings that are made in the background: an event loop must not wait for a disk."""

from __future__ import annotations

import contextlib
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
        #: Each with what is called instead where it is never made.
        self._waiting: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()
        self._working = False
        self._stopped = False
        self.loop = Loop("voicespan-export", self.step)

    def put(self, copy: Callable[[], None], discard: Callable[[], None]) -> None:
        """Have `copy` called soon; `discard` where it is stopped before. Never waits."""
        self._waiting.append((copy, discard))
        if self._stopped:
            self._discard_all()
        else:
            self.loop.wake()

    def stop(self) -> None:
        """Let the thread end after the copy that it makes. What waits is closed, and never copied."""
        self._stopped = True
        self.loop.stop()
        self._discard_all()

    def _discard_all(self) -> None:
        while self._waiting:
            with guard(), contextlib.suppress(IndexError):  # the thread has taken it
                self._waiting.popleft()[1]()

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
                with guard(), contextlib.suppress(IndexError):  # it has been stopped
                    copy, _ = self._waiting.popleft()
                    copy()
        finally:
            self._working = False
        return 0.0 if self._waiting else None

    def reset_after_fork(self) -> None:
        """In a forked child: they are the parent's, which has files of its own open."""
        self._discard_all()
        self._working = False
