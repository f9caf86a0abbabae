"""The journal of a conversation: encoded spans, appended, readable up to the last whole one after any kill.

A record is a header (magic, kind, length, checksum) and its payload. Two kinds alternate as needed: an
*envelope* (resource and instrumentation scope) holds for all the spans that follow it up to the next one.

What always holds:

1. Bytes that were written are never changed, so a range of a journal is the same request for ever.
2. A torn or damaged record costs itself alone: reading goes on at the next magic.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"\xf5VS1"
_HEADER = struct.Struct(">4scII")
_RESOURCE_LENGTH = struct.Struct(">I")
_SEARCH = 1 << 16
#: A longer record fits into no request.
_LONGEST = 1 << 28


class Kind(Enum):
    """What a record holds."""

    ENVELOPE = b"E"
    SPAN = b"S"


class Envelope(NamedTuple):
    """What spans have in common: a `ResourceSpans` without scopes and a `ScopeSpans` without spans, encoded."""

    resource: bytes
    scope: bytes

    def payload(self) -> bytes:
        """As it stands in a record."""
        return _RESOURCE_LENGTH.pack(len(self.resource)) + self.resource + self.scope

    @classmethod
    def of(cls, payload: bytes) -> Envelope:
        """The envelope that a record holds."""
        (length,) = _RESOURCE_LENGTH.unpack_from(payload)
        start = _RESOURCE_LENGTH.size
        return cls(payload[start : start + length], payload[start + length :])


@dataclass(frozen=True, slots=True)
class Record:
    """One record and where it stands."""

    kind: Kind
    payload: bytes
    start: int
    end: int


def record(kind: Kind, payload: bytes) -> bytes:
    """Encode one record."""
    return _HEADER.pack(_MAGIC, kind.value, len(payload), _checksum(kind.value, payload)) + payload


def read(file: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[Record]:
    """Every whole record of `file` from `start` on; with `end`, those that begin before it."""
    position = start
    size = file.seek(0, os.SEEK_END)
    while end is None or position < end:
        found = _read_one(file, position, size)
        if isinstance(found, Record):
            yield found
            position = found.end
        elif found is None:
            return
        else:
            position = found


def _read_one(file: BinaryIO, position: int, size: int) -> Record | int | None:
    """The record at `position`, else where to look next, else None: the rest is torn.

    `size` is the file's. A damaged length may be anything, and memory for it is taken before it is read.
    """
    file.seek(position)
    header = file.read(_HEADER.size)
    if len(header) == _HEADER.size:
        magic, kind, length, checksum = _HEADER.unpack(header)
        rest = size - position - _HEADER.size
        if magic == _MAGIC and kind in _KINDS and length <= min(rest, _LONGEST):
            payload = file.read(length)
            if len(payload) == length and _checksum(kind, payload) == checksum:
                return Record(Kind(kind), payload, position, position + _HEADER.size + length)
    return _next_magic(file, position + 1)


def _next_magic(file: BinaryIO, position: int) -> int | None:
    file.seek(position)
    overlap = b""
    while piece := file.read(_SEARCH):
        found = (overlap + piece).find(_MAGIC)
        if found >= 0:
            return position - len(overlap) + found
        position += len(piece)
        overlap = (overlap + piece)[-(len(_MAGIC) - 1) :]
    return None


def _checksum(kind: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(kind))


_KINDS = frozenset(kind.value for kind in Kind)
