"""What is to become OpenTelemetry metrics, on its way to them.

Every room may put here what it sees: ended spans, a stalled stream, what was dropped. Without a meter provider nobody
listens, and `put` does nothing. Otherwise the thread `voicespan-metrics` records it (`voicespan.tracing.metrics`).
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from voicespan.runtime.background import Loop
from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.fork import register
from voicespan.runtime.guard import guard, guarded
from voicespan.runtime.pacing import paced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_logger = logging.getLogger("voicespan")

#: What waits for the thread. More means that the process has no time for it.
MOST_WAITING = 20_000
#: Seconds to wait for more of the same: a thread that wakes up for each span takes the GIL from the application.
_BATCH_DELAY = 0.1
#: What waits is recorded over so many seconds.
_SPREAD = 0.1
#: Seconds that an exiting process waits at most for each destination, until it has priced what has ended.
_AT_EXIT = 0.5


class EndedSpan(NamedTuple):
    """A span of ours has ended."""

    #: Of the SDK; one that is not recorded has no times and is ignored.
    span: Any
    #: Provider and model of the conversation, for spans that do not say it themselves.
    provider: Mapping[str, Any]
    is_root: bool = False


class CallCost(NamedTuple):
    """A conversation is over, and its price is known."""

    dollars: float
    attributes: Mapping[str, Any]
    #: Two destinations may each find it out.
    trace_id: int
    root_span_id: int


class LoopBlocked(NamedTuple):
    """A live stream stopped for so long, and then came in a burst: nobody had taken it."""

    seconds: float


class DroppedSpans(NamedTuple):
    """So many spans were not kept."""

    spans: int


class Waiting(Protocol):
    """A destination, as the gauge of what waits sees it."""

    def waiting(self) -> int:
        """How many conversations wait to be delivered. Takes no lock."""
        ...

    def catch_up(self, seconds: float) -> None:
        """Have what has ended priced; wait at most so many seconds."""


class Measurements:
    """A bounded queue with a thread that exists only while something is in it. `put` never waits."""

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._record: Callable[[object], None] | None = None
        self._missed = 0
        #: Held by who records. Nobody waits for it without a bound: under it the SDK's own locks are taken.
        self._recording = threading.Lock()
        self._waits_at_exit = False
        #: None: nobody listens.
        self._loop: Loop | None = None
        #: Where conversations wait.
        self.destinations: weakref.WeakSet[Waiting] = weakref.WeakSet()
        register(self)

    def listen(self, record: Callable[[object], None] | None) -> None:
        """From here on `record` is called with each; None: nobody wants them."""
        before, self._record = self._loop, record
        self._loop = (
            None if record is None else Loop("voicespan-metrics", self._step, batch_delay=_BATCH_DELAY)
        )
        if record is None:
            self._waiting = deque()
        if before is not None:
            before.stop()
        if record is not None and not self._waits_at_exit:
            self._waits_at_exit = True
            atexit.register(self._catch_up)

    @guarded
    def _catch_up(self) -> None:
        """The process ends. Called before the meter provider, which was there before, exports for the last time."""
        if self._loop is not None:
            for each in list(self.destinations):
                each.catch_up(_AT_EXIT)

    def span_ended(self, span: Any, provider: Mapping[str, Any], *, is_root: bool = False) -> None:
        """Have it recorded; see `EndedSpan`. Every span comes by here."""
        if self._loop is not None:
            self.put(EndedSpan(span, provider, is_root))

    def put(self, measured: object) -> None:
        """Have it recorded, if anybody listens. From any thread, a finaliser or a signal handler."""
        loop = self._loop
        if loop is None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._missed += 1
            return
        self._waiting.append(measured)
        loop.wake()

    def _step(self) -> None:
        # Hundreds of calls may end together, and the SDK takes long for each value.
        paced(range(len(self._waiting)), lambda _: self._record_one(0.0), _SPREAD, SYSTEM)
        self._say_what_is_missing()

    def drain(self, patience: float = 0.0) -> None:
        """Record all that waits; where another thread records, wait for it at most so many seconds."""
        while self._waiting and self._record_one(patience):
            pass
        self._say_what_is_missing()

    def _record_one(self, patience: float) -> bool:
        if not self._recording.acquire(timeout=patience):
            return False
        try:
            with guard():
                # One reading: who stops listening puts another one there.
                waiting, record = self._waiting, self._record
                measured = waiting.popleft() if waiting else None
                if record is not None:
                    record(measured)
            return True
        finally:
            self._recording.release()

    def _say_what_is_missing(self) -> None:
        missed, self._missed = self._missed, 0
        if missed:
            _logger.warning(
                "voicespan: %d spans are missing from the metrics: there were too many at once", missed
            )

    def reset_after_fork(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._waiting = deque()
        self._missed = 0
        self._recording = threading.Lock()


#: The process's own.
SHARED = Measurements()
