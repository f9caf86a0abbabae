"""A folder's files: on disk, or in memory where the disk refuses.

A disk that is full or gone must not cost the traces while the network still works. What cannot be
written stays in memory under the same name, within a bound that all folders share, and moves to the disk
once that takes writes again.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from voicespan.delivery.spool import locks, secure_file
from voicespan.delivery.spool.append_file import AppendFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What is read at once has at most so many bytes: the root with a transcript of hours has a few million.
_MOST = 1 << 28
_PIECE = 1 << 20


class MemoryFullError(OSError):
    """Neither the disk nor the memory that may stand in for it has room."""


class Memory:
    """How many bytes may stand in memory for what the disk refused."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._lock = threading.RLock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands there: the disk has taken everything."""
        return self._left == self._limit

    def take(self, size: int) -> None:
        """Reserve `size` bytes (negative: give them back).

        Raises:
            MemoryFullError: there are not so many left.
        """
        with self._lock:
            if size > self._left:
                raise MemoryFullError("the memory for spans that the disk refused is full")
            self._left -= size


class Files:
    """The files of one folder. One thread at a time."""

    def __init__(self, folder: Path | None, memory: Memory) -> None:
        """`folder` None: there is no disk, everything stays in memory."""
        # As a text: a path is two objects, of each call and of each that waits to be sent.
        self._folder = None if folder is None else str(folder)
        self._memory = memory
        self._kept: dict[str, bytearray] = {}
        self._appended: AppendFile | None = None

    @property
    def folder(self) -> Path | None:
        """None: there is no disk."""
        return None if self._folder is None else Path(self._folder)

    @folder.setter
    def folder(self, folder: Path) -> None:
        """It has been renamed."""
        self._folder = str(folder)

    @property
    def all_on_disk(self) -> bool:
        """Whether another process would find everything."""
        return self._folder is not None and not self._kept

    @property
    def refused(self) -> bool:
        """Whether there is a disk that did not take everything."""
        return self._folder is not None and bool(self._kept)

    def keeps(self, name: str) -> bool:
        """Whether the file is in memory."""
        return name in self._kept

    @property
    def kept_bytes(self) -> int:
        """How much is in memory."""
        return sum(map(len, list(self._kept.values())))

    def sync(self) -> None:
        """Have the disk keep everything through a power cut.

        Raises:
            OSError: the disk fails.
        """
        if self._folder is None or not hasattr(os, "O_DIRECTORY"):
            return
        with secure_file.opened(self._folder) as inside:
            for name in self.names():
                if name in self._kept or self._status(name) is None or name == locks.NAME:
                    continue  # to close a second descriptor of the lock would give it up
                descriptor = secure_file.open_inside(inside, name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            os.fsync(inside)

    def append(self, name: str, content: bytes) -> None:
        """Append all of `content` or nothing.

        Raises:
            OSError: the disk refused, and memory does not stand in: a file is on one or the other.
        """
        if name in self._kept:
            self._memory.take(len(content))
            self._kept[name] += content
            return
        if self._folder is None:
            self.keep(name, content)
            return
        appended = self._appended = self._appended or AppendFile()
        with appended.opened(self._folder, name) as (descriptor, size):
            try:
                _write(descriptor, content)
            except OSError:
                # Half a record at the end is skipped by its checksum, but costs a search.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                appended.let_go()
                raise

    def close(self) -> None:
        """Nothing is appended for a while."""
        if self._appended is not None:
            self._appended.let_go()
            self._appended = None

    def keep(self, name: str, content: bytes) -> None:
        """Have the file in memory.

        Raises:
            MemoryFullError: there is no room.
        """
        self._memory.take(len(content) - len(self._kept.get(name, b"")))
        self._kept[name] = bytearray(content)

    def replace(self, name: str, content: bytes) -> None:
        """Have the file hold `content`: readers and a crash see the old or the new, never a part.

        Raises:
            MemoryFullError: the disk refused and memory has no room.
        """
        try:
            if self._folder is None:
                raise FileNotFoundError
            _replace(self._folder, name, lambda descriptor: _write(descriptor, content))
        except OSError:
            self.keep(name, content)
        else:
            self._drop(name)

    def move_to_disk(self) -> bool:
        """Try to write what stands in memory; whether all is on disk now."""
        if self._folder is None:
            return False
        for name, content in list(self._kept.items()):
            try:
                _replace(self._folder, name, lambda descriptor, content=content: _write(descriptor, content))  # type: ignore[misc]
            except OSError:
                return False
            self._drop(name)
        return True

    def copy_in(self, name: str, source: BinaryIO) -> None:
        """Copy an open file: as much as it has now, whatever somebody appends meanwhile.

        Raises:
            OSError: it becomes shorter, it cannot be read, or there is no room.
        """
        size = source.seek(0, io.SEEK_END)
        source.seek(0)
        if self._folder is None:
            # Before it is read: what has no room is not to be in memory at all.
            self._memory.take(size)
            try:
                content = bytearray().join(_pieces(source, size))
            except OSError:
                self._memory.take(-size)
                raise
            self._drop(name)
            self._kept[name] = content
            return

        def copy(descriptor: int) -> None:
            for piece in _pieces(source, size):
                _write(descriptor, piece)

        _replace(self._folder, name, copy)

    def open(self, name: str) -> BinaryIO:
        """Open for reading.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: there is something that is none of our files.
        """
        if name in self._kept:
            return io.BytesIO(self._kept[name])
        if self._folder is None:
            raise FileNotFoundError(name)
        return os.fdopen(secure_file.open_file(self._folder, name, os.O_RDONLY), "rb")

    def read(self, name: str, most: int = _MOST) -> bytes | None:
        """The whole content, or None: there is no such file.

        Raises:
            OSError: it has more than `most` bytes, or must not be used.
        """
        if name in self._kept:
            return bytes(self._kept[name])
        try:
            return None if self._folder is None else secure_file.read(self._folder, name, most)
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether there is such a file.

        Raises:
            OSError: the disk does not say.
        """
        return name in self._kept or self._status(name) is not None

    def size(self, name: str) -> int:
        """In bytes; 0 if there is no such file.

        Raises:
            OSError: the disk does not say.
        """
        if name in self._kept:
            return len(self._kept[name])
        status = self._status(name)
        return 0 if status is None else status.st_size

    def names(self) -> list[str]:
        """All files, sorted."""
        on_disk: set[str] = set()
        if self._folder is not None:
            with contextlib.suppress(FileNotFoundError):
                on_disk.update(os.listdir(self._folder))  # noqa: PTH208  names, not paths
        return sorted(on_disk | set(self._kept))

    def remove(self, name: str) -> None:
        """Remove the file if it is there."""
        self._drop(name)
        if self._folder is not None:
            with contextlib.suppress(FileNotFoundError), secure_file.opened(self._folder) as inside:
                os.unlink(name, dir_fd=inside)

    def remove_all(self) -> None:
        """Remove the folder and everything in it."""
        for name in list(self._kept):
            self._drop(name)
        if self._folder is not None:
            # Removes links, not what they lead to.
            shutil.rmtree(self._folder, ignore_errors=True)

    def _status(self, name: str) -> os.stat_result | None:
        """Of a regular file on disk.

        Raises:
            OSError: the disk does not say. (That is not to say that there is none: a root would go with its folder.)
        """
        if self._folder is None or not secure_file.is_plain(name):
            return None
        try:
            status = Path(self._folder, name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._memory.take(-len(kept))


def _replace(folder: str, name: str, write: Callable[[int], None]) -> None:
    if not secure_file.is_plain(name):
        raise OSError(errno.EINVAL, "not the name of a file in a folder")
    new = f".{name}.new"
    with secure_file.opened(folder) as inside:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=inside)  # of a process that was killed
        descriptor = secure_file.open_inside(inside, new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                write(descriptor)
            finally:
                os.close(descriptor)
            os.replace(new, name, src_dir_fd=inside, dst_dir_fd=inside)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=inside)
            raise


def _pieces(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = source.read(min(_PIECE, size))
        if not piece:
            raise OSError(errno.EIO, "it became shorter while it was copied")
        yield piece
        size -= len(piece)


def _write(descriptor: int, content: bytes | bytearray) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
