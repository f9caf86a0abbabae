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
        self._lock = threading.RLock()
        fork.register(self)

    def make(self) -> None:
        """Have the number: from then on it takes no descriptor to use it.

        Raises:
            OSError: there is no descriptor left.
        """
        with self._lock:
            if self._nowhere < 0:
                self._nowhere = os.open(os.devnull, os.O_RDWR)
            if self._number < 0:
                self._number = os.dup(self._nowhere)

    @contextlib.contextmanager
    def leading_to(self, target: object, descriptor: int) -> Iterator[int]:
        """The number, which leads to `descriptor` meanwhile. `target`: that descriptor and no other."""
        with self._lock:
            if self._target is not target:
                os.dup2(descriptor, self._number, inheritable=False)
                self._target = target
            yield self._number

    @contextlib.contextmanager
    def leading_nowhere(self) -> Iterator[None]:
        """What is written meanwhile is not written anywhere."""
        with self._lock:
            self._lead_nowhere()
            yield

    def forget(self, target: object) -> None:
        """The descriptor is closed, and its file may be removed."""
        with self._lock:
            if self._target is target:
                self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        self._target = None
        if self._number >= 0:
            os.dup2(self._nowhere, self._number, inheritable=False)

    def reset_after_fork(self) -> None:
        """In a forked child: the files are the parent's. Its number is its own."""
        self._lock = threading.RLock()
        self._lead_nowhere()


#: Of recordings, and of what they are encoded to: neither of the two threads waits for the other.
RECORDINGS = EncoderNumber()
ENCODED = EncoderNumber()
