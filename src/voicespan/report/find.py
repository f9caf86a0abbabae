"""Finds the conversation that somebody means, and reads it: a kept one, one that runs, one that waits, or a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding import journal, langsmith_spans, otlp_json
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.folder.call_folders import (
    CONVERSATION,
    RECORDING,
    RUNNING,
    SPANS,
    is_complete,
    is_running,
)
from voicespan.delivery.spool.folder import OPEN, ROOT, read_meta
from voicespan.report.call import Call, of_spans, read_lines, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicespan.report.call import CallSpan

#: What a recording beside a file of spans may be called, and its type.
TYPES = {".ogg": "audio/ogg", ".flac": "audio/flac", ".wav": "audio/wav", ".mp3": "audio/mpeg"}
_LAST = "last"
#: How the name of one begins whose spans another process sends, and whose root has not come.
RECEIVED = f"{RUNNING}received-"


class NoCallError(LookupError):
    """There is no such conversation."""


def find(wanted: str, folder: Path, waiting: Iterable[Path] = ()) -> Path:
    """Where the conversation is that `wanted` names: a path, `last`, its trace id, its thread, or the name in `folder`.

    Args:
        wanted: Its name.
        folder: Where conversations are kept.
        waiting: Directories of the spool, the oldest first: looked at where `folder` has no such conversation.

    Raises:
        NoCallError: there is none.
    """
    path = Path(wanted)
    if path.exists() and wanted != _LAST:
        return path
    there = calls(folder)
    if wanted == _LAST and there:
        return there[-1]
    for call in reversed(there):
        if wanted == call.name or f"-{wanted}" in call.name or facts(call).get("thread_id") == wanted:
            return call
    for path in reversed(list(waiting)):
        meta = read_meta(path)
        if wanted == path.name or (meta is not None and wanted in (meta.thread_id, meta.trace_id)):
            return path
    kept = "1 conversation is" if len(there) == 1 else f"{len(there)} conversations are"
    raise NoCallError(f"there is no conversation {wanted}: {kept} in {folder}")


def calls(folder: Path) -> list[Path]:
    """The conversations that are kept in `folder`, those that run included; the oldest first."""
    try:
        there = [path for path in folder.iterdir() if is_complete(path) or is_running(path)]
    except OSError:
        return []
    # Of a trace that is being received it is known that it is a conversation's once a span of one has come.
    arriving = [path for path in received(folder) if (path / CONVERSATION).is_file()]
    return [*sorted(there, key=lambda path: path.name.removeprefix(RUNNING)), *sorted(arriving)]


def received(folder: Path) -> list[Path]:
    """The traces that are being received, whatever they are of."""
    return list(folder.glob(f"{RECEIVED}*"))


def by_name(name: str, folder: Path) -> Path | None:
    """The conversation that is called so in `folder`, also if it was called so while it was received."""
    trace_id = name.removeprefix(RECEIVED.removeprefix(RUNNING))
    there = calls(folder)
    return next(
        (call for call in there if call.name.removeprefix(RUNNING) == name),
        next((call for call in there if f"-{trace_id}-" in call.name), None),
    )


def facts(call: Path) -> dict[str, Any]:
    """What `conversation.json` says; empty where there is none yet."""
    try:
        written = json.loads((call / CONVERSATION).read_bytes())
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def read(path: Path) -> Call:
    """The conversation at `path`: a directory of a folder or of the spool, or a file of OTLP JSON lines.

    Raises:
        ValueError: no conversation is there.
        OSError: it cannot be read.
    """
    if path.is_file():
        return _of_file(path)
    if (path / SPANS).is_file() and not is_running(path):
        with (path / SPANS).open("rb") as lines:
            spans = [span for _, span in read_lines(lines)]
        if path.name.startswith(RECEIVED):
            return unfinished(path.name.removeprefix(RUNNING), spans, str(facts(path).get("thread_id") or ""))
        call = of_spans(path.name, spans)
        call.recording, call.mime_type = _recording(path, RECORDING)
        if call.recording is None:
            call.recording, call.mime_type = _kept_elsewhere(facts(path))
        return call
    spans, ended = _of_journals(path)
    call = of_spans(path.name.removeprefix(RUNNING), spans)
    call.running = not ended
    call.recording, call.mime_type = _recording(path, "*")
    return call


def _of_file(path: Path) -> Call:
    """The last conversation of a file; its recording is beside it, with another suffix."""
    traces: dict[str, list[CallSpan]] = {}
    with path.open("rb") as lines:
        for trace_id, span in read_lines(lines):
            traces.setdefault(trace_id, []).append(span)
    for spans in reversed(traces.values()):
        try:
            call = of_spans(path.stem, spans)
        except ValueError:
            continue
        call.recording, call.mime_type = _recording(path.parent, path.stem)
        return call
    raise ValueError(f"there is no conversation in {path}")


def _recording(folder: Path, name: str) -> tuple[Path | None, str]:
    for suffix, mime_type in TYPES.items():
        found = next(iter(sorted(folder.glob(f"{name}{suffix}"))), None)
        if found is not None:
            return found, mime_type
    return None, "application/octet-stream"


def _kept_elsewhere(facts_here: dict[str, Any]) -> tuple[Path | None, str]:
    """The recording that the process which sent the spans keeps on this machine, in a folder like this one.

    Whoever sends spans names the path, so it is taken only from the directory of the same conversation.
    """
    named = (facts_here.get("recording") or {}).get("kept")
    path = Path(named) if isinstance(named, str) else None
    # The name is fixed when the conversation opens, its ending when it is over.
    if path is None or path.stem != RECORDING or not is_complete(path.parent):
        return None, "application/octet-stream"
    if facts(path.parent).get("trace_id") != facts_here.get("trace_id"):
        return None, "application/octet-stream"
    return _recording(path.parent, RECORDING)


def _of_journals(path: Path) -> tuple[list[CallSpan], bool]:
    """What a directory holds whose conversation is not delivered or not over, and whether it is."""
    spans = [span for segment in sorted(path.glob("*.journal")) for span in _of_journal(segment)]
    for name in (ROOT, OPEN):
        try:
            written = (path / name).read_bytes()
        except OSError:
            continue
        opened = [
            span
            for envelope, each in langsmith_spans.split(written)
            for _, span in read_lines([otlp_json.line(envelope, [each])])
        ]
        ended = {span.span_id for span in spans}
        spans += [span for span in opened if span.span_id not in ended]
        return spans, name == ROOT
    return spans, False


def _of_journal(segment: Path) -> Iterator[CallSpan]:
    envelope = Envelope(b"", b"")
    with segment.open("rb") as file:
        for record in journal.read(file):
            if record.kind is Kind.ENVELOPE:
                envelope = Envelope.of(record.payload)
                continue
            for _, span in read_lines([otlp_json.line(envelope, [Span.FromString(record.payload)])]):
                yield span
