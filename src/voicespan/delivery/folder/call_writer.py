"""Finishes the directory of a conversation: its journal becomes three files, and one renaming shows it."""

from __future__ import annotations

import errno
import json
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from voicespan.delivery.encoding import langsmith_spans, otlp_json
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.folder import call_folders
from voicespan.delivery.folder.call_folders import CONVERSATION, RECORDING, RUNNING, SPANS
from voicespan.delivery.spool.files import Files
from voicespan.delivery.spool.folder import ROOT, RecordingResult
from voicespan.delivery.spool.spool import say_once
from voicespan.runtime.pacing import paced
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voicespan.delivery.export.responses import Answer
    from voicespan.delivery.spool.folder import Folder
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

#: Spans in one line. Each is turned into JSON at once, and the application's threads wait meanwhile.
_SPANS_A_LINE = 10
#: Seconds over which the lines of one conversation are spread.
_SPREAD = 0.5
_VERSION = 1


class CallWriter:
    """What stands in the place of an uploader where conversations are kept."""

    def __init__(
        self, folders: call_folders.CallFolders, clock: Clock, *, hide_metadata: bool = False
    ) -> None:
        self._folders = folders
        self._clock = clock
        self._hide_metadata = hide_metadata

    def deliver(self, folder: Folder) -> None:
        """Finish a directory.

        Raises:
            OSError: the disk refuses. Nothing is shown then, and everything is as it was.
        """
        path = folder.files.folder
        if path is None or not folder.files.all_on_disk:
            raise OSError(errno.ENOSPC, "there is no room on the disk")
        if folder.meta.standalone:
            self._add_late(folder, path)
        else:
            self._finish(folder, path)

    def failure(self, answer: Answer) -> str:
        """Why nothing was kept, in words. A folder answers nothing: what it refuses is raised."""
        return f"the folder of conversations cannot be written ({answer})"

    def _finish(self, folder: Folder, path: Path) -> None:
        settled = folder.recording_result or RecordingResult("none")
        recording = _rename_recording(folder, path, settled)
        envelope, root = self._root(folder, settled)
        lines: list[bytes] = []
        paced(
            list(_batches(folder)), lambda batch: lines.append(otlp_json.line(*batch)), _SPREAD, self._clock
        )
        lines.append(otlp_json.line(envelope, [root]))
        _write(folder, SPANS, b"".join(lines))
        facts = describe(root, settled, recording, dropped_metadata=self._hide_metadata)
        _write(folder, CONVERSATION, as_json(facts))
        folder.sync()
        shown = free_name(path.with_name(path.name.removeprefix(RUNNING)))
        path.rename(shown)
        folder.files.folder = shown
        folder.release()
        call_folders.clear(shown)
        self._folders.make_room()

    def _root(self, folder: Folder, settled: RecordingResult) -> tuple[Envelope, Span]:
        [(envelope, root)] = langsmith_spans.split(folder.files.read(ROOT) or b"")
        if not self._hide_metadata:
            langsmith_spans.describe_recording(root, settled.status, settled.started_at)
        return envelope, root

    def _add_late(self, folder: Folder, path: Path) -> None:
        """Spans that ended after their root go into the file of that; those of no conversation are not kept."""
        call = None if folder.meta.after is None else path.with_name(folder.meta.after.removeprefix(RUNNING))
        if call is not None and call_folders.is_complete(call) and (call / SPANS).is_file():
            lines = b"".join(otlp_json.line(*batch) for batch in _batches(folder))
            _replace(call / SPANS, (call / SPANS).read_bytes() + lines)
        folder.remove()


def join_late(spool: Spool, name: str | None, file: BinaryIO, result: RecordingResult, _clock: Clock) -> None:
    """Put a recording that comes when its conversation is complete beside it, unless it has one.

    Raises:
        OSError: it cannot be copied.
    """
    root = spool.root
    call = None if root is None or name is None else root / name.removeprefix(RUNNING)
    if call is None or result.file is None or not call.is_dir() or any(call.glob(f"{RECORDING}.*")):
        say_once("voicespan: a recording came too late for its conversation, and is not kept")
        return
    kept = RECORDING + (os.path.splitext(result.file)[1] or ".bin")  # noqa: PTH122  a name, not a path
    Files(call, spool.memory).copy_in(kept, file)
    facts = json.loads((call / CONVERSATION).read_bytes())
    facts["recording"] = _recording_facts(result, kept)
    _replace(call / CONVERSATION, as_json(facts))


