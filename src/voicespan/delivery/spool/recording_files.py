"""What files of recordings are called in a folder, and the MIME types that they go with."""

from __future__ import annotations

import os
import re

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
