"""Attachments: taken from a body piece by piece, and kept in memory or in a folder."""

from __future__ import annotations

import binascii
import hashlib
import json
import mimetypes
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicespan.testing.langsmith.runs import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.testing.langsmith.otlp import Text, View

_PIECE = 1 << 18  # a multiple of four: base64 comes in groups of four characters
_CONTENT_KEY = b'"content"'
# What `mimetypes` answers depends on the machine, and for Ogg is an ending that few players know.
_ENDINGS = {"audio/ogg": ".ogg", "audio/wav": ".wav", "audio/flac": ".flac", "audio/mpeg": ".mp3"}


class UnreadableError(Exception):
    """The text of `langsmith.attachments` is not what LangSmith documents."""


class Attachments:
    """Keeps what is attached.

    Args:
        folder: Where to save attachments; None keeps them in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def keep(self, run_id: str, name: str, mime_type: str, pieces: Iterator[bytes]) -> Attachment:
        """Keep the content that comes in `pieces`; nothing stays of it if they raise."""
        if self._folder is None:
            return Attachment.of(name, mime_type, b"".join(pieces))
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        # Only a file that is whole gets its name, so that who watches the folder never sees half of one.
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file:
            partial = Path(file.name)
        try:
            with partial.open("wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                size = file.tell()
            path = partial.replace(self._folder / _file_name(run_id, name, mime_type))
        except BaseException:
            partial.unlink()
            raise
        return Attachment(name, mime_type, size, digest.hexdigest(), path=path)


def _file_name(run_id: str, name: str, mime_type: str) -> str:
    """Run, name and the ending of the type; what a sender wrote never leads out of the folder."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", f"{run_id}-{name}")[:150]
    return safe + (_ENDINGS.get(mime_type) or mimetypes.guess_extension(mime_type) or "")


def piecewise(view: View, start: int, end: int) -> Iterator[bytes]:
    """The bytes between `start` and `end`."""
    for position in range(start, end, _PIECE):
        yield view[position : min(position + _PIECE, end)]


def in_json(text: Text) -> list[tuple[str, str, Iterator[bytes]]]:
    """Name, MIME type and content of each attachment in the JSON text of `langsmith.attachments`.

    The content is read from the text as it is asked for, and raises `UnreadableError` at what is no
    base64.

    Raises:
        UnreadableError: The text is no JSON array of objects with exactly `name`, `content` (standard
            base64) and `mime_type`, all strings.
    """
    rest, contents = _without_contents(text)
    try:
        written = json.loads(rest)
    except ValueError as error:
        raise UnreadableError("no JSON") from error
    if not isinstance(written, list):
        raise UnreadableError("no array")
    return [_attachment(item, contents) for item in written]


def _attachment(item: Any, contents: list[tuple[View, int, int]]) -> tuple[str, str, Iterator[bytes]]:
    if not isinstance(item, dict) or set(item) != {"name", "content", "mime_type"}:
        raise UnreadableError("an attachment has exactly name, content and mime_type")
    name, mime_type, place = item["name"], item["mime_type"], item["content"]
    if not (isinstance(name, str) and isinstance(mime_type, str) and isinstance(place, int)):
        raise UnreadableError("name, content and mime_type are strings")
    if not 0 <= place < len(contents):
        raise UnreadableError("content is no string")
    return name, mime_type, _base64(*contents[place])


def _without_contents(text: Text) -> tuple[bytes, list[tuple[View, int, int]]]:
    """The JSON with a number for each content, and where those contents lie."""
    kept: list[bytes] = []
    contents: list[tuple[View, int, int]] = []
    position = search = text.start
    while (key := text.view.find(_CONTENT_KEY, search, text.end)) >= 0:
        search = key + len(_CONTENT_KEY)
        opening = text.view.find(b'"', search, text.end)
        closing = text.view.find(b'"', opening + 1, text.end)
        if opening < 0 or closing < 0:
            raise UnreadableError("no JSON")
        if text.view[search:opening].strip() != b":":
            continue  # an attachment that is called "content"
        kept += [text.view[position:opening], str(len(contents)).encode()]
        contents.append((text.view, opening + 1, closing))
        position = search = closing + 1
    kept.append(text.view[position : text.end])
    return b"".join(kept), contents


def _base64(view: View, start: int, end: int) -> Iterator[bytes]:
    """The bytes that the base64 text between `start` and `end` stands for."""
    carried = b""
    for piece in piecewise(view, start, end):
        # JSON may write a slash as \/ and no other character of base64 with a backslash.
        text = carried + piece.replace(b"\\", b"")
        whole = len(text) - len(text) % 4
        carried = text[whole:]
        yield _decoded(text[:whole])
    if carried:
        raise UnreadableError("base64 comes in groups of four characters")


_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


def _decoded(text: bytes) -> bytes:
    if not _BASE64.fullmatch(text):
        raise UnreadableError("no standard base64")
    return binascii.a2b_base64(text)
