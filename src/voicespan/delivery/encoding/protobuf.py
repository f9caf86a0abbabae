"""Just enough of the protobuf wire format to send a message larger than memory.

A length-delimited field is its tag, the length of its content, and the content. Since every length stands
before what it counts, all of them are computed first, from the sizes of files that are read only when
their turn on the wire has come.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: A protobuf message has at most this many bytes.
LARGEST_MESSAGE = (1 << 31) - 1
_LENGTH_DELIMITED = 2
#: A multiple of three, so that each piece's base64 ends without padding.
_PIECE = 3 << 16


class Base64:
    """A file's content as base64 text, read in pieces while it is sent."""

    def __init__(self, size: int, open_file: Callable[[], BinaryIO]) -> None:
        """`size`: bytes of the file; `open_file` opens it anew each time it is sent."""
        self._size = size
        self._open = open_file

    def __len__(self) -> int:
        return (self._size + 2) // 3 * 4

    def __iter__(self) -> Iterator[bytes]:
        """Raise OSError if the file has become shorter: what was announced must be sent."""
        left = self._size
        with self._open() as file:
            while left:
                wanted = min(_PIECE, left)
                piece = file.read(wanted)
                # Files on disk and in memory read all they have; a short read is a short file.
                if len(piece) < wanted:
                    raise OSError("the recording became shorter while it was sent")
                left -= wanted
                yield self._written(piece)

    @staticmethod
    def _written(piece: bytes) -> bytes:
        return base64.b64encode(piece)


class File(Base64):
    """A file's content as it is, read in pieces while it is sent."""

    def __len__(self) -> int:
        return self._size

    @staticmethod
    def _written(piece: bytes) -> bytes:
        return piece


#: A stretch of a message: bytes, or what will become bytes.
Part: TypeAlias = "bytes | Base64"
#: The content type of a message that is protobuf.
PROTOBUF = "application/x-protobuf"


class Message:
    """A message as a sequence of parts; it knows its length and is read once or many times."""

    def __init__(self, parts: Sequence[Part], content_type: str = PROTOBUF) -> None:
        self.content_type = content_type
        self._parts = parts
        self._length = sum(len(part) for part in parts)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of at most a few hundred kilobytes."""
        small = bytearray()
        for part in self._parts:
            if isinstance(part, bytes):
                # Many tiny writes would be many tiny packets.
                small += part
            if small and (len(small) >= _PIECE or not isinstance(part, bytes)):
                yield bytes(small)
                small.clear()
            if not isinstance(part, bytes):
                yield from part
        if small:
            yield bytes(small)


def field(number: int, *content: Part) -> list[Part]:
    """The length-delimited field `number` whose content is all of `content`."""
    length = sum(len(part) for part in content)
    return [varint(number << 3 | _LENGTH_DELIMITED) + varint(length), *content]


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the high bit set on all but the last."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
