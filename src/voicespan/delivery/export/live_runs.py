"""A folder's conversation as runs that LangSmith has while it is going on: which were created, and where each stands.

What always holds:

1. A run is created before anything below it: with its own batch where it has ended, else by an *opening*, which is
   written down first and completed by the batch that its span comes with.
2. What a request says depends on what is written down and on the journal up to its batch, and on nothing else. So it
   is the same again, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding import langsmith_spans, runs
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.export import requests
from voicespan.delivery.export.delivery_state import Batch
from voicespan.delivery.spool.folder import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from voicespan.delivery.export.delivery_state import DeliveryState
    from voicespan.delivery.export.live_state import LiveRuns
    from voicespan.delivery.spool.folder import Folder

#: So deep no tree is: what is deeper goes in a circle.
_DEEPEST = 64


class Enveloped(NamedTuple):
    """A span as it stands in a journal, and what it shares with others."""

    envelope: Envelope
    span: Span


class Tree:
    """Where the spans of one batch stand in their tree."""

    def __init__(self, folder: Folder, live: LiveRuns, batch: Batch, spans: Iterable[Span]) -> None:
        self._folder = folder
        self._live = live
        self._batch = batch
        self._own = {span.span_id.hex(): span for span in spans}
        #: Those that ended before the batch; None: nobody asked.
        self._before: dict[str, Span] | None = None

    def place(self, span: Span) -> runs.Place:
        """Where `span` stands. What is below a span that nobody has stands below the root."""
        span_id = span.span_id.hex()
        known = self._live.order_of(span_id)
        if span_id == self._live.root:
            return runs.Place(self._live.root, None, known or runs.segment(span))
        above = self._above(span)
        parent = above[0].span_id.hex() if above else span.parent_span_id.hex()
        if not above and self._live.order_of(parent) is None:
            parent = self._live.root
        top = above[-1].parent_span_id.hex() if above else parent
        order = self._live.order_of(top) or self._live.order_of(self._live.root) or ""
        order = ".".join([order, *(runs.segment(each) for each in reversed(above)), runs.segment(span)])
        return runs.Place(self._live.root, parent, known or order)

    def _above(self, span: Span) -> list[Span]:
        """What is between `span` and what was created by an opening, from below."""
        above: list[Span] = []
        while len(above) < _DEEPEST:
            parent = (above[-1] if above else span).parent_span_id.hex()
            if parent in (self._live.root, "") or self._live.order_of(parent) is not None:
                break
            found = self._own.get(parent) or self._ended_before(parent)
            if found is None:
                break
            above.append(found)
        return above

    def _ended_before(self, span_id: str) -> Span | None:
        if self._before is None:
            # Rare: what ends after its parent does is mostly a task that nobody awaited.
            self._before = {span.span_id.hex(): span for span in journaled(self._folder, self._batch)}
        return self._before.get(span_id)


def cut(
    folder: Folder, progress: DeliveryState, live: LiveRuns, comes: Callable[[str], bool] = lambda _: False
) -> None:
    """Cut what the journals hold and no batch does, with an opening before whatever needs one.

    `comes` says of a span (by its id) that is not found whether it will be: what is below it waits then.
    """
    for batch in requests.uncut(folder, progress):
        missing, held = _missing(folder, live, batch, comes)
        part = batch if held is None else requests.shortened(folder, batch, held)
        if missing and part is not None:
            tree = Tree(folder, live, batch, [each.span for each in missing])
            for each in missing:
                run = runs.opened(each.span, tree.place(each.span), each.envelope.resource, live.project)
                live.opened[each.span.span_id.hex()] = run
            progress.batches.append(Batch.opening(batch, [each.span.span_id.hex() for each in missing]))
        if part is not None:
            ids = (span.span_id.hex() for _, span in _records(folder, part))
            part.completes = [span_id for span_id in ids if span_id in live.opened]
            progress.batches.append(part)
            progress.cut[part.segment] = part.end
        if held is not None:
            return


def _missing(
    folder: Folder, live: LiveRuns, batch: Batch, comes: Callable[[str], bool]
) -> tuple[list[Enveloped], int | None]:
    """The spans above those of `batch` that no request has created yet, from above, and where the batch has to end.

    They are open, or ended after those: both is found in the folder.
    """
    records = list(_records(folder, batch))
    own = {span.span_id.hex() for _, span in records}
    found: dict[str, Enveloped] = {}
    elsewhere: _Elsewhere | None = None
    for start, span in records:
        line: list[Enveloped] = []
        parent = span.parent_span_id.hex()
        while len(line) < _DEEPEST and not (parent in own or parent in found or live.has(parent)):
            elsewhere = elsewhere or _Elsewhere(folder, batch)
            if parent in elsewhere.before:
                break
            there = elsewhere.found.get(parent)
            if there is None:
                if comes(parent):
                    return list(found.values()), start
                live.leave_out(parent)
                break
            line.append(there)
            parent = there.span.parent_span_id.hex()
        found.update((each.span.span_id.hex(), each) for each in reversed(line))
    return list(found.values()), None


def _records(folder: Folder, batch: Batch) -> Iterator[tuple[int, Span]]:
    """Each span of a batch, and where it begins."""
    for record in folder.records(batch.segment, batch.start, batch.end):
        if record.kind is Kind.SPAN:
            yield record.start, Span.FromString(record.payload)


class _Elsewhere:
    """What the folder has beside one batch."""

    def __init__(self, folder: Folder, batch: Batch) -> None:
        #: Those that ended before it.
        self.before = {span.span_id.hex() for span in journaled(folder, batch)}
        #: All that is not the root, by id: as it was open, or as it ended.
        self.found: dict[str, Enveloped] = {}
        for envelope, span in langsmith_spans.renamed(langsmith_spans.split(folder.files.read(OPEN) or b"")):
            self.found[span.span_id.hex()] = Enveloped(envelope, span)
        envelope = Envelope(b"", b"")
        for segment in folder.segments():
            for record in folder.records(segment):
                if record.kind is Kind.ENVELOPE:
                    envelope = Envelope.of(record.payload)
                else:
                    span = Span.FromString(record.payload)
                    self.found[span.span_id.hex()] = Enveloped(envelope, span)


def journaled(folder: Folder, until: Batch) -> Iterator[Span]:
    """What the journals hold before `until` begins."""
    for segment in folder.segments():
        if segment > until.segment:
            return
        end = until.start if segment == until.segment else None
        for record in folder.records(segment, 0, end):
            if record.kind is Kind.SPAN:
                yield Span.FromString(record.payload)
