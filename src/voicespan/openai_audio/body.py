"""The body of an answer that the application reads itself: seen piece by piece, as it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

#: The base classes of httpx's streams, by which it knows them.
_BASES = ("SyncByteStream", "AsyncByteStream")


class Reader(Protocol):
    """Hears of what is read. Nothing here raises."""

    def piece(self, content: bytes) -> None:
        """So much was read."""

    def over(self, error: BaseException | None, *, complete: bool) -> None:
        """No more is read; `complete`: there was no more."""


def watch(response: Any, reader: Reader) -> bool:
    """Have `reader` hear of the body of an httpx response. Whether it will: else nobody reads it any more."""
    stream = getattr(response, "stream", None)
    if getattr(response, "is_stream_consumed", True) or getattr(response, "is_closed", True):
        return False
    base = next((kind for kind in type(stream).__mro__ if kind.__name__ in _BASES), None)
    if base is None:
        return False
    kind = _WatchedAsync if base.__name__ == "AsyncByteStream" else _Watched
    # httpx asks of which of the two kinds a stream is.
    response.stream = type(kind.__name__, (kind, base), {})(stream, reader)
    return True


class _Watched:
    def __init__(self, stream: Any, reader: Reader) -> None:
        self._stream = stream
        self._reader = reader

    def __iter__(self) -> Iterator[bytes]:
        try:
            for content in self._stream:
                self._reader.piece(content)
                yield content
        except BaseException as error:
            self._reader.over(error, complete=False)
            raise
        self._reader.over(None, complete=True)

    def close(self) -> None:
        self._reader.over(None, complete=False)
        self._stream.close()


class _WatchedAsync:
    def __init__(self, stream: Any, reader: Reader) -> None:
        self._stream = stream
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for content in self._stream:
                self._reader.piece(content)
                yield content
        except BaseException as error:
            self._reader.over(error, complete=False)
            raise
        self._reader.over(None, complete=True)

    async def aclose(self) -> None:
        self._reader.over(None, complete=False)
        await self._stream.aclose()
