"""The events of a conversation that are not yet written as spans.

Writing a span takes longer than everything else that is done for a frame, and the thread that reads frames should
not wait for it. So events are put into a queue, and one thread for all conversations (`voicespan-spans`) writes
them some milliseconds later, in their order and with their own times. Where the application needs the spans now,
`EventQueue.flush` writes them at once.

What always holds:

1. The users' code (span processors, hooks) runs under `EventQueue.lock` and under no other lock of ours. It is the
   outermost lock: whoever holds a lifecycle's lock does not take it.
2. Nobody waits for it without a bound. A hook that hangs costs the spans of its own conversation and the thread that
   called it, and nothing else: another thread continues with the other conversations.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from voicespan.protocol.events import (
    FunctionAnswered,
    FunctionAnswerSent,
    FunctionCalled,
    FunctionCancelled,
    OperationEnded,
    OperationStarted,
)
from voicespan.protocol.stages import ToolEnded, ToolStarted
from voicespan.runtime import fork
from voicespan.runtime.background import Loop
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.guard import guarded, report
from voicespan.runtime.pacing import paced
from voicespan.tracing import resumption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from voicespan.protocol.events import Event

#: How long the thread waits for more when it has been woken up, and over how long it spreads what came: to wake a
#: thread for each frame of hundreds of conversations costs more than to write their spans.
_SECONDS = 0.02
#: With more than this the thread that adds to them writes them itself.
_MOST_WAITING = 256
#: Seconds for which a thread waits while another one writes. After a wait in vain nobody waits, until it is over.
PATIENCE = 1.0
#: After so many seconds with one span a thread is held up by a hook, and the next one goes on. So many there are at most.
_HELD_UP = 0.1
_MOST_THREADS = 4
#: Seconds for which the events of one conversation are written before it is another one's turn.
_AT_ONCE = 1e-3
#: They move what is current: the application's spans may start as soon as it has the frame.
FLUSH_NOW = frozenset(
    {
        FunctionCalled,
        FunctionAnswered,
        FunctionAnswerSent,
        FunctionCancelled,
        OperationStarted,
        OperationEnded,
        ToolStarted,
        ToolEnded,
    }
)


@contextlib.contextmanager
def acquired(lock: threading.RLock, patience: float) -> Iterator[bool]:
    """Hold the lock, if it comes within so many seconds.

    Background threads wait for none without a bound: a signal's handler may have interrupted the thread that holds it,
    and wait for them.
    """
    held = lock.acquire(timeout=patience)
    try:
        yield held
    finally:
        if held:
            lock.release()


class Writer(Protocol):
    """Writes the spans of a conversation."""

    def write(self, events: Sequence[Event], frame: Any) -> None:
        """Write the spans of `events`, which came in `frame`."""


class EventQueue:
    """Of one conversation."""

    def __init__(self, writer: Writer) -> None:
        self._writer: Writer | None = writer
        #: Held while something is written.
        self.lock = threading.RLock()
        self._waiting: deque[tuple[Sequence[Event], Any]] = deque()
        self._announced = False
        self._is_stuck = False
        self._last: Callable[[], None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether too much waits."""
        return len(self._waiting) > _MOST_WAITING

    def put(self, events: Sequence[Event], frame: Any) -> None:
        """Have them written soon, after what was added before."""
        self._waiting.append((events, frame))
        if not self._announced:
            self._announced = True
            _span_thread.announce(self)

    def flush(self, patience: float = PATIENCE) -> None:
        """Write all that waits. Not while the lifecycle's lock is held.

        `patience`: seconds to wait for another thread that writes.
        """
        if not self._acquire(patience):
            return
        try:
            while self._waiting:
                self._write_one()
        finally:
            self.lock.release()

    @contextlib.contextmanager
    def held(self, patience: float = PATIENCE) -> Iterator[bool]:
        """Hold the lock and have everything written. False: another thread writes, and it is not held."""
        if not self._acquire(patience):
            yield False
            return
        try:
            while self._waiting:
                self._write_one()
            yield True
        finally:
            self.lock.release()

    @contextlib.contextmanager
    def looked_at(self, patience: float) -> Iterator[bool]:
        """Hold the lock, and write nothing: that may hang in a hook of the application's, and is for others to do.

        False: another thread writes, and it is not held.
        """
        if not self._acquire(patience):
            yield False
            return
        try:
            yield True
        finally:
            self.lock.release()

    def finish(self, last: Callable[[], None]) -> None:
        """Call `last` with the lock held: here, or, if another thread writes for too long, once that is over."""
        if self._acquire(PATIENCE):
            try:
                last()
            finally:
                self.lock.release()
        else:
            self._last = last
            _span_thread.announce(self)

    def write_some(self) -> bool:
        """Write the oldest, for a millisecond; whether there is more. Where another thread writes there may be."""
        if not self.lock.acquire(timeout=0):
            return True
        try:
            if self._waiting:
                until = time.monotonic() + _AT_ONCE
                self._write_one()
                while self._waiting and time.monotonic() < until:
                    self._write_one()
            elif self._last is not None:
                last, self._last = self._last, None
                last()
        finally:
            self.lock.release()
        if not self._waiting:
            self._announced = False
            # Another thread may have added something before it could see that.
            self._announced = bool(self._waiting)
        return self._announced or self._last is not None

    def close(self) -> None:
        """The conversation is over: what it refers to must not refer to it, or it waits for a garbage collection."""
        self._writer = None

    def _acquire(self, patience: float) -> bool:
        acquired = self.lock.acquire(timeout=0 if self._is_stuck else patience)
        if acquired or patience >= PATIENCE:
            self._is_stuck = not acquired
        return acquired

    @guarded
    def _write_one(self) -> None:
        events, frame = self._waiting.popleft()
        # What comes too late is dropped.
        if self._writer is not None:
            self._writer.write(events, frame)


