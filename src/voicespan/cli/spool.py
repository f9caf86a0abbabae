"""`voicespan spool` and `voicespan recover`: what waits, and sending it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, TextIO

from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.safe_text import printable
from voicespan.delivery.export.scheduler import ExportScheduler
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.spool import secure_file
from voicespan.delivery.spool.folder import KEPT, PROGRESS, SETTLED, RecordingResult, is_held, read_meta
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool, folder_size
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.spool.folder import Meta
    from voicespan.runtime.clock import Clock

#: Bytes of a file that says how far a folder is; that of a conversation of hours has some thousands.
_MOST_FACTS = 1 << 24
_LONGEST_PATH = 4096
#: Seconds that `recover` goes on trying when nothing is taken.
PATIENCE = 120.0


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
    rows = [
        tuple(map(printable, _row(path, now))) for path in (*spool_folders.waiting(), *spool_folders.kept())
    ]
    print(printable(str(spool_folders.settings.folder), _LONGEST_PATH), file=out)
    if not rows:
        print("nothing waits", file=out)
    for line in _table([("since", "conversation", "state", "size", "destination"), *rows] if rows else []):
        print(line, file=out)
    return 0


def recover(
    *,
    api_key: str | None = None,
    endpoint: str | None = None,
    project: str | None = None,
    workspace: str | None = None,
    spool_dir: str | os.PathLike[str] | None = None,
    new_key: bool = False,
    patience: float = PATIENCE,
    out: TextIO | None = None,
    clock: Clock = SYSTEM,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send what waits for one destination, that of dead processes included.

    Args:
        api_key: As the processor's, and so on: which destination.
        endpoint: The same.
        project: The same.
        workspace: The same.
        spool_dir: The same.
        new_key: Take folders too whose destination differs in the key alone: it was replaced.
        patience: Seconds to go on trying when nothing is taken.
        out: Where to print; by default standard output.
        clock: Where time comes from.
        sleep: Waits so many seconds.

    Returns:
        The exit status: 0 when nothing is left for the destination, else 1.

    Raises:
        DeliverySettingsError: There is no key and no endpoint.
    """
    out = out or sys.stdout
    destination = resolve(api_key=api_key, endpoint=endpoint, project=project, workspace=workspace)
    privacy = Privacy.from_environment()
    spool_folders = Spool(SpoolSettings.from_environment(folder=spool_dir), clock)
    http = HttpClient(destination, clock)
    scheduler = ExportScheduler(
        spool_folders,
        destination,
        Uploader(destination, http, clock, privacy),
        clock,
        privacy,
        new_key=new_key,
    )
    scheduler.sweep()
    _work(scheduler, patience, clock, sleep)
    scheduler.stop()
    http.close()
    print(f"{_count(scheduler.delivered, 'folder')} sent to {_named(destination)}", file=out)
    left = scheduler.left(everything=True)
    if left:
        print(
            f"{_count(len(left), 'folder')} not sent: {scheduler.reason or 'in use by another process'}",
            file=out,
        )
    for hint in _others(spool_folders, destination):
        print(printable(hint), file=out)
    return 1 if left else 0


def _work(scheduler: ExportScheduler, patience: float, clock: Clock, sleep: Callable[[float], None]) -> None:
    taken_at = clock.monotonic_ns() / 1e9
    delivered = 0
    while scheduler.left(everything=True):
        delay = scheduler.step() or 0.0
        if delay and scheduler.await_helpers():
            continue
        now = clock.monotonic_ns() / 1e9
        if scheduler.delivered > delivered:
            delivered, taken_at = scheduler.delivered, now
        if now + delay > taken_at + patience:
            return
        sleep(delay)


def _row(path: Path, now: float) -> tuple[str, ...]:
    meta = read_meta(path)
    if meta is None:
        return ("?", path.name, "not a folder of this version and this user", _size(path), "?")
    return (
        _age(now - meta.started_at / 1e9),
        meta.thread_id or meta.trace_id or "-",
        _state(path, meta),
        _size(path),
        _destination(meta.destination),
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


def _others(spool_folders: Spool, destination: Destination) -> Iterator[str]:
    """Hints to what waits for other destinations."""
    waiting: Counter[str] = Counter()
    for path in spool_folders.waiting():
        meta = read_meta(path)
        if meta is None or destination.is_named(meta.destination):
            continue
        if destination.is_named(meta.destination, new_key=True):
            waiting["another key; if it was replaced, add --new-key"] += 1
        else:
            waiting[f"another destination: {_destination(meta.destination)}"] += 1
    for why, count in waiting.items():
        yield f"{_count(count, 'folder')} left for {why}"


def _named(destination: Destination) -> str:
    return _destination(
        {"url": destination.url, "project": destination.project, "workspace": destination.workspace}
    )


def _destination(destination: dict[str, str | None]) -> str:
    parts = [f"project {destination['project']}"] if destination.get("project") else []
    if destination.get("workspace"):
        parts.append(f"workspace {destination['workspace']}")
    return ", ".join([*parts, str(destination.get("url") or "nowhere")])


def _content(path: Path, name: str) -> bytes | None:
    try:
        return secure_file.read(path, name, _MOST_FACTS)
    except OSError:
        return None


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _size(path: Path) -> str:
    return f"{folder_size(path) / 1e6:.1f} MB"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
