"""Finishes the folder of a process that died: what was open is closed, with the error that it was.

The folder's lock is held, so nobody else does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from voicespan.delivery.destination.folder_destination import is_kept
from voicespan.delivery.encoding import langsmith_spans
from voicespan.delivery.encoding.cost import ConversationCost, has_cost
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.spool import recordings
from voicespan.delivery.spool.folder import OPEN, ROOT, RecordingResult
from voicespan.runtime.measurements import SHARED
from voicespan.tracing import semconv
from voicespan.tracing.metrics import provider as metrics_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.delivery.spool.folder import Folder

_ERROR = "process_ended"
_MESSAGE = "process ended"
_STATUS = semconv.METADATA + "status"


def finish(folder: Folder, *, hide_recording: bool) -> None:
    """Make the folder complete.

    Raises:
        OSError: it cannot be read or written.
    """
    if folder.meta.standalone:
        return
    terms = folder.meta.terms
    hide_recording = hide_recording or (terms is not None and terms.hide_recording)
    # A root that cannot be read would hold up all the rest for ever: it is rebuilt from what is left.
    if len(_spans(folder, ROOT)) != 1:
        _close_spans(folder, folder.last_sign_of_life())
    result = folder.recording_result
    # What it names may be gone, or never have come to the disk: another file may be there.
    if result is None or (result.status == "attached" and not folder.files.exists(result.file or "")):
        found = RecordingResult("hidden") if hide_recording else recordings.recovered(folder)
        if result is None or found.status == "attached":
            folder.set_recording_result(found)


def _spans(folder: Folder, name: str) -> list[tuple[Envelope, Span]]:
    """Those of one file; none where there is no such file, or where it is damaged."""
    try:
        return list(langsmith_spans.split(folder.files.read(name) or b""))
    except langsmith_spans.DamagedError:
        return []


def _close_spans(folder: Folder, died_at: int) -> None:
    """Journal the children that were open, and end the root."""
    metrics_provider.look()
    opened = _spans(folder, OPEN)
    if not is_kept(folder.meta.destination):
        # What was open has not been copied yet.
        opened = list(langsmith_spans.renamed(opened))
    cost, ended = ConversationCost(), set()
    for journaled in _journaled(folder):
        ended.add(journaled.span_id)
        if has_cost(journaled.name, langsmith_spans.get_attributes(journaled)):
            cost.add(journaled)
    root = None
    for envelope, span in opened:
        if span.span_id.hex() == folder.meta.root_span_id:
            root = (envelope, span)
        elif span.span_id not in ended:
            langsmith_spans.fail(span, died_at, _ERROR, _MESSAGE)
            folder.append(envelope, [span.SerializeToString()])
            _measure(span)
    envelope, span = root or (Envelope(b"", b""), _bare_root(folder))
    langsmith_spans.fail(span, died_at, _ERROR, _MESSAGE)
    langsmith_spans.set_attributes(span, {_STATUS: _MESSAGE})
    cost.add_to_root(span)
    folder.end(langsmith_spans.join([(envelope, span)]))
    _measure(span, is_root=True)


def _measure(span: Span, *, is_root: bool = False) -> None:
    """Have what the process could not end counted in the metrics; what had ended it has counted itself."""
    attributes = {each.key: langsmith_spans.get_attribute(span, each.key) for each in span.attributes}
    trace_id, span_id = (int.from_bytes(each, "big") for each in (span.trace_id, span.span_id))
    ended = ReadableSpan(
        span.name,
        SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
        attributes={key: value for key, value in attributes.items() if value is not None},
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
    )
    SHARED.span_ended(ended, {}, is_root=is_root)


def _journaled(folder: Folder) -> Iterator[Span]:
    return (
        Span.FromString(record.payload)
        for segment in folder.segments()
        for record in folder.records(segment)
        if record.kind is Kind.SPAN
    )


def _bare_root(folder: Folder) -> Span:
    """A root of which nothing is known but that it was."""
    span = Span(
        trace_id=bytes.fromhex(folder.meta.trace_id or ""),
        span_id=bytes.fromhex(folder.meta.root_span_id or ""),
        name="conversation",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=folder.meta.started_at,
    )
    facts: dict[str, str | bool | float] = {semconv.SPAN_KIND: "chain", semconv.MODALITY: "audio"}
    if folder.meta.thread_id is not None:
        facts[semconv.THREAD_ID] = folder.meta.thread_id
    langsmith_spans.set_attributes(span, facts)
    langsmith_spans.as_root(span)
    return span
