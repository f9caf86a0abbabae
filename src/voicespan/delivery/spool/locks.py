"""Locks the folders of the spool: one process works on a folder at a time, and a dead process holds no lock.

The spool has one file, `.lock`. A process that works on a folder locks one byte of that file; which byte is a hash
of the folder's name. So a process needs one open file for all of its conversations. A process that needs the file
no longer removes it, unless others use it. Whoever has locked a byte then checks that the file still has the name
`.lock`, since it may have been removed in between.

The first versions had a file `lock` in each folder. Where such a file exists it decides. Where it is missing, those
versions take the folder for locked.

These are POSIX record locks (`lockf`): the kernel releases them when the process dies, however it dies, and a
forked child does not inherit them. (A `flock` would live on in every child.) They have two pitfalls:

1. They do not exclude two owners inside one process.
2. Closing *any* descriptor of the file releases them.

So this module keeps a register of the files that this process has locked, by device and inode, since names change,
and never opens one of them a second time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voicespan.delivery.spool import secure_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    _Identity: TypeAlias = tuple[int, int]

if sys.platform != "win32":
    import fcntl

#: In a folder of the first versions.
NAME = "lock"
#: In the spool.
SPOOL_LOCK = ".lock"
#: How the names of folders begin that are being made, being removed, or only kept. The lock stays the same.
MAKING = ".new-"
GONE = ".gone-"
KEPT = "kept-"
#: Bytes of a hash that say which byte of the file stands for a folder: 48 bits are few enough for any file system.
_OFFSET_BYTES = 6

#: How often the lock of a new folder is asked for: who removes the file has all of it for some microseconds.
_ATTEMPTS = 20

_registering = threading.RLock()


class FolderLock:
    """Held from `take` to `release`, or to the end of the process, whatever becomes of the folder's name."""

    def __init__(self, file: _LockFile, offset: int | None) -> None:
        """Not to be called: see `take`."""
        self._file = file
        self._offset = offset

    @classmethod
    def take(cls, folder: Path, *, create: bool = False, to: str = "") -> FolderLock | None:
        """The lock of `folder`, or None: somebody else has it, or the folder is gone.

        `create`: the folder is about to be made; `to`: what the lock is for, other than to work on the folder.

        Raises:
            OSError: the folder cannot be used.
        """
        with _registering:
            own = not create and not to and _exists(folder / NAME)
            for attempt in range(_ATTEMPTS):
                file = _opened(folder, NAME, create=False) if own else _opened(folder.parent, SPOOL_LOCK)
                if file is None:
                    return None
                lock = cls(file, None if own else _offset(folder.name, to))
                if lock._is_taken(folder, create=create):
                    return lock
                # Of a folder that nobody has seen yet only who removes the file can have the lock, for a moment.
                if not create:
                    break
                time.sleep(attempt / 1000)
        return None

    def _is_taken(self, folder: Path, *, create: bool) -> bool:
        file, offset = self._file, self._offset
        locked = taken = False
        try:
            locked = offset not in file.held and file.lock(offset)
            # Between the opening and the locking the folder may have been delivered, and either of them removed.
            if locked and file.is_there() and (create or _is_folder(folder)):
                file.held[offset] = self
                taken = True
        finally:
            # Also where a file system has no locks (ENOLCK).
            if not taken:
                if locked:
                    file.unlock(offset)
                file.close_unless_held()
        return taken

    def release(self) -> None:
        """Let others work on the folder."""
        with _registering:
            if self._file.held.get(self._offset) is self:
                del self._file.held[self._offset]
                self._file.unlock(self._offset)
                self._file.close_unless_held()

    def follow(self, file: _LockFile) -> None:
        """Be held in another file: somebody removed the first one."""
        self._file = file


@dataclass(eq=False)
class _LockFile:
    """A file that this process has open to lock bytes of it, or all of it (offset None)."""

    path: Path
    descriptor: int
    identity: _Identity
    held: dict[int | None, FolderLock] = field(default_factory=dict)

    def lock(self, offset: int | None) -> bool:
        """Whether nobody else has it.

        Raises:
            OSError: the file system has no locks.
        """
        if sys.platform == "win32":
            return True
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *_range(offset))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            return False
        return True

    def unlock(self, offset: int | None) -> None:
        """Let others have it."""
        if sys.platform != "win32":
            # A file system that does not let go of it now does when the file is closed.
            with contextlib.suppress(OSError):
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN, *_range(offset))

    def is_there(self) -> bool:
        """Whether it still has its name."""
        return _identity(self.path) == self.identity

    def close_unless_held(self, *, remove: bool = True) -> None:
        """Close the file if nothing of it is locked: to close it lets go of everything."""
        if self.held or self.descriptor < 0:
            return
        if remove and self.path.name == SPOOL_LOCK:
            # All of it can be locked when no other process has locked anything.
            with contextlib.suppress(OSError):
                if self.lock(None) and self.is_there():
                    self.path.unlink()
        _files.pop(self.identity, None)
        os.close(self.descriptor)
        self.descriptor = -1


_files: dict[_Identity, _LockFile] = {}


def held_here(folder: Path) -> bool:
    """Whether this process works on `folder`."""
    with _registering:
        own = _identity(folder / NAME)
        if own is not None:
            return own in _files
        file = _files.get(_identity(folder.parent / SPOOL_LOCK) or (0, 0))
        return file is not None and _offset(folder.name) in file.held


def _opened(folder: Path, name: str, *, create: bool = True) -> _LockFile | None:
    """The file that is locked, open once in this process; None: it, or its folder, is not there."""
    file = _files.get(_identity(folder / name) or (0, 0))
    if file is not None:
        return file
    try:
        descriptor = secure_file.open_file(folder, name, os.O_RDWR | (os.O_CREAT if create else 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    status = os.fstat(descriptor)
    identity = (status.st_dev, status.st_ino)
    file = _files[identity] = _LockFile(folder / name, descriptor, identity)
    if create:
        _take_over(file)
    return file


def _take_over(file: _LockFile) -> None:
    """Somebody removed the spool's file that stood here: what was locked in it is locked in this one."""
    for former in [each for each in _files.values() if each.path == file.path and each is not file]:
        for offset, lock in list(former.held.items()):
            if file.lock(offset):
                file.held[offset] = lock
                lock.follow(file)
                del former.held[offset]
        former.close_unless_held()


def _offset(name: str, to: str = "") -> int:
    for mark in (MAKING, GONE, KEPT):
        name = name.removeprefix(mark)
    # No folder's name has such a character.
    name = f"{name}/{to}" if to else name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:_OFFSET_BYTES], "big")


def _range(offset: int | None) -> tuple[int, int]:
    """How many bytes from where; 0 bytes are all."""
    return (0, 0) if offset is None else (1, offset)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _forget_inherited() -> None:
    """In a forked child: the locks are the parent's, and so are the folders."""
    global _registering  # noqa: PLW0603  the parent's lock may have been held at the fork
    _registering = threading.RLock()
    for file in list(_files.values()):
        file.held.clear()
        file.close_unless_held(remove=False)  # closing a child's copy leaves the parent's locks alone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
