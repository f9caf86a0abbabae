"""Joins the fragments of a transcript to runs of words.

OpenAI Live has no turns, no items and no end of a transcript: the words of both sides come as fragments with start
and end on the session's time line. Fragments of both sides overlap, and some come late. The rules:

- A run is words of one side without a gap of 700 ms on the session's time line. When the fragments arrive does not
  matter, nor what the other side says meanwhile.
- A run is over when the same side continues after such a gap, when the time line has moved so far that no late fragment
  can be expected, or when the session ends.
- Its place in the transcript is that of its first word.
- Fragments are joined without a separator: they contain their spaces.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Event, LocalId, MessageAdded, Role, TranscriptCompleted

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Milliseconds of the session's time line without words that end a run.
GAP_MS = 700
#: How late a fragment may come, in milliseconds of the same line.
_LATEST_MS = 3_000
_MS = 1_000_000
#: Characters of one run that are kept.
_LONGEST = 200_000
#: So many runs are remembered: where a late one belongs, what overlapped, what a task was about.
_MOST_REMEMBERED = 64


@dataclass(slots=True)
class Run:
    """Words of one side."""

    role: Role
    event_type: str
    started_at: int
    start_ms: int
    end_ms: int
    id: LocalId = field(default_factory=lambda: LocalId.new("run"))
    last_at: int = 0
    #: It has a place in the transcript: something was said, not only white space.
    placed: bool = False
    pieces: list[str] = field(default_factory=list)
    length: int = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()


class Runs:
    """Those of one session."""

    def __init__(self) -> None:
        self._open: dict[str, Run] = {}
        #: In the order of their starts, the newest, open or over.
        self._known: list[Run] = []
        self._now_ms = 0
        self._asked_ms = -1
        #: When the time line began, in nanoseconds: no word is told before it is spoken.
        self._began_at: int | None = None

    def fragment(
        self, role: Role, event_type: str, words: str, times: tuple[int | None, int | None], at: int
    ) -> Iterator[Event]:
        """A piece of what one side says."""
        start, end = times
        run = self._open.get(role)
        if run is not None and start is not None and not _belongs(run, start, end):
            yield from self._close(run)
            run = None
        if run is None:
            start = self._now_ms if start is None else start
            run = self._open[role] = Run(role, event_type, at, start, start)
        if run.length < _LONGEST:
            run.pieces.append(words)
            run.length += len(words)
        run.last_at = at
        run.start_ms = min(run.start_ms, run.start_ms if start is None else start)
        run.end_ms = max(run.end_ms, end or start or 0)
        began_at = at - run.end_ms * _MS
        self._began_at = began_at if self._began_at is None else min(self._began_at, began_at)
        if not run.placed and words.strip():
            run.placed = True
            yield self._place(run, at)
        yield from self.advance(run.end_ms)

    def advance(self, now_ms: int | None) -> Iterator[Event]:
        """The time line is there, or farther."""
        self._now_ms = max(self._now_ms, now_ms or 0)
        for run in list(self._open.values()):
            if run.end_ms + GAP_MS + _LATEST_MS < self._now_ms:
                yield from self._close(run)

    def close(self) -> Iterator[Event]:
        """The session is over, or the connection: nothing more of it will come."""
        for run in list(self._open.values()):
            yield from self._close(run)

    def said_until(self, ms: int | None) -> list[dict[str, Any]]:
        """The messages of what was said before `ms` and after the `ms` of the task before: what a task is about."""
        return [
            {"role": run.role, "content": run.text}
            for run in self._known
            if run.end_ms > self._asked_ms and (ms is None or run.start_ms <= ms)
        ]

    def asked(self, ms: int | None) -> None:
        """What was said until then is another task's."""
        self._asked_ms = max(self._asked_ms, self._now_ms if ms is None else ms)

    def _place(self, run: Run, at: int) -> MessageAdded:
        index = bisect_right([each.start_ms for each in self._known], run.start_ms)
        following = self._known[index].id if index < len(self._known) else None
        self._known.insert(index, run)
        if len(self._known) > _MOST_REMEMBERED:
            del self._known[0]
        return MessageAdded(at, run.event_type, run.id, run.role, given=False, before=following)

    def _close(self, run: Run) -> Iterator[Event]:
        del self._open[run.role]
        text = run.text
        if not text:
            return
        overlap = sum(
            max(min(run.end_ms, other.end_ms) - max(run.start_ms, other.start_ms), 0)
            for other in self._known
            if other.role != run.role
        )
        facts = {
            "start_ms": run.start_ms,
            "end_ms": run.end_ms,
            "overlap_ms": overlap or None,
            # The service has no turns: only the gap shows where one utterance ends and the next begins.
            "segmentation": "inferred",
        }
        yield TranscriptCompleted(
            run.last_at,
            run.event_type,
            run.role,
            run.id,
            run.started_at,
            text,
            facts=facts,
            answers=self._answers(run),
        )

    def _answers(self, run: Run) -> tuple[int, int] | None:
        """When the user's words ended that a run answers, and when the run began; None: it goes on, or is said into them."""
        before = [
            each for each in self._known if each is not run and each.start_ms < run.start_ms and each.text
        ]
        if run.role == "user" or not before or before[-1].role != "user" or self._began_at is None:
            return None
        ended_ms = max(each.end_ms for each in before)
        if before[-1].end_ms < ended_ms or ended_ms > run.start_ms:
            return None
        return self._began_at + ended_ms * _MS, self._began_at + run.start_ms * _MS


def _belongs(run: Run, start: int, end: int | None) -> bool:
    """Whether a fragment with these times is part of a run: no gap lies between them, on either side."""
    return start - run.end_ms < GAP_MS and run.start_ms - (start if end is None else end) < GAP_MS
