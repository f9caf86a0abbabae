"""Who works on a folder of the spool: exactly one process, and nobody once it is dead.

POSIX record locks (`lockf`) are given up by the kernel when their process dies, however it dies, and a
forked child does not inherit them; a `flock` would live on in every child. They have two sharp edges,
both dealt with here: they do not exclude two owners inside one process, and *any* close of the file
releases them. So there is a register of the files that this process has locked, by what they are and not
by their names, which change; and none of them is ever opened a second time.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

from voicespan.delivery.spool import secure_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    _File: TypeAlias = tuple[int, int]

if sys.platform != "win32":
    import fcntl

NAME = "lock"

_registering = threading.RLock()


class FolderLock:
    """Held from `take` to `release`, or to the end of the process, whatever becomes of the folder's name."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, *, create: bool = False) -> FolderLock | None:
        """The lock of `folder`, or None: somebody else has it, or the folder is gone.

        Raises:
            OSError: the folder cannot be used.
        """
        with _registering:
            if _identity(folder) in _register:
                return None
            descriptor = _open(folder, create=create)
            if descriptor is None:
                return None
            lock = cls(descriptor)
            taken = False
            try:
                # Between the opening and the locking the folder may have been delivered and removed.
                taken = _lock(descriptor) and _identity(folder) == lock._identity()
            finally:
                # Also where a file system has no locks (ENOLCK).
                if not taken:
                    lock._close()
            if not taken:
                return None
            _register[lock._identity()] = lock
            return lock

    def release(self) -> None:
        """Let others work on the folder."""
        with _registering:
            if self._descriptor >= 0:
                del _register[self._identity()]
                self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def _identity(self) -> _File:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino


_register: dict[_File, FolderLock] = {}


def held_here(folder: Path) -> bool:
    """Whether this process works on `folder`."""
    with _registering:
        return _identity(folder) in _register


def _identity(folder: Path) -> _File | None:
    try:
        status = (folder / NAME).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _open(folder: Path, *, create: bool) -> int | None:
    try:
        return secure_file.open_file(folder, NAME, os.O_RDWR | (os.O_CREAT if create else 0))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
        return False
    return True


def _forget_inherited() -> None:
    """In a forked child: the locks are the parent's, and so are the folders."""
    global _registering  # noqa: PLW0603  the parent's lock may have been held at the fork
    _registering = threading.RLock()
    for lock in _register.values():
        lock._close()  # noqa: SLF001  closing a child's copy leaves the parent's lock alone
    _register.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
