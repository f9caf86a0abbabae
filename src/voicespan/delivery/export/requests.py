"""The bodies of requests: ranges of a journal, and the root with its recording inside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding import langsmith_spans
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.encoding.protobuf import LARGEST_MESSAGE, Base64, Message, field
from voicespan.delivery.export.delivery_state import Batch, Encoding
from voicespan.delivery.spool.folder import ROOT
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicespan.delivery.encoding.protobuf import Part
    from voicespan.delivery.export.delivery_state import DeliveryState
    from voicespan.delivery.spool.folder import Folder, RecordingResult

#: A batch has at most so many bytes and spans, unless one span alone is larger.
BATCH_BYTES = 2_000_000
BATCH_SPANS = 500

#: LangSmith refuses names with a period.
ATTACHMENT_NAME = "conversation"

# Field numbers of opentelemetry.proto.
_REQUEST_RESOURCE_SPANS = 1
_RESOURCE_SPANS_SCOPE_SPANS = 2
_SCOPE_SPANS_SPANS = 2
_SPAN_ATTRIBUTES = 9
_KEY_VALUE_KEY = 1
_KEY_VALUE_VALUE = 2
_ANY_VALUE_STRING = 1


def cut(folder: Folder, progress: DeliveryState) -> bool:
    """Cut what the journals hold and no batch does; whether there was something."""
    new = uncut(folder, progress)
    for batch in new:
        progress.batches.append(batch)
        progress.cut[batch.segment] = batch.end
    return bool(new)


def uncut(folder: Folder, progress: DeliveryState) -> list[Batch]:
    """What the journals hold and no batch does, as batches."""
    return [
        batch
        for segment in folder.segments()
        for batch in _cut_segment(folder, segment, progress.cut.get(segment, 0))
    ]


def shortened(folder: Folder, batch: Batch, end: int) -> Batch | None:
    """The spans of `batch` that begin before `end`; None: there are none."""
    return next(_batches(folder, batch.segment, batch.start, end, batch.envelope, spans=batch.spans), None)


def halves(folder: Folder, batch: Batch) -> tuple[Batch, Batch]:
    """Two batches in the place of one that has several spans."""
    middle = batch.spans // 2
    if batch.opens:
        return Batch.opening(batch, batch.opens[:middle]), Batch.opening(batch, batch.opens[middle:])
    first, second = list(
        _batches(folder, batch.segment, batch.start, batch.end, batch.envelope, spans=middle)
    )[:2]
    rest = Batch(batch.segment, second.start, batch.end, second.envelope, batch.spans - first.spans)
    if batch.completes:
        ids = {Span.FromString(span).span_id.hex() for _, span in spans_of(folder, first)}
        first.completes = [span_id for span_id in batch.completes if span_id in ids]
        rest.completes = [span_id for span_id in batch.completes if span_id not in ids]
    return first, rest


def batch_body(folder: Folder, batch: Batch) -> Message:
    """The request of a batch: the same bytes every time."""
    groups: dict[Envelope, list[bytes]] = {}
    for envelope, span in spans_of(folder, batch):
        groups.setdefault(envelope, []).append(span)
    parts: list[Part] = []
    for envelope, spans in groups.items():
        encoded = [part for span in spans for part in field(_SCOPE_SPANS_SPANS, span)]
        parts += _wrap(envelope, encoded)
    return Message(parts)


def root_body(
    folder: Folder, progress: DeliveryState, settled: RecordingResult, *, hide_metadata: bool = False
) -> Message | None:
    """The request of the root, with the recording inside if `progress` says so.

    None: the recording is too large for any request.

    Raises:
        OSError: the recording cannot be read.
    """
    envelope, span = root_span(folder, progress, settled, hide_metadata=hide_metadata)
    recording = recording_of(progress, settled)
    content: list[Part] = [span.SerializeToString()]
    if recording is not None:
        content += _attachment(folder, recording, settled.mime_type)
    message = Message(_wrap(envelope, field(_SCOPE_SPANS_SPANS, *content)))
    return message if len(message) <= LARGEST_MESSAGE else None


def root_span(
    folder: Folder, progress: DeliveryState, settled: RecordingResult, *, hide_metadata: bool
) -> tuple[Envelope, Span]:
    """The root as it is sent now, and its envelope."""
    [(envelope, span)] = langsmith_spans.split(folder.files.read(ROOT) or b"")
    if not hide_metadata:
        _describe_recording(span, settled, progress)
        langsmith_spans.count_dropped(span, progress.lost)
    if progress.encoding is Encoding.NO_TRANSCRIPT:
        langsmith_spans.remove_transcript(span, progress.transcript_omitted or "too_large")
    return envelope, span


def recording_of(progress: DeliveryState, settled: RecordingResult) -> str | None:
    """The file that goes along with the root; None: none does."""
    return settled.file if settled.status == "attached" and progress.encoding.with_recording else None


def _describe_recording(root: Span, settled: RecordingResult, progress: DeliveryState) -> None:
    langsmith_spans.describe_recording(root, progress.recording_status or settled.status, settled.started_at)


def _attachment(folder: Folder, recording: str, mime_type: str) -> list[Part]:
    """The attribute that holds the recording: a JSON array with one object, its content as base64."""
    size = folder.files.size(recording)
    folder.files.open(recording).close()
    before = json.dumps(
        [{"name": ATTACHMENT_NAME, "mime_type": mime_type, "content": ""}], separators=(",", ":")
    )
    text: list[Part] = [
        before.removesuffix('"}]').encode(),
        Base64(size, lambda: folder.files.open(recording)),
        b'"}]',
    ]
    return field(
        _SPAN_ATTRIBUTES,
        *field(_KEY_VALUE_KEY, semconv.ATTACHMENTS.encode()),
        *field(_KEY_VALUE_VALUE, *field(_ANY_VALUE_STRING, *text)),
    )


def _wrap(envelope: Envelope, spans: Iterable[Part]) -> list[Part]:
    scope_spans = field(_RESOURCE_SPANS_SCOPE_SPANS, envelope.scope, *spans)
    return field(_REQUEST_RESOURCE_SPANS, envelope.resource, *scope_spans)


def _cut_segment(folder: Folder, segment: str, start: int) -> Iterator[Batch]:
    # The envelope that holds at `start` stands somewhere before it.
    envelope = 0
    for record in folder.records(segment, 0, start):
        if record.kind is Kind.ENVELOPE:
            envelope = record.start
    yield from _batches(folder, segment, start, None, envelope, spans=BATCH_SPANS)


def _batches(
    folder: Folder, segment: str, start: int, end: int | None, envelope: int, *, spans: int
) -> Iterator[Batch]:
    batch: Batch | None = None
    size = 0
    for record in folder.records(segment, start, end):
        if record.kind is Kind.ENVELOPE:
            envelope = record.start
            continue
        size += len(record.payload)
        if batch is not None and (batch.spans >= spans or size > BATCH_BYTES):
            yield batch
            batch, size = None, len(record.payload)
        if batch is None:
            batch = Batch(segment, record.start, record.end, envelope, 0)
        batch.end = record.end
        batch.spans += 1
    if batch is not None:
        yield batch


def spans_of(folder: Folder, batch: Batch) -> Iterator[tuple[Envelope, bytes]]:
    """The encoded spans of a batch, each with its envelope."""
    envelope = Envelope(b"", b"")
    for record in folder.records(batch.segment, batch.envelope, batch.envelope + 1):
        if record.kind is Kind.ENVELOPE:
            envelope = Envelope.of(record.payload)
    for record in folder.records(batch.segment, batch.start, batch.end):
        if record.kind is Kind.ENVELOPE:
            envelope = Envelope.of(record.payload)
        else:
            yield envelope, record.payload
