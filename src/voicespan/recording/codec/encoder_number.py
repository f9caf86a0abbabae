"""The descriptors that libsndfile knows: one for all files of a kind, whichever of them is written just now.

libsndfile keeps the number of the descriptor that it was opened with, and an encoder cannot be stopped and opened
again. So that a recording need not have a descriptor for as long as it lasts, the number that its encoder knows belongs
to none: before each use it is made to lead to the file (`dup2`). In between it leads nowhere, or to the last file.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from voicespan.runtime import fork

if TYPE_CHECKING:
    from collections.abc import Iterator


class EncoderNumber:
    """A number that leads to one file at a time."""

    def __init__(self) -> None:
        self._number = -1
        self._nowhere = -1
        self._target: object = None
        self.lock = threading.RLock()
        fork.register(self)

    def make(self) -> None:
        """Have the number: from then on it takes no descriptor to use it.

        Raises:
            OSError: there is no descriptor left.
        """
        with self.lock:
            if self._nowhere < 0:
                self._nowhere = os.open(os.devnull, os.O_RDWR)
            if self._number < 0:
                self._number = os.dup(self._nowhere)

    def leading_to(self, target: object, descriptor: int) -> _Lead:
        """The number, which leads to `descriptor` meanwhile. `target`: that descriptor and no other."""
        return _Lead(self, target, descriptor)

    def lead(self, target: object, descriptor: int) -> int:
        """See `leading_to`. The lock is held."""
        if self._target is not target:
            os.dup2(descriptor, self._number, inheritable=False)
            self._target = target
        return self._number

    @contextlib.contextmanager
    def leading_nowhere(self) -> Iterator[None]:
        """What is written meanwhile is not written anywhere."""
        with self.lock:
            self._lead_nowhere()
            yield

    def forget(self, target: object) -> None:
        """The descriptor is closed, and its file may be removed."""
        with self.lock:
            if self._target is target:
                self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        self._target = None
        if self._number >= 0:
            os.dup2(self._nowhere, self._number, inheritable=False)

    def reset_after_fork(self) -> None:
        """In a forked child: the files are the parent's. Its number is its own."""
        self.lock = threading.RLock()
        self._lead_nowhere()


class _Lead:
    """See `EncoderNumber.leading_to`. No generator: each block of each recording comes by here."""

    __slots__ = ("_descriptor", "_lock", "_number", "_target")

    def __init__(self, number: EncoderNumber, target: object, descriptor: int) -> None:
        self._number = number
        self._target = target
        self._descriptor = descriptor

    def __enter__(self) -> int:
        self._lock = self._number.lock
        self._lock.acquire()
        try:
            return self._number.lead(self._target, self._descriptor)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()


#: Of recordings, and of what they are encoded to: neither of the two threads waits for the other.
RECORDINGS = EncoderNumber()
ENCODED = EncoderNumber()
