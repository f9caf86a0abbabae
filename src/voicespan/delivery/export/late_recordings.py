"""Recordings that come when their conversation is complete."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.spool.folder import PROGRESS, Folder
from voicespan.delivery.spool.meta import Meta

if TYPE_CHECKING:
    from pathlib import Path

    from voicespan.delivery.spool.folder import RecordingResult
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")


def join(spool: Spool, name: str | None, file: BinaryIO, result: RecordingResult, clock: Clock) -> None:
    """Put a recording beside the root of folder `name` if that waits, else keep it in a folder of its own.

    Raises:
        OSError: it cannot be copied.
    """
    root = spool.root
    if root is None or name is None or result.file is None:
        _logger.warning("voicespan: a recording came too late and there is no disk to keep it on")
        return
    folder = Folder.claim(root / name, spool.memory)
    if folder is None:
        _keep(spool, root / name, file, result, clock.time_ns())
        return
    try:
        if not DeliveryState.of(folder.files.read(PROGRESS)).root_sent:
            folder.files.copy_in(result.file, file)
            folder.set_recording_result(result)
            return
    finally:
        folder.release()
    _keep(spool, root / name, file, result, clock.time_ns())


def _keep(spool: Spool, path: Path, file: BinaryIO, result: RecordingResult, now: int) -> None:
    meta = Meta(destination={}, started_at=now, after=path.name)
    kept = Folder.create(path.parent, f"{path.name}-late", meta, None, spool.memory)
    kept.files.copy_in(result.file or "recording", file)
    kept.set_recording_result(replace(result, status="late"))
    kept.keep()
    _logger.warning("voicespan: a recording came after its root was sent; kept in %s", kept.files.folder)
