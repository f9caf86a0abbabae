"""`voicespan spool`: what waits."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from voicespan.cli.text import age, destination_name, size
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.export.safe_text import printable
from voicespan.delivery.spool import secure_file
from voicespan.delivery.spool.folder import PROGRESS, SETTLED, RecordingResult, is_held, read_meta
from voicespan.delivery.spool.locks import KEPT
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from voicespan.delivery.spool.meta import Meta
    from voicespan.runtime.clock import Clock

#: Bytes of a file that says how far a folder is; that of a conversation of hours has some thousands.
_MOST_FACTS = 1 << 24
_LONGEST_PATH = 4096


def spool(
    *, spool_dir: str | os.PathLike[str] | None = None, out: TextIO | None = None, clock: Clock = SYSTEM
) -> int:
    """Print what waits: since when, why, and for which destination. Sends nothing, changes nothing.

    Args:
        spool_dir: As the processor's.
        out: Where to print; by default standard output.
        clock: By which ages are counted.

    Returns:
        The exit status: 0.
    """
    out = out or sys.stdout
    spool_folders = Spool(SpoolSettings.from_environment(folder=spool_dir), clock)
    now = clock.time_ns() / 1e9
    # What is in a folder came from servers, from the other side of a call, or from whoever could write there.
    paths = [*spool_folders.waiting(), *spool_folders.kept()]
    rows = [tuple(map(printable, _row(path, now))) for path in paths]
    # Where the folder that was named could not be used, another was.
    for folder in dict.fromkeys(path.parent for path in paths) or [spool_folders.settings.folder]:
        print(printable(str(folder), _LONGEST_PATH), file=out)
    if not rows:
        print("nothing waits", file=out)
    for line in _table([("since", "conversation", "state", "size", "destination"), *rows] if rows else []):
        print(line, file=out)
    return 0


def _row(path: Path, now: float) -> tuple[str, ...]:
    meta = read_meta(path)
    if meta is None:
        return ("?", path.name, "not a folder of this version and this user", size(path), "?")
    return (
        age(now - meta.started_at / 1e9),
        meta.thread_id or meta.trace_id or "-",
        _state(path, meta),
        size(path),
        destination_name(meta.destination),
    )


def _state(path: Path, meta: Meta) -> str:
    progress = DeliveryState.of(_content(path, PROGRESS))
    settled = RecordingResult.of(_content(path, SETTLED))
    if path.name.startswith(KEPT):
        refused = progress.root_refused or next(
            (batch.refused for batch in progress.batches if batch.refused), None
        )
        if refused:
            return f"refused: {refused}"
        return f"recording not attached: {progress.recording_status or (settled.status if settled else 'unknown')}"
    if settled is None and not meta.standalone:
        return "open" if is_held(path) else f"its process ({meta.process} on {meta.host}) has died"
    if progress.reason:
        return f"waits: {progress.reason}"
    return "being sent" if is_held(path) else "waits"


def _content(path: Path, name: str) -> bytes | None:
    try:
        return secure_file.read(path, name, _MOST_FACTS)
    except OSError:
        return None


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
