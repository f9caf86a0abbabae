"""Who works on a folder of the spool: exactly one process, and nobody once it is dead.

POSIX record locks (`lockf`) are given up by the kernel when their process dies, however it dies, and a
forked child does not inherit them; a `flock` would live on in every child. They have two sharp edges,
both dealt with here: they do not exclude two owners inside one process, so there is a register beside
them; and *any* close of the file releases them, so nothing else in voicespan opens a lock file.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

NAME = "lock"

_registering = threading.Lock()


class FolderLock:
    """Held from `take` to `release`, or to the end of the process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._key = str(folder)
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, *, create: bool = False) -> FolderLock | None:
        """The lock of `folder`, or None: somebody else has it, or the folder is gone.

        Raises:
            OSError: the folder cannot be used.
        """
        with _registering:
            if str(folder) in _register:
                return None
            descriptor = _open(folder / NAME, create=create)
            if descriptor is None:
                return None
            if not _lock(descriptor, folder / NAME):
                os.close(descriptor)
                return None
            lock = _register[str(folder)] = cls(folder, descriptor)
            return lock

    def follow(self, folder: Path) -> None:
        """The folder was renamed to `folder`."""
        with _registering:
            _register.pop(self._key, None)
            self._key = str(folder)
            _register[self._key] = self

    def release(self) -> None:
        """Let others work on the folder."""
        with _registering:
            if _register.pop(self._key, None) is self:
                os.close(self._descriptor)


_register: dict[str, FolderLock] = {}


def held_here(folder: Path) -> bool:
    """Whether this process works on `folder`."""
    with _registering:
        return str(folder) in _register


def _open(path: Path, *, create: bool) -> int | None:
    flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | (os.O_CREAT if create else 0)
    try:
        return os.open(path, flags, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _lock(descriptor: int, path: Path) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
        return False
    # Between the opening and the locking the folder may have been delivered and removed.
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _forget_inherited() -> None:
    """In a forked child: the locks are the parent's, and so are the folders."""
    global _registering  # noqa: PLW0603  the parent's lock may have been held at the fork
    _registering = threading.Lock()
    for lock in _register.values():
        os.close(lock._descriptor)  # noqa: SLF001  closing a child's copy leaves the parent's lock alone
    _register.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
