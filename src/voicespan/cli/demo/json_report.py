"""The demo's trace and figures as JSON, for whoever wants to check them against the recording."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import soundfile as sf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicespan.testing import Run

_NS = 1e9


def document(roots: Iterable[Run], *, delivered: bool) -> dict[str, Any]:
    """What LangSmith has of the demo's conversations.

    Returns:
        `delivered`, and `conversations`: of each its `recording` (None: there is none), its `figures` (the root's
        metadata) and its `trace`, the root run with its `children`. Times are in seconds since the root began;
        those of the recording in seconds of the file where its frames are meant.
    """
    return {"delivered": delivered, "conversations": [_conversation(root) for root in roots]}


def _conversation(root: Run) -> dict[str, Any]:
    return {
        "thread_id": root.thread_id,
        "project": root.project,
        "figures": root.metadata,
        "recording": _recording(root),
        "trace": _run(root, root.start_ns),
    }


def _recording(root: Run) -> dict[str, Any] | None:
    attachment = root.attachments.get("conversation")
    if attachment is None:
        return None
    info = sf.info(io.BytesIO(attachment.read()))
    return {
        "path": None if attachment.path is None else str(attachment.path),
        "mime_type": attachment.mime_type,
        "bytes": attachment.size,
        "sha256": attachment.sha256,
        "seconds": info.duration,
        "sample_rate": info.samplerate,
        "channels": ["user", "agent"],
    }


def _run(run: Run, began_ns: int) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "run_type": run.run_type,
        "begins": (run.start_ns - began_ns) / _NS,
        "ends": None if run.end_ns is None else (run.end_ns - began_ns) / _NS,
        "status": run.status,
        "error": run.error,
        "metadata": run.metadata,
        "usage": run.usage,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "children": [_run(child, began_ns) for child in run.children],
    }
