"""Opens files of the spool safely, also where other users can write beside them.

A spool may be in `/tmp` or in a volume that several containers share, and what is in it is read, sent and shown.
Somebody could put a link there that leads out of the spool, a FIFO that never answers, or a name with a slash. So:

1. A folder is used if it is a folder (no link), belongs to this user, and nobody else may write in it. Root, who
   looks after the spools of others, may use anybody's.
2. A file is opened by its plain name, relative to an open folder, without following a link and without blocking, and
   only if it is a regular file that belongs to the folder's owner or to this user.
3. Checks are made on the open descriptor, never on a name, which may mean something else later.

On systems without these notions (Windows) files are opened by name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
#: Not to wait: for the other end of a FIFO, or for a device.
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_MODE = 0o600


@contextlib.contextmanager
def opened(folder: str | Path) -> Iterator[int]:
    """A descriptor of `folder`, to open what is in it.

    Raises:
        OSError: it is not there, or not a folder of this user's alone.
    """
    descriptor = os.open(folder, _FOLDER)
    try:
        if not is_private(os.fstat(descriptor)):
            raise PermissionError(errno.EPERM, "others can write there, or it is somebody else's")
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(folder: str | Path, name: str, flags: int) -> int:
    """A descriptor of the regular file `name` in `folder`; `flags` as for `os.open`.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it, or the folder, must not be used.
    """
    with opened(folder) as inside:
        return open_inside(inside, name, flags)


def open_inside(folder: int, name: str, flags: int) -> int:
    """The same in a folder that is open."""
    if not is_plain(name):
        raise OSError(errno.EINVAL, "not the name of a file in a folder")
    descriptor = os.open(name, flags | _FILE, _MODE, dir_fd=folder)
    try:
        found, owner = os.fstat(descriptor), os.fstat(folder)
        _check(found, {owner.st_uid, os.geteuid()})
        if flags & os.O_CREAT and _is_roots_for_another(found, owner):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read(folder: str | Path, name: str, most: int) -> bytes:
    """All of a file that has at most `most` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it must not be used, or is larger.
    """
    with os.fdopen(open_file(folder, name, os.O_RDONLY), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, "larger than it can be")
    return content


def is_regular(path: Path) -> bool:
    """Whether `path` may be opened by its name: for libraries that open files themselves."""
    try:
        os.close(open_file(path.parent, path.name, os.O_RDONLY))
    except OSError:
        return False
    return True


def give_to_owner(path: Path) -> None:
    """Have a file that a library has made belong to its folder's owner, where root has made it.

    Raises:
        OSError: it is not there.
    """
    owner = path.parent.stat()
    if _is_roots_for_another(path.lstat(), owner):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _is_roots_for_another(found: os.stat_result, owner: os.stat_result) -> bool:
    """Whether root, who looks after the spool of somebody else, has made a file: it is theirs."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 == found.st_uid != owner.st_uid


def is_private(found: os.stat_result) -> bool:
    """Whether a folder is this user's (or this user is root), and nobody else may write in it."""
    if not hasattr(os, "geteuid"):
        return True
    mine = found.st_uid == os.geteuid() or os.geteuid() == 0
    return stat.S_ISDIR(found.st_mode) and mine and not stat.S_IMODE(found.st_mode) & 0o022


def is_plain(name: object) -> bool:
    """Whether `name` is that of a file in a folder, and leads nowhere else."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return not any(mark in name for mark in ("/", "\\", "\0"))


def _check(found: os.stat_result, owners: set[int]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if found.st_uid not in owners:
        raise PermissionError(errno.EPERM, "somebody else's file")


def make(folder: Path) -> None:
    """Make `folder` and what it stands in, for this user alone, whatever the umask is.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.parent.exists() and folder.parent != folder:
        make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
