"""Request bodies: read piece by piece, in memory while small and in a temporary file beyond.

A recording of 200 MB travels through here without ever being in memory as a whole.
"""

from __future__ import annotations

import gzip
import io
import mmap
import tempfile
import zlib
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import zstandard
except ImportError:  # the langsmith SDK brings it; without it the server says it cannot
    zstandard = None  # type: ignore[assignment]

_MOST_IN_MEMORY = 1 << 20
_PIECE = 1 << 18
_LONGEST_LINE = 1 << 14

#: The encodings that `decoded` undoes.
ZSTD_SUPPORTED = zstandard is not None


class BodyError(Exception):
    """The body is not what its headers say it is."""


class BodyTooLargeError(Exception):
    """The body has more bytes than the server takes."""


class Reader(Protocol):
    """What a body is read from: a connection's buffered reader."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, fewer only at the end."""
        ...

    def readline(self, size: int, /) -> bytes:
        """One line with its end, at most `size` bytes."""
        ...


class Body:
    """Bytes that were received, to be looked at in any order."""

    def __init__(self) -> None:
        self.size = 0
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None

    def write(self, piece: bytes) -> None:
        """Append `piece`."""
        if self._file is None and self.size + len(piece) > _MOST_IN_MEMORY:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
            self._file.write(self._memory)
            self._memory = bytearray()
        self.size += len(piece)
        if self._file is None:
            self._memory += piece
        else:
            self._file.write(piece)

    def view(self) -> bytes | mmap.mmap:
        """All of it, as something that can be sliced and searched; valid until `close`."""
        if self._file is None:
            return bytes(self._memory)
        if self._map is None:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def reader(self) -> IO[bytes]:
        """All of it, as a file read from the start."""
        if self._file is None:
            return io.BytesIO(self._memory)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Give back the memory and the file."""
        if self._map is not None:
            self._map.close()
        if self._file is not None:
            self._file.close()
        self._memory = bytearray()


def pieces(reader: Reader, length: int | None, most: int = _PIECE) -> Iterator[bytes]:
    """The body in pieces of at most `most` bytes: `length` bytes, or chunks when there is no length.

    Raises:
        ConnectionError: The client went away before the body's end.
        BodyError: The chunks are malformed.
    """
    return _chunked(reader, most) if length is None else _counted(reader, length, most)


def _counted(reader: Reader, length: int, most: int) -> Iterator[bytes]:
    while length > 0:
        piece = reader.read(min(length, most))
        if not piece:
            raise ConnectionResetError("the client went away in the middle of its body")
        length -= len(piece)
        yield piece


def _chunked(reader: Reader, most: int) -> Iterator[bytes]:
    while size := _chunk_size(reader):
        yield from _counted(reader, size, most)
        if reader.readline(_LONGEST_LINE).strip():
            raise BodyError("a chunk is longer than it says")
    while reader.readline(_LONGEST_LINE).strip():
        pass  # trailers


def _chunk_size(reader: Reader) -> int:
    line = reader.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the client went away between two chunks")
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16)
    except ValueError:
        size = -1
    if size < 0:
        raise BodyError("a chunk does not begin with its size")
    return size


def decoded(body: Body, encoding: str, limit: int) -> Body:
    """The body without its `Content-Encoding`, `gzip` or `zstd`.

    Raises:
        BodyError: It is not in that encoding.
        BodyTooLargeError: It grows beyond `limit` bytes.
    """
    plain = Body()
    try:
        for piece in _decompressed(body.reader(), encoding):
            plain.write(piece)
            _check_size(plain, limit)
    except (BodyError, BodyTooLargeError):
        plain.close()
        raise
    return plain


def _check_size(body: Body, limit: int) -> None:
    if body.size > limit:
        raise BodyTooLargeError


def _decompressed(source: IO[bytes], encoding: str) -> Iterator[bytes]:
    broken = (OSError, EOFError, zlib.error) if encoding == "gzip" else zstandard.ZstdError
    try:
        with _decompressing(source, encoding) as plain:
            while piece := plain.read(_PIECE):
                yield piece
    except broken as error:
        raise BodyError(f"the body is not {encoding}") from error


def _decompressing(source: IO[bytes], encoding: str) -> gzip.GzipFile | zstandard.ZstdDecompressionReader:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=source)
    return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True, closefd=False)
