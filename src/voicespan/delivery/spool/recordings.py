"""What delivery asks of recordings: what a dead process left, and a smaller encoding.

A folder may hold a file that a client made (`attachment.*`), and the recorder's own: a FLAC that grows
while the call runs, and, once that is encoded for delivery, a second one beside it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from voicespan.delivery.spool import secure_file
from voicespan.delivery.spool.folder import RecordingResult
from voicespan.delivery.spool.recording_files import ATTACHMENT, UNKNOWN_TYPE, type_of
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from voicespan.delivery.spool.folder import Folder

_SMALLEST = "ogg"
_FLAC = "audio/flac"
#: More at a time than there are processors would only take memory.
_encoding = threading.BoundedSemaphore(os.cpu_count() or 1)
#: Where a FLAC says how many samples it has: 36 bits, written when it is finished (RFC 9639, 8.2).
_LENGTH = slice(18, 26)
_LENGTH_MASK = (1 << 36) - 1


def recovered(folder: Folder, environ: Mapping[str, str] = os.environ) -> RecordingResult:
    """What a process that died left of its recording: made whole, and encoded as it would have been."""
    whole = _made_by_client(folder) or _encoded(folder)
    if whole is not None:
        return RecordingResult("attached", whole, type_of(whole) or UNKNOWN_TYPE)
    flac = _flac(folder)
    if flac is None:
        return RecordingResult("none")
    if not _repair(flac):
        return RecordingResult("unreadable" if flac.stat().st_size else "none", flac.name, type_of(flac.name))
    terms = folder.meta.terms
    asked = environ.get("VOICESPAN_RECORDING_FORMAT", "").strip().lower()
    form = asked if terms is None else terms.recording_format
    encoded = _transcode(flac, form or _SMALLEST) or flac
    return RecordingResult("attached", encoded.name, type_of(encoded.name))


def encode(folder: Folder) -> None:
    """Have the recording as its process asked for, which has left that to its deliverer.

    Raises:
        OSError: the folder cannot be written.
    """
    terms, result = folder.meta.terms, folder.recording_result
    form = None if terms is None else terms.recording_format
    if form is None or result is None or result.status != "attached" or result.mime_type != _FLAC:
        return
    flac = _flac(folder)
    if flac is None or flac.name != result.file or flac.name.startswith(f"{ATTACHMENT}."):
        return
    with _encoding:
        encoded = _transcode(flac, form)
    if encoded is not None and encoded != flac:
        folder.set_recording_result(
            replace(result, file=encoded.name, mime_type=type_of(encoded.name) or UNKNOWN_TYPE)
        )
        # Three times as large as what is sent of it.
        folder.files.remove(flac.name)


def finished(folder: Folder) -> RecordingResult | None:
    """The recorder's own file, if it is whole and has only not been encoded yet."""
    flac = _flac(folder)
    if flac is None or not _is_whole(flac):
        return None
    return RecordingResult("attached", flac.name, type_of(flac.name))


def smaller(folder: Folder, settled: RecordingResult) -> RecordingResult | None:
    """The recording in a smaller encoding; None: there is none."""
    path = folder.files.folder
    if path is None or settled.file is None or settled.file.endswith(f".{_SMALLEST}"):
        return None
    source = path / settled.file
    if not secure_file.is_regular(source):
        return None
    encoded = _transcode(source, _SMALLEST)
    if encoded is None or encoded.stat().st_size >= source.stat().st_size:
        return None
    return RecordingResult("attached", encoded.name, type_of(encoded.name), settled.started_at)


def _made_by_client(folder: Folder) -> str | None:
    return next((name for name in folder.files.names() if name.startswith(f"{ATTACHMENT}.")), None)


def _encoded(folder: Folder) -> str | None:
    return next((name for name in folder.files.names() if type_of(name) and not name.endswith(".flac")), None)


def _flac(folder: Folder) -> Path | None:
    path = folder.files.folder
    if path is None:
        return None
    # It is opened by its name, and written when it is repaired.
    found = (path / name for name in folder.files.names() if name.endswith(".flac"))
    return next((flac for flac in found if secure_file.is_regular(flac)), None)


def _is_whole(flac: Path) -> bool:
    with flac.open("rb") as file:
        head = file.read(_LENGTH.stop)
    return bool(int.from_bytes(head[_LENGTH], "big") & _LENGTH_MASK)


def _repair(flac: Path) -> int:
    from voicespan.recording.repair import repair  # noqa: PLC0415  after a kill only

    try:
        return repair(flac)
    except ValueError:
        return 0


@guarded
def _transcode(source: Path, form: str) -> Path | None:
    from voicespan.recording.codec.transcode import transcode  # noqa: PLC0415  loads libsndfile

    # What cannot be encoded (a codec that is not there, no space) goes as it is.
    with contextlib.suppress(OSError, RuntimeError, ValueError, ImportError):
        encoded = transcode(source, form)
        secure_file.give_to_owner(encoded)
        return encoded
    return None
