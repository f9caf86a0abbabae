"""Conversations that other processes send as traces, kept as directories of the folder that is looked at.

A trace comes in pieces: its spans as they end, the conversation's root last. Until that is there its directory's name says
that it was received, and a reader sees what has come so far. Then it becomes a directory like all others. What comes later is
appended to it.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

from voicespan.delivery.encoding import langsmith_spans, otlp_json
from voicespan.delivery.folder.call_folders import CONVERSATION, RECORDING, RUNNING, SPANS, call_name
from voicespan.delivery.folder.call_writer import as_json, describe, free_name
from voicespan.delivery.spool.folder import RecordingResult
from voicespan.report import find
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from voicespan.delivery.encoding.journal import Envelope

    _Group = tuple[Envelope, list[Span]]

#: So many traces may wait for a root; most of a process that does other things as well have none of ours.
_MOST_WAITING = 256
#: Bytes of spans of one trace.
_MOST_SPANS = 64 << 20
_ENDINGS = {mime_type: ending for ending, mime_type in find.TYPES.items()}


class Received:
    """Keeps what is received in one folder."""

    def __init__(self, folder: Path, tidy: Callable[[], None]) -> None:
        """`tidy`: removes what is too old or too much; called when a conversation is complete."""
        self._folder = folder
        self._tidy = tidy
        self._lock = threading.Lock()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of a request.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            for trace_id, groups in _by_trace(request).items():
                self._take_trace(trace_id, groups)

    def _take_trace(self, trace_id: str, groups: list[_Group]) -> None:
        kept = next((call for call in find.calls(self._folder) if f"-{trace_id}-" in call.name), None)
        if kept is not None:
            self._add_late(kept, groups)
            return
        waiting = self._folder / (find.RECEIVED + trace_id)
        if not waiting.exists():
            self._make_room()
            waiting.mkdir(mode=0o700, parents=True)
        roots = [(envelope, span) for envelope, spans in groups for span in spans if _is_root(span)]
        recordings = [_take_recording(waiting, span) for _, span in roots]
        _append(waiting / SPANS, groups)
        if not (waiting / CONVERSATION).exists() and (ours := _of_conversation(groups)) is not None:
            thread_id = langsmith_spans.get_attribute(ours, semconv.THREAD_ID)
            _write(waiting / CONVERSATION, as_json({"thread_id": thread_id, "received": True}))
        if roots:
            self._complete(waiting, roots[-1][1], recordings[-1])

    def _add_late(self, call: Path, groups: list[_Group]) -> None:
        # What another process keeps in this folder has its spans already.
        if call.name.startswith(RUNNING) or not find.facts(call).get("received"):
            return
        _append(call / SPANS, groups)

    def _complete(self, waiting: Path, root: Span, recording: RecordingResult) -> None:
        facts = describe(root, recording, recording.file)
        facts["received"] = True
        # Where the process that sent it keeps the recording, in a folder of its own.
        kept = langsmith_spans.get_attribute(root, semconv.RECORDING_PATH)
        if recording.file is None and isinstance(kept, str):
            facts["recording"]["kept"] = kept
        _write(waiting / CONVERSATION, as_json(facts))
        name = call_name(
            root.start_time_unix_nano,
            int.from_bytes(root.trace_id, "big"),
            int.from_bytes(root.span_id, "big"),
        )
        waiting.rename(free_name(self._folder / name))
        self._tidy()

    def _make_room(self) -> None:
        """Forget the oldest traces that have no root: they were no conversations, or their processes died."""
        waiting = sorted(find.received(self._folder), key=lambda path: path.stat().st_mtime)
        for path in waiting[: max(len(waiting) + 1 - _MOST_WAITING, 0)]:
            shutil.rmtree(path, ignore_errors=True)


def _by_trace(request: ExportTraceServiceRequest) -> dict[str, list[_Group]]:
    found: dict[str, dict[int, _Group]] = {}
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            envelope = langsmith_spans.envelope_of(resource_spans, scope_spans)
            for span in scope_spans.spans:
                groups = found.setdefault(span.trace_id.hex(), {})
                groups.setdefault(id(scope_spans), (envelope, []))[1].append(span)
    return {trace_id: list(groups.values()) for trace_id, groups in found.items() if int(trace_id or "0", 16)}


def _of_conversation(groups: Iterable[_Group]) -> Span | None:
    """A span that a conversation has; None: there is none of it among these."""
    for envelope, spans in groups:
        if spans and langsmith_spans.scope_of(envelope) == semconv.SCOPE:
            return spans[0]
    return None


def _is_root(span: Span) -> bool:
    return langsmith_spans.get_attribute(span, semconv.MODALITY) == "audio"


def _append(path: Path, groups: Iterable[_Group]) -> None:
    lines = b"".join(otlp_json.line(*group) for group in groups)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size + len(lines) > _MOST_SPANS:
            return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
        file.write(lines)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _take_recording(folder: Path, root: Span) -> RecordingResult:
    """Take the recording out of the root, into a file of its own."""
    written = langsmith_spans.get_attribute(root, semconv.ATTACHMENTS)
    langsmith_spans.remove_attribute(root, semconv.ATTACHMENTS)
    status = langsmith_spans.get_attribute(root, semconv.AUDIO_ATTACH_STATUS)
    started_at = langsmith_spans.get_attribute(root, semconv.AUDIO_STARTED_AT)
    started = float(started_at) if isinstance(started_at, (int, float)) else None
    for attached in _attached(written):
        mime_type = attached.get("mime_type")
        ending = _ENDINGS.get(mime_type) if isinstance(mime_type, str) else None
        if ending is None:
            continue
        with contextlib.suppress(ValueError, TypeError):
            content = binascii.a2b_base64(attached.get("content", ""))
            _write(folder / (RECORDING + ending), content)
            return RecordingResult("attached", RECORDING + ending, str(mime_type), started)
    return RecordingResult(str(status or "none"), started_at=started)


def _attached(written: object) -> list[dict[str, Any]]:
    try:
        found = json.loads(written) if isinstance(written, str) else []
    except ValueError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
