"""What has happened in a conversation and is not written yet.

To write a span takes longer than all the rest that is done for a frame, and the thread that reads frames has to
hand them over. So what a frame tells is noted, and written some milliseconds later by one thread for all
conversations, in the order and with the times in which it happened. What cannot wait is written at once: whoever
needs to see it calls `EventQueue.flush`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from voicespan.runtime import fork
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guarded, report
from voicespan.runtime.pacing import paced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicespan.protocol.events import Event

#: How long the thread waits for more when it has been woken up, and over how long it spreads what came: to wake a
#: thread for each frame of hundreds of conversations costs more than to write their spans.
_SECONDS = 0.02
#: With more than this the thread that adds to them writes them itself.
_MOST_WAITING = 256


class EventQueue:
    """Of one conversation; `write` takes what a frame told, and the frame."""

    def __init__(self, write: Callable[[Sequence[Event], Any], None]) -> None:
        self._write = write
        #: Held while something is written. Whoever needs the conversation's own lock as well takes this one first:
        #: what hears of a span (a processor, a hook) may use the conversation.
        self.lock = threading.RLock()
        self._waiting: deque[tuple[Sequence[Event], Any]] = deque()
        self._announced = False

    @property
    def is_full(self) -> bool:
        """Whether too much waits."""
        return len(self._waiting) > _MOST_WAITING

    def put(self, told: Sequence[Event], frame: Any) -> None:
        """Have it written soon, after what was added before it."""
        self._waiting.append((told, frame))
        if not self._announced:
            self._announced = True
            _span_thread.announce(self)

    def flush(self, patience: float = -1) -> None:
        """Write all that waits. Not while the conversation's own lock is held.

        `patience`: seconds to wait for another thread that writes; negative: as long as it takes.
        """
        if not self.lock.acquire(timeout=patience):
            return
        try:
            while self._waiting:
                self._write_one()
        finally:
            self.lock.release()

    def write_one(self) -> bool:
        """Write the oldest; whether another one waits."""
        with self.lock:
            if self._waiting:
                self._write_one()
        if not self._waiting:
            self._announced = False
            # Another thread may have added something before it could see that.
            self._announced = bool(self._waiting)
        return self._announced

    def close(self) -> None:
        """The conversation is over: what it refers to must not refer to it, or it waits for a garbage collection."""
        self._write = _nobody

    @guarded
    def _write_one(self) -> None:
        self._write(*self._waiting.popleft())


def _nobody(_moments: Sequence[Event], _frame: Any) -> None:
    """Take what comes too late."""


class SpanThread:
    """The thread that writes what waits, of all conversations by turns."""

    def __init__(self) -> None:
        self.reset_after_fork()
        fork.register(self)

    def reset_after_fork(self) -> None:
        """Begin anew: in a forked child the thread is gone."""
        self._due: deque[EventQueue] = deque()
        self._awake = threading.Event()
        self._starting = threading.Lock()
        self._runs = False

    def announce(self, queue: EventQueue) -> None:
        """Something waits in `queue`."""
        self._due.append(queue)
        if not self._awake.is_set():
            self._awake.set()
        if not self._runs:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._runs:
                return
            self._runs = True
            thread = threading.Thread(target=self._run, name="voicespan-spans", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The process exits, or may have no more threads: what waits is written when its conversation ends,
                # or when too much does.
                self._runs = False

    def _run(self) -> None:
        try:
            while True:
                if not self._due:
                    self._awake.wait()
                    time.sleep(_SECONDS)
                self._awake.clear()
                self._write_each()
        finally:
            self._runs = False

    def _write_each(self) -> None:
        paced(range(len(self._due)), self._write_one, _SECONDS, SYSTEM)

    def _write_one(self, _: int) -> None:
        queue = self._due.popleft()
        more = True
        try:
            more = queue.write_one()
        except Exception:
            raise  # the guard's, in our own tests
        except BaseException as error:  # noqa: BLE001  a hook that wants to exit, in a thread that has nowhere to go
            report(error, ours=False)
        if more:
            self._due.append(queue)


_span_thread = SpanThread()
