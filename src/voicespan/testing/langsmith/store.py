"""The runs that were received, and the trees that they make.

What always holds:

- A run is *shown* when its parents up to a root have been received, in whatever order that happened. Until
  then it waits, and after the window it is dropped without a word.
- An operation is one creation or one update of one run. It is taken once: a request with an operation that
  was taken before is refused whole.
- A finished run does not change: its first update is taken without effect.
- Everything happens under `changed`, and everybody who waits on it is told.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from voicespan.testing.langsmith import multipart
from voicespan.testing.langsmith.feedback import project_id
from voicespan.testing.langsmith.runs import Attachment, Dropped, Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicespan.runtime.clock import Clock
    from voicespan.testing.langsmith.multipart import Kind
    from voicespan.testing.langsmith.runs import Feedback

    #: What is taken once: a run's creation or its update.
    OperationKey = tuple[Kind, str]

_ID_LENGTH = 36
_US_PER_S = 1_000_000


@dataclass(frozen=True)
class Update:
    """An update that came before its run."""

    run_id: str
    fields: dict[str, Any] = field(repr=False)
    attachments: dict[str, Attachment] = field(repr=False)


@dataclass(frozen=True)
class _Waiting:
    since_ns: int
    what: Run | Update


class RunStore:
    """Builds the trees.

    Args:
        clock: By which the window passes.
        orphan_window_ns: How long a run waits for its parent.
        runs_per_trace: What one trace takes, its root included.
    """

    def __init__(self, clock: Clock, *, orphan_window_ns: int, runs_per_trace: int) -> None:
        self.changed = threading.Condition()
        self._clock = clock
        self._window = orphan_window_ns
        self._runs_per_trace = runs_per_trace
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self.changed:
            self.shown: dict[str, Run] = {}
            self.dropped: list[Dropped] = []
            self._taken: set[OperationKey] = set()
            self._received: Counter[OperationKey] = Counter()
            self._trace_sizes: Counter[str] = Counter()
            # By the run that is waited for: for a child its parent, for an update the run itself.
            self._waiting: dict[str, list[_Waiting]] = {}
            self._oldest_ns: int | None = None

    def take(self, operations: Iterable[OperationKey]) -> bool:
        """Claim these operations; False, and none is claimed, if one of them was received before."""
        keys = list(operations)
        with self.changed:
            self.expire()
            self._received.update(keys)
            if len(set(keys)) < len(keys) or not self._taken.isdisjoint(keys):
                return False
            self._taken.update(keys)
            return True

    def received_count(self, kind: Kind, run_id: str) -> int:
        """How often the operation came in requests that were not made to fail."""
        with self.changed:
            return self._received[kind, run_id]

    def add(self, runs: Iterable[Run]) -> None:
        """Show these runs, or let them wait for their parents."""
        with self.changed:
            for run in runs:
                self._place(_Waiting(self._clock.monotonic_ns(), run))
            self.changed.notify_all()

    def update(self, update: Update) -> None:
        """Update a run, now or when it comes."""
        with self.changed:
            self._place(_Waiting(self._clock.monotonic_ns(), update))
            self.changed.notify_all()

    def hear(self, feedback: Feedback) -> bool:
        """Add feedback to its run; False: that has not been received, or is in another project."""
        with self.changed:
            run = self.shown.get(feedback.run_id)
            if run is None or feedback.project_id not in (None, project_id(run.project)):
                return False
            run.feedback[feedback.id] = feedback
            self.changed.notify_all()
            return True

    def drop(self, dropped: Dropped) -> None:
        """Count something that is not shown."""
        with self.changed:
            self.dropped.append(dropped)

    def waiting(self) -> list[Run]:
        """The runs whose parent has not come yet."""
        with self.changed:
            self.expire()
            everything = [one.what for them in self._waiting.values() for one in them]
        return [what for what in everything if isinstance(what, Run)]

    def expire(self) -> None:
        """Drop what has waited longer than the window."""
        now = self._clock.monotonic_ns()
        with self.changed:
            if self._oldest_ns is None or now - self._oldest_ns <= self._window:
                return
            kept: dict[str, list[_Waiting]] = {}
            for awaited, them in self._waiting.items():
                for one in them:
                    if now - one.since_ns <= self._window:
                        kept.setdefault(awaited, []).append(one)
                    else:
                        self._forget(one.what)
            self._waiting = kept
            self._oldest_ns = min((one.since_ns for them in kept.values() for one in them), default=None)

    def _forget(self, what: Run | Update) -> None:
        # What is forgotten is not known any more: sent again, it is taken again.
        if isinstance(what, Run):
            self._taken.discard(("post", what.id))
            self.dropped.append(Dropped("orphan", what.id, what.name))
        else:
            self._taken.discard(("patch", what.run_id))
            self.dropped.append(Dropped("orphan", what.run_id, "update"))

    def _place(self, arrived: _Waiting) -> None:
        """Show what arrived if it can be shown, and then everything that has waited for it."""
        arrivals = deque([arrived])
        while arrivals:
            one = arrivals.popleft()
            awaited = one.what.parent_run_id if isinstance(one.what, Run) else one.what.run_id
            if awaited is not None and awaited not in self.shown:
                self._waiting.setdefault(awaited, []).append(one)
                if self._oldest_ns is None or one.since_ns < self._oldest_ns:
                    self._oldest_ns = one.since_ns
            elif isinstance(one.what, Update):
                _apply(one.what, self.shown[one.what.run_id])
            elif self._show(one.what):
                arrivals.extend(self._waiting.pop(one.what.id, ()))

    def _show(self, run: Run) -> bool:
        parent = None if run.parent_run_id is None else self.shown[run.parent_run_id]
        trace_id = run.id if parent is None else parent.trace_id
        segment = _segment(run)
        derived = segment if parent is None else f"{parent.dotted_order}.{segment}"
        run.trace_id = run.trace_id or trace_id
        run.dotted_order = run.dotted_order or derived
        if run.trace_id != trace_id:
            self.dropped.append(Dropped("trace_id", run.id, run.name))
        elif _ids(run.dotted_order) != _ids(derived):
            self.dropped.append(Dropped("dotted_order", run.id, run.name))
        elif self._trace_sizes[trace_id] >= self._runs_per_trace:
            self.dropped.append(Dropped("over_limit", run.id, run.name))
        else:
            self._trace_sizes[trace_id] += 1
            self.shown[run.id] = run
            if parent is not None:
                bisect.insort(parent.children, run, key=lambda child: child.dotted_order)
            return True
        return False


def _apply(update: Update, run: Run) -> None:
    if run.end_ns is None:
        multipart.update(run, update.fields)
        run.attachments.update(update.attachments)


def _segment(run: Run) -> str:
    seconds, microseconds = divmod(run.start_ns // 1000, _US_PER_S)
    start = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{start:%Y%m%dT%H%M%S}{microseconds:06}Z{run.id}"


def _ids(dotted_order: str) -> list[str]:
    return [segment[-_ID_LENGTH:] for segment in dotted_order.split(".")]
