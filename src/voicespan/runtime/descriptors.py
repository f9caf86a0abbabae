"""How many files the process can still open. They are the application's: ours give way as it grows.

What is kept open only to spare the opening (journals, recordings) is a `KeptFile`. Together these are never more than
half of what the application leaves free: whoever looks (`make_room`) and finds more has as many closed, and they are
opened again for each use. The spool's and the audio thread look, several times a second while anything is kept open,
and so does each conversation that opens.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time

from voicespan.runtime import fork

#: What the operating system says when there is none left, of the process's and of the machine's.
NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})
#: What our threads open for a moment besides: a folder and a file in it, a source that is encoded, a connection.
_BRIEFLY_OPEN = 8
#: Seconds for which a look is good: one takes two calls of the system.
_LOOK_LASTS = 0.05


class KeptFile:
    """A file that is kept open from one use to the next while there are descriptors to spare.

    A subclass says how it is opened.
    """

    def __init__(self) -> None:
        self.descriptor = -1
        self.used_at = 0.0
        self._in_use = threading.RLock()
        self._uses = 0
        fork.register(self)

    def in_use(self, *, keep: bool = True) -> _Use:
        """The descriptor, which stays the same meanwhile; opened if need be. `keep`: it may stay open afterwards.

        Raises:
            OSError: it cannot be opened.
        """
        return _Use(self, keep)

    def begin_use(self) -> int:
        """See `in_use`."""
        self._in_use.acquire()
        try:
            if self.descriptor < 0:
                self.descriptor = self.open_again()
                _kept[self] = None
        except BaseException:
            self._in_use.release()
            raise
        self._uses += 1
        return self.descriptor

    def end_use(self, *, keep: bool) -> None:
        """See `in_use`."""
        try:
            self._uses -= 1
            self.used_at = time.monotonic()
            if not self._uses and not (keep and _surplus() <= 0):
                self.let_go()
        finally:
            self._in_use.release()

    def open_again(self) -> int:
        """A descriptor of the file.

        Raises:
            OSError: it cannot be opened.
        """
        raise NotImplementedError

    def let_go(self) -> None:
        """Close it; the next use opens it again."""
        with self._in_use:
            descriptor, self.descriptor = self.descriptor, -1
            _kept.pop(self, None)
            if descriptor >= 0:
                self.before_close(descriptor)
                os.close(descriptor)

    def before_close(self, descriptor: int) -> None:
        """It is about to be closed."""

    def give_way(self) -> bool:
        """Close it unless it is in use just now; never waits."""
        if not self._in_use.acquire(blocking=False):
            return False
        try:
            if self._uses:
                return False
            self.let_go()
            return True
        finally:
            self._in_use.release()

    def reset_after_fork(self) -> None:
        """In a forked child: the file is the parent's, and so is where it stands."""
        self._in_use = threading.RLock()
        self._uses = 0
        descriptor, self.descriptor = self.descriptor, -1
        _kept.pop(self, None)
        if descriptor >= 0:
            os.close(descriptor)


class _Use:
    """A use of a file: of a recording there are a dozen a second, and a generator for each costs more than the use."""

    __slots__ = ("_file", "_keep")

    def __init__(self, file: KeptFile, keep: bool) -> None:
        self._file = file
        self._keep = keep

    def __enter__(self) -> int:
        return self._file.begin_use()

    def __exit__(self, *_: object) -> None:
        self._file.end_use(keep=self._keep)


#: Those that are open.
_kept: dict[KeptFile, None] = {}


def make_room() -> None:
    """Have as many files closed that are only kept open as the application may need; the longest unused first."""
    surplus = _surplus(afresh=True) if _kept else 0
    if surplus > 0:
        open_now = list(_kept)  # in one step: other threads open and close theirs
        for file in sorted(open_now, key=lambda each: each.used_at):
            # One that is closed is one fewer of the process's, and one fewer of ours.
            surplus -= 2 * file.give_way()
            if surplus <= 0:
                return


def close_unused(kind: type[KeptFile], seconds: float) -> float | None:
    """Close those of this kind that nobody has used for so long; seconds until there are more, None: none is open."""
    now, later = time.monotonic(), None
    for file in list(_kept):
        if isinstance(file, kind) and not (now - file.used_at >= seconds and file.give_way()):
            later = seconds
    return later


def are_plentiful() -> bool:
    """Whether one more may be kept open."""
    return _surplus() <= -2  # noqa: PLR2004  one more of the process's, and one more of ours


if sys.platform == "win32":

    def _surplus(*, afresh: bool = False) -> int:  # noqa: ARG001  as elsewhere
        return 1  # a folder in which a file is open cannot be renamed

else:
    import resource

    def _surplus(*, afresh: bool = False) -> int:
        """How many of ours are too many, twice.

        The application has `open - kept`, and leaves `limit - open + kept`; half of that is to be at least `kept`.
        """
        global _looked  # noqa: PLW0603  replaced whole
        excess, kept, at = _looked
        now = time.monotonic()
        if afresh or now - at > _LOOK_LASTS:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            kept = len(_kept)
            excess = (
                -sys.maxsize if limit == resource.RLIM_INFINITY else _open_files() + _BRIEFLY_OPEN - limit
            )
            _looked = (excess, kept, now)
        return excess + len(_kept) + (len(_kept) - kept)


#: How many more files are open than may be, how many of them were kept open, and when that was.
_looked = (0, 0, -1.0)


def _open_files() -> int:
    """How many the process has open."""
    for place in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            # Linux 6.2 and later say how many there are.
            if place == "/proc/self/fd" and (count := os.stat(place).st_size):  # noqa: PTH116  many times a second
                return count
            return len(os.listdir(place))  # noqa: PTH208  names, not paths
    try:
        # The lowest number that is free is given out.
        number = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return sys.maxsize
    os.close(number)
    return number