class SpanThread:
    """The thread that writes what waits, of all conversations by turns, and ends the waits for a resumption.

    Where a hook of the users' holds it up, another one goes on for the other conversations.
    """

    def __init__(self) -> None:
        self._loops = [
            Loop("voicespan-spans", partial(self._step, number), batch_delay=_HELD_UP if number else _SECONDS)
            for number in range(_MOST_THREADS)
        ]
        self.reset_after_fork()
        fork.register(self)

    def reset_after_fork(self) -> None:
        """Begin anew: in a forked child what waits is the parent's."""
        self._due: deque[EventQueue] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        #: Since when each thread is busy with one conversation, in seconds; 0: it is not.
        self._busy_since = [0.0] * _MOST_THREADS

    def announce(self, queue: EventQueue) -> None:
        """Something waits in `queue`."""
        self._due.append(queue)
        self.wake()

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called: for who must not take a lock, or has no thread of its own."""
        self._calls.append(function)
        self.wake()

    def wake(self) -> None:
        """Something waits, or somebody waits for a resumption."""
        for loop, since in zip(self._loops, self._busy_since, strict=True):
            loop.wake()
            if not since:
                return

    def _step(self, number: int) -> float | None:
        busy_since = self._busy_since
        if number:
            before = busy_since[number - 1]
            if not before or time.monotonic() - before < _HELD_UP:
                # It is busy, and not held up: looked at once more while something waits.
                return _HELD_UP if before and self._due else None
        busy_since[number] = time.monotonic()
        try:
            return self._write_due(number)
        finally:
            busy_since[number] = 0.0

    def _write_due(self, number: int) -> float | None:
        while True:
            while self._calls:
                self._try(self._next_call)
            self._try(resumption.give_up_due)
            if not self._due:
                # The other threads are not needed any more.
                return None if number else resumption.next_in()
            if len(self._due) > 1 and number + 1 < _MOST_THREADS:
                self._loops[number + 1].wake()
            paced(range(len(self._due)), partial(self._write_one, number), _SECONDS, SYSTEM)

    def _next_call(self) -> None:
        try:
            function = self._calls.popleft()
        except IndexError:  # another thread has taken it
            return
        function()

    def _write_one(self, number: int, _: int) -> None:
        self._busy_since[number] = time.monotonic()
        try:
            queue = self._due.popleft()
        except IndexError:  # as above
            return
        more = True
        try:
            more = queue.write_some()
        except Exception:
            raise  # the guard's, in our own tests
        except BaseException as error:  # noqa: BLE001  a hook that wants to exit, in a thread that has nowhere to go
            report(error, ours=False)
        if more:
            self._due.append(queue)

    def _try(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            raise  # as above
        except BaseException as error:  # noqa: BLE001  as above
            report(error, ours=False)


_span_thread = SpanThread()


def call_later(function: Callable[[], None]) -> None:
    """Have `function` called by the span thread."""
    _span_thread.call(function)


def watch_resumptions() -> None:
    """Have the span thread look again at who waits until when."""
    _span_thread.wake()
