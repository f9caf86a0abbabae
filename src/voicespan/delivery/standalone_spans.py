"""Spans that wait for no root: those that end after theirs, and with `export="all"` those of other traces.

They are collected for two seconds, a folder for each trace, and then sent like a conversation's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.delivery.encoding import runs
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.export.live_state import LiveRuns
from voicespan.delivery.spool.folder import PROGRESS
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from voicespan.delivery.spool.folder import Folder
    from voicespan.delivery.spool.meta import Meta
    from voicespan.delivery.spool.spool import SpoolTarget
    from voicespan.delivery.traces import Trace

#: How long they are collected, in seconds, and how many bytes of them.
_COLLECT_SECONDS = 2.0
_COLLECT_BYTES = 4_000_000


@dataclass(eq=False)
class _Entry:
    """A folder that collects."""

    folder: Folder
    close_at: float
    size: int = 0


class StandaloneSpans:
    """Writes them. Called by the thread of the spool's writer alone."""

    def __init__(self, target: SpoolTarget, on_complete: Callable[[Folder], None]) -> None:
        """`on_complete` takes each folder that is complete, locked."""
        self._target = target
        self._spool, self._encoder, self._clock = target.spool, target.encoder, target.clock
        self._on_complete = on_complete
        self._waiting: dict[Trace | None, list[ReadableSpan]] = {}
        self._entries: dict[Trace | None, _Entry] = {}
        #: Spans that there was no room for.
        self.dropped = 0

    def add(self, trace: Trace | None, span: ReadableSpan) -> None:
        """A span has ended; `trace`: whose root it comes after."""
        self._waiting.setdefault(trace, []).append(span)

    def write(self) -> None:
        """Write those that were added."""
        waiting, self._waiting = self._waiting, {}
        for trace, spans in waiting.items():
            with guard():
                self._write(trace, spans)

    def close_now(self) -> None:
        """Let nothing be collected any longer."""
        for entry in self._entries.values():
            entry.close_at = 0.0

    def close_due(self, now: float) -> float | None:
        """Hand on the folders that have collected for long enough; seconds until the next one has."""
        for trace, entry in list(self._entries.items()):
            if now >= entry.close_at or entry.size >= _COLLECT_BYTES:
                self._on_complete(entry.folder)
                del self._entries[trace]
        return min((entry.close_at - now for entry in self._entries.values()), default=None)

    def reset_after_fork(self) -> None:
        """In a forked child: what the parent was writing is the parent's."""
        self._waiting = {}
        self._entries = {}

    def _write(self, trace: Trace | None, spans: list[ReadableSpan]) -> None:
        entry = self._entries.get(trace)
        if entry is None:
            folder = self._spool.create(self._meta(trace))
            if trace is not None and trace.live:
                live = _beside(trace, self._target.destination["project"] or "")
                folder.files.replace(PROGRESS, DeliveryState(runs=live).encoded())
            entry = self._entries[trace] = _Entry(folder, self._clock.monotonic_ns() / 1e9 + _COLLECT_SECONDS)
        groups = (
            self._encoder.of(spans, None)
            if trace is None
            else self._encoder.of(spans, trace.thread_id, trace.place_copy)
        )
        for envelope, encoded in groups:
            self.dropped += self._spool.append(entry.folder, envelope, encoded)
            entry.size += sum(span.ByteSize() for span in encoded)

    def _meta(self, trace: Trace | None) -> Meta:
        now = self._clock.time_ns()
        if trace is None:
            return self._target.meta(now)
        return self._target.meta(now, trace_id=f"{trace.trace_id:032x}", after=trace.folder_name)


def _beside(trace: Trace, project: str) -> LiveRuns:
    """Where the runs of late spans stand, whose conversation was shown while it went on."""
    root = f"{trace.root_span_id:016x}"
    top = runs.segment_of(root, trace.started_at)
    known = {root: top}
    for span_id, start in trace.call_starts.items():
        known[f"{span_id:016x}"] = f"{top}.{runs.segment_of(f'{span_id:016x}', start)}"
    return LiveRuns(root, project, known=known)