def describe(
    root: Span, settled: RecordingResult, recording: str | None, *, dropped_metadata: bool = False
) -> dict[str, Any]:
    """What `conversation.json` says: ids, times, status, metadata and figures, what became of the recording."""
    metadata = {
        attribute.key.removeprefix(semconv.METADATA): langsmith_spans.get_attribute(root, attribute.key)
        for attribute in root.attributes
        if attribute.key.startswith(semconv.METADATA) and not dropped_metadata
    }
    failed = root.status.code == Status.STATUS_CODE_ERROR
    return {
        "version": _VERSION,
        "name": root.name,
        "trace_id": root.trace_id.hex(),
        "root_span_id": root.span_id.hex(),
        "thread_id": langsmith_spans.get_attribute(root, semconv.THREAD_ID),
        "started_at": _iso(root.start_time_unix_nano),
        "ended_at": _iso(root.end_time_unix_nano),
        "duration_s": round((root.end_time_unix_nano - root.start_time_unix_nano) / 1e9, 3),
        "error": (root.status.message or "error") if failed else None,
        "model": langsmith_spans.get_attribute(root, semconv.REQUEST_MODEL),
        "metadata": metadata,
        "recording": _recording_facts(settled, recording),
    }


def _recording_facts(result: RecordingResult, file: str | None) -> dict[str, Any]:
    return {
        "status": result.status,
        "file": file,
        "mime_type": result.mime_type if file is not None else None,
        "started_at": result.started_at,
    }


def as_json(facts: dict[str, Any]) -> bytes:
    """The content of `conversation.json`."""
    return json.dumps(facts, indent=1, ensure_ascii=False).encode()


def _rename_recording(folder: Folder, path: Path, settled: RecordingResult) -> str | None:
    """Give the recording the name that a reader looks for; None: there is none."""
    if settled.file is None or not folder.files.exists(settled.file):
        return None
    name = RECORDING + (os.path.splitext(settled.file)[1] or ".bin")  # noqa: PTH122  a name, not a path
    if name != settled.file:
        (path / settled.file).replace(path / name)
        folder.set_recording_result(
            RecordingResult(settled.status, name, settled.mime_type, settled.started_at)
        )
    for other in folder.files.names():
        if other != name and other.startswith(f"{RECORDING}."):
            folder.files.remove(other)
    return name


def _batches(folder: Folder) -> Iterator[tuple[Envelope, list[Span]]]:
    """The ended spans of the journal, those that have resource and scope in common together."""
    for segment in folder.segments():
        envelope = Envelope(b"", b"")
        spans: list[Span] = []
        for record in folder.records(segment):
            if record.kind is Kind.ENVELOPE:
                if spans:
                    yield envelope, spans
                envelope, spans = Envelope.of(record.payload), []
                continue
            spans.append(Span.FromString(record.payload))
            if len(spans) >= _SPANS_A_LINE:
                yield envelope, spans
                spans = []
        if spans:
            yield envelope, spans


def _write(folder: Folder, name: str, content: bytes) -> None:
    """Write a file whole.

    Raises:
        OSError: there is no room: unlike other files, memory is no place for it.
    """
    folder.files.replace(name, content)
    if not folder.files.all_on_disk:
        folder.files.remove(name)
        raise OSError(errno.ENOSPC, "there is no room on the disk")


def _replace(path: Path, content: bytes) -> None:
    """Readers and a crash see the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def free_name(wanted: Path) -> Path:
    """A name that no directory has yet: `wanted`, or one with a number behind it."""
    path, number = wanted, 1
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=timezone.utc).isoformat(timespec="milliseconds")
