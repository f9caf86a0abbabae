"""`voicespan recover`: sends what waits for one destination."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, TextIO

from voicespan.cli.text import count, destination_name
from voicespan.delivery.destination.destination import resolve
from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.safe_text import printable
from voicespan.delivery.export.scheduler import ExportScheduler
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.spool.folder import read_meta
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from voicespan.delivery.destination.destination import Destination
    from voicespan.runtime.clock import Clock

#: Seconds to go on trying when nothing is taken.
PATIENCE = 120.0


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
    destination = resolve(api_key=api_key, endpoint=endpoint, project=project, workspace=workspace)
    folders = Spool(SpoolSettings.from_environment(folder=spool_dir), clock)
    scheduler = _send(folders, destination, patience, clock, sleep, new_key=new_key)
    for line in _report(scheduler, folders, destination):
        print(line, file=out or sys.stdout)
    return 1 if scheduler.left(everything=True) else 0


def _send(
    folders: Spool,
    destination: Destination,
    patience: float,
    clock: Clock,
    sleep: Callable[[float], None],
    *,
    new_key: bool,
) -> ExportScheduler:
    """Deliver what can be delivered; the scheduler that did knows what is left."""
    privacy = Privacy.from_environment()
    http = HttpClient(destination, clock)
    uploader = Uploader(destination, http, clock, privacy)
    scheduler = ExportScheduler(folders, destination, uploader, clock, privacy, new_key=new_key)
    scheduler.sweep()
    _work(scheduler, patience, clock, sleep)
    scheduler.stop()
    http.close()
    return scheduler


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


def _report(scheduler: ExportScheduler, folders: Spool, destination: Destination) -> Iterator[str]:
    """What was sent, what was not and why, a line each."""
    yield f"{count(scheduler.delivered, 'folder')} sent to {_named(destination)}"
    left = scheduler.left(everything=True)
    if left:
        yield f"{count(len(left), 'folder')} not sent: {scheduler.reason or 'in use by another process'}"
    for hint in _others(folders, destination):
        yield printable(hint)


def _others(folders: Spool, destination: Destination) -> Iterator[str]:
    """Hints to what waits for other destinations."""
    waiting: Counter[str] = Counter()
    for path in folders.waiting():
        meta = read_meta(path)
        if meta is None or destination.is_named(meta.destination):
            continue
        if destination.is_named(meta.destination, new_key=True):
            waiting["another key; if it was replaced, add --new-key"] += 1
        else:
            waiting[f"another destination: {destination_name(meta.destination)}"] += 1
    for why, number in waiting.items():
        yield f"{count(number, 'folder')} left for {why}"


def _named(destination: Destination) -> str:
    return destination_name(
        {"url": destination.url, "project": destination.project, "workspace": destination.workspace}
    )
