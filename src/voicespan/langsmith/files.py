"""A folder's files: on disk, or in memory where the disk refuses.

A disk that is full or gone must not cost the traces while the network still works. What cannot be
written stays in memory under the same name, within a bound that all folders share, and moves to the disk
once that takes writes again.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import threading
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRIVATE = 0o600


class MemoryFullError(OSError):
    """Neither the disk nor the memory that may stand in for it has room."""


class Memory:
    """How many bytes may stand in memory for what the disk refused."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

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
        self.folder = folder
        self._memory = memory
        self._kept: dict[str, bytearray] = {}

    @property
    def all_on_disk(self) -> bool:
        """Whether another process would find everything."""
        return self.folder is not None and not self._kept

    @property
    def refused(self) -> bool:
        """Whether there is a disk that did not take everything."""
        return self.folder is not None and bool(self._kept)

    def append(self, name: str, content: bytes) -> None:
        """Append all of `content` or nothing.

        Raises:
            OSError: the disk refused, and memory does not stand in: a file is on one or the other.
        """
        if name in self._kept:
            self._memory.take(len(content))
            self._kept[name] += content
            return
        if self.folder is None:
            self.keep(name, content)
            return
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write(descriptor, content)
            except OSError:
                # Half a record at the end is skipped by its checksum, but costs a search.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

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
            if self.folder is None:
                raise FileNotFoundError
            _replace(self.folder, name, lambda descriptor: _write(descriptor, content))
        except OSError:
            self.keep(name, content)
        else:
            self._drop(name)

    def move_to_disk(self) -> bool:
        """Try to write what stands in memory; whether all is on disk now."""
        if self.folder is None:
            return False
        for name, content in list(self._kept.items()):
            try:
                _replace(self.folder, name, lambda descriptor, content=content: _write(descriptor, content))  # type: ignore[misc]
            except OSError:
                return False
            self._drop(name)
        return True

    def copy_in(self, name: str, source: BinaryIO) -> None:
        """Copy an open file.

        Raises:
            OSError: it cannot be read, or there is no room.
        """
        if self.folder is None:
            self.keep(name, source.read())
            return

        def copy(descriptor: int) -> None:
            with open(descriptor, "wb", closefd=False) as target:
                shutil.copyfileobj(source, target, 1 << 20)

        _replace(self.folder, name, copy)

    def open(self, name: str) -> BinaryIO:
        """Open for reading.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if name in self._kept:
            return io.BytesIO(self._kept[name])
        if self.folder is None:
            raise FileNotFoundError(name)
        return (self.folder / name).open("rb")

    def read(self, name: str) -> bytes | None:
        """The whole content, or None: there is no such file."""
        try:
            with self.open(name) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._kept or (self.folder is not None and (self.folder / name).exists())

    def size(self, name: str) -> int:
        """In bytes; 0 if there is no such file."""
        if name in self._kept:
            return len(self._kept[name])
        try:
            return 0 if self.folder is None else (self.folder / name).stat().st_size
        except FileNotFoundError:
            return 0

    def names(self) -> list[str]:
        """All files, sorted."""
        on_disk: set[str] = set()
        if self.folder is not None:
            with contextlib.suppress(FileNotFoundError):
                on_disk.update(os.listdir(self.folder))  # noqa: PTH208  names, not paths
        return sorted(on_disk | set(self._kept))

    def remove(self, name: str) -> None:
        """Remove the file if it is there."""
        self._drop(name)
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove the folder and everything in it."""
        for name in list(self._kept):
            self._drop(name)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._memory.take(-len(kept))


def _replace(folder: Path, name: str, write: Callable[[int], None]) -> None:
    new = folder / f".{name}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    try:
        try:
            write(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, folder / name)  # noqa: PTH105  beside os.open
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _write(descriptor: int, content: bytes | bytearray) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
