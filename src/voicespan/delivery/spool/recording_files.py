"""What files of recordings are called in a folder, and the MIME types that they go with."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

#: What a client's file is called in the folder, without its suffix.
ATTACHMENT = "attachment"
SUFFIXES = {
    "audio/x-wav": ".wav",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/webm": ".webm",
}
UNKNOWN_TYPE = "application/octet-stream"
#: A type and its parameters (RFC 2045, 5.1), of a length that means something: `audio/webm;codecs=opus`.
_TOKEN = r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}"  # noqa: S105  a token of a grammar
_MIME_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}( *; *{_TOKEN}=({_TOKEN}|"[ !#-\[\]-~]{{0,64}}")){{0,4}}')
_TYPES = {suffix: mime_type for mime_type, suffix in SUFFIXES.items()}


def checked_type(mime_type: str) -> str:
    """`mime_type`, or what stands for an unknown one if it is none."""
    written = mime_type.strip().lower()
    return written if _MIME_TYPE.fullmatch(written) else UNKNOWN_TYPE


def name(mime_type: str, *, recorder: bool) -> str:
    """What a recording of this type is called; `recorder`: our own recorder made it, not a client."""
    # Nothing of the caller's but a suffix that we know is in a name of ours.
    plain = mime_type.split(";", maxsplit=1)[0].strip()
    return f"{'recording' if recorder else ATTACHMENT}{SUFFIXES.get(plain, '.bin')}"


def type_of(file: str) -> str:
    """The MIME type of a file by its suffix; empty if it is none of ours."""
    return _TYPES.get(os.path.splitext(file)[1], "")  # noqa: PTH122  a name, not a path


def open_source(source: bytes | str | Path) -> BinaryIO:
    """Open a recording for reading.

    Raises:
        OSError: there is nothing to read.
        ValueError: the path is none.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else _opened_once(source)
    try:
        is_empty = not file.read(1)
    except OSError:
        file.close()
        raise
    if is_empty:
        file.close()
        raise OSError(errno.ENODATA, "the recording is empty")
    file.seek(0)
    return file


def _opened_once(path: str | Path) -> BinaryIO:
    """Open a file of the application's, and look at what it is only then.

    A link is followed: it is the application that names it. What is not a file (a FIFO, a device) must not
    make it wait.
    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    )
    descriptor = os.open(path, flags)
    try:
        _check(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _check(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")


def name_inside(source: bytes | str | Path, folder: Path | None) -> str | None:
    """The name of a file that stands in the folder already."""
    if isinstance(source, bytes) or folder is None:
        return None
    path = Path(source).absolute()
    return path.name if path.parent == folder else None
