"""The spool: everything that waits for LangSmith, one folder for each conversation.

What always holds:

1. What has been written survives the process, however it ends. It may not survive a power cut: files are synced to
   the disk only when their conversation is over and has to wait for its backend. Every file but the journals is
   replaced whole; a damaged one costs what was in it.
2. A folder is worked on by one process at a time, the holder of its lock, and by nobody of a dead process
   but the one that takes the lock after it.
3. A folder is sent only by a process that has the destination it names: the same URL, project, workspace
   and key.
4. Journals only grow, batches are ranges of them: what was sent once is sent again byte for byte.
5. Nothing is sent while its conversation is open; children go before their root; the root goes last, alone. (But
   for conversations that are shown while they go on: see `export/live`.)
6. Nothing is removed before the root has been acknowledged. Then, in one rename, it is gone.
7. The spool is bounded: `max_bytes`, and a share of what the disk has free (see `bound`). Past that, what is
   only kept goes, no new recording is begun or taken, and spans of the running conversations are dropped and
   counted on their roots. A root always fits.
8. Everything in it is this user's alone, and nothing is taken for ours by its name only (see `secure_file`).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import shutil
import stat
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from voicespan.delivery.spool import locks, secure_file
from voicespan.delivery.spool.append_file import AppendFile
from voicespan.delivery.spool.files import Memory, MemoryFullError
from voicespan.delivery.spool.folder import Folder, is_held
from voicespan.delivery.spool.locks import GONE, KEPT, MAKING, FolderLock
from voicespan.delivery.spool.machine import machine
from voicespan.delivery.spool.meta import Meta
from voicespan.delivery.spool.recording_copies import RecordingCopies
from voicespan.delivery.spool.settings import MAX_BYTES
from voicespan.runtime.descriptors import close_unused, make_room
from voicespan.runtime.pacing import paced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from voicespan.delivery.encoding.journal import Envelope
    from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
    from voicespan.delivery.spool.meta import Terms
    from voicespan.delivery.spool.settings import SpoolSettings
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: What stands in memory when no disk takes it, over all conversations of a processor.
MEMORY_BYTES = 32_000_000
#: One part in so many is kept for roots.
_ROOT_RESERVE = 20
#: Seconds between two looks at how full the spool is.
_LOOK_EVERY = 10.0
#: Seconds between two looks for a place, where there was none: a recording waits for its folder, but not for long.
_CHOOSE_EVERY = 1.0
#: Seconds over which one is spread: each file of each folder is asked for its size.
_LOOKING = 0.2
#: Seconds that the journal of a conversation stays open after a span.
_JOURNAL_STAYS_OPEN = 1.0
#: A folder that was being made when its process died, in seconds.
_ABANDONED_AFTER = 3600
#: To make one takes milliseconds; so many seconds after it was begun nobody is making it any more.
_MAKING_SECONDS = 60


class Spool:
    """The folders under the first place that can be written."""

    def __init__(self, settings: SpoolSettings, clock: Clock) -> None:
        self.settings = settings
        self.memory = Memory(MEMORY_BYTES)
        self.copies = RecordingCopies()
        self._clock = clock
        self._root: Path | None = None
        #: When to look for a place (again), in monotonic seconds.
        self._choose_at = -math.inf
        self._used = 0
        self._keeps_something = True
        self._limit = settings.max_bytes
        self._look_again_at = 0.0
        #: Whether a folder waits for another destination than this process's: it must not be in the way of its calls.
        self.is_of_others: Callable[[Path], bool] = lambda _: False

    @property
    def root(self) -> Path | None:
        """Where new folders are made; None: nowhere, they stay in memory."""
        now = self._clock.monotonic_ns() / 1e9
        if self._root is None and now >= self._choose_at:
            self._choose_at = now + _CHOOSE_EVERY
            self._root = self._choose()
        return self._root

    def create(self, meta: Meta, opened: bytes | None = None) -> Folder:
        """A new folder, on disk if that can be.

        Raises:
            MemoryFullError: neither disk nor memory has room.
        """
        name = self.name_of(meta)
        try:
            return Folder.create(self.root, name, meta, opened, self.memory)
        except OSError as error:
            reason = error.strerror or "refused"
            say_once(
                f"voicespan: cannot write to the spool {self.root} ({reason}); conversations are kept in memory"
            )
            return Folder.create(None, name, meta, opened, self.memory)

    def name_of(self, meta: Meta) -> str:
        """What a new folder is called: by when its conversation began, so that they sort by age."""
        started = datetime.fromtimestamp(meta.started_at / 1e9, tz=timezone.utc)
        return f"{started:%Y%m%dT%H%M%S}-{meta.trace_id or 'spans'}-{secrets.token_hex(3)}"

    def move_to_disk(self, folder: Folder) -> bool:
        """Try to write to the disk what of the folder stands in memory; whether all of it is there now."""
        size = folder.files.kept_bytes
        if self.root is None or not self.reserve(size):
            return False
        moved = folder.move_to_disk(self.root)
        if not moved:
            self._used -= size - folder.files.kept_bytes
        return moved

    def reserve(self, size: int) -> bool:
        """Whether `size` bytes, other than a root's, may be written; they count from now on.

        What is only kept makes room for what is to be sent.
        """
        if not self._look_again_at:
            self.look_now_and_then()
        allowed = self._limit - self._limit // _ROOT_RESERVE
        if self._used + size > allowed and self._keeps_something:
            self._forget_kept(allowed - size)
        if self._used + size > allowed:
            return False
        self._used += size
        return True

    def append(self, folder: Folder, envelope: Envelope, spans: Iterable[Span]) -> int:
        """Journal ended spans; how many there was no room for."""
        encoded = [span.SerializeToString() for span in spans]
        has_room = self.reserve(sum(map(len, encoded)))
        if not has_room and not self._is_disk_full:
            return len(encoded)
        try:
            # For a disk that is full memory stands in, for a spool that is full nothing does.
            folder.append(envelope, encoded, on_disk=has_room)
        except MemoryFullError:
            return len(encoded)
        return 0

    @property
    def _is_disk_full(self) -> bool:
        """Whether the spool may hold less than it was allowed, because others have filled the disk."""
        return self._limit < self.settings.max_bytes

    def give_way(self) -> None:
        """Close what is only kept open, as far as the application may need the descriptors."""
        make_room()

    def close_journals(self) -> float | None:
        """Close the journals that nothing was written to lately; seconds until there may be more."""
        return close_unused(AppendFile, _JOURNAL_STAYS_OPEN)

    def look_now_and_then(self) -> None:
        """Add up what is on the disk, if the last time is long ago: others write there, and so do recorders.

        Called by the writer, which is not in a turn of ours then.
        """
        now = self._clock.monotonic_ns() / 1e9
        if now >= self._look_again_at:
            began = time.thread_time()
            self._look()
            # A spool with thousands of folders takes its time to add up.
            self._look_again_at = now + max(_LOOK_EVERY, 100 * (time.thread_time() - began))

    def waiting(self) -> list[Path]:
        """Every folder that waits or is worked on, in every place a process may have chosen; oldest first."""
        found = [path for root in self.places() for path in _folders(root) if not path.name.startswith(KEPT)]
        return sorted(found, key=lambda path: path.name)

    def kept(self) -> list[Path]:
        """Every folder that nothing will be sent from; oldest first."""
        found = [path for root in self.places() for path in _folders(root) if path.name.startswith(KEPT)]
        return sorted(found, key=lambda path: path.name)

    def tidy(self) -> None:
        """Remove what killed processes left half made or half removed."""
        for root in self.places():
            for path in subfolders(root):
                if path.name.startswith(GONE) or (
                    path.name.startswith(MAKING) and _is_abandoned(path, self._clock.time_ns() / 1e9)
                ):
                    shutil.rmtree(path, ignore_errors=True)

    def _choose(self) -> Path | None:
        for place in (own_place(self.settings), self.settings.temporary):
            if place is not None and self._can_be_used(place):
                if place != own_place(self.settings):
                    say_once(f"voicespan: uses {place} instead")
                return place
        say_once(
            "voicespan: no disk takes the spool; conversations are kept in memory, and what is not delivered at exit is lost"
        )
        return None

    def _can_be_used(self, place: Path) -> bool:
        try:
            secure_file.make(place)
            if place == self.settings.temporary and not _is_ours(place):
                say_once(f"voicespan: cannot use {place} as its spool (it belongs to somebody else)")
                return False
            probe(place)
        except OSError as error:
            say_once(f"voicespan: cannot use {place} as its spool ({error.strerror or error})")
            return False
        return True

    def places(self) -> Iterator[Path]:
        """Every place that a process may have chosen."""
        own = own_place(self.settings)
        yield own
        if own != self.settings.folder and hasattr(os, "geteuid") and os.geteuid() == 0:
            # Root looks after everybody's, in a volume of several containers.
            for path in subfolders(self.settings.folder):
                if path != own and path.name.startswith("voicespan-") and secure_file.is_private(path.stat()):
                    yield path
        temporary = self.settings.temporary
        if temporary is not None and temporary != own and _is_ours(temporary):
            yield temporary

    def _counts(self, path: Path) -> bool:
        """Whether a folder's bytes are among those that the bound is for."""
        return not self.is_of_others(path)

    def _look(self) -> None:
        root = self.root
        if root is None:
            self._used, self._limit = 0, self.settings.max_bytes
            return
        sizes: list[int] = []
        own = [path for path in subfolders(root) if self._counts(path)]
        paced(own, lambda path: sizes.append(folder_size(path)), _LOOKING, self._clock)
        self._used = sum(sizes)
        free = shutil.disk_usage(root).free
        self._limit = bound(self.settings.max_bytes, self._used, free)
        self._keeps_something = True

    def _forget_kept(self, allowed: int) -> None:
        """Remove what is only kept, the oldest first, until no more than `allowed` bytes are used."""
        for path in self.kept():
            if self._used <= allowed:
                return
            size = folder_size(path)
            self._say_forgotten(path)
            shutil.rmtree(path, ignore_errors=True)
            self._used -= size
        self._keeps_something = False

    def _say_forgotten(self, path: Path) -> None:
        say_once(f"voicespan: the spool is full; removed {path.name}, which could not be delivered")


def bound(max_bytes: int, used: int, free: int) -> int:
    """How many bytes a spool may hold that holds `used` now, on a disk that has `free` left.

    A tenth of what is free, since nobody may have thought of the spool; half of it, where somebody has raised the
    bound: they have, and what they asked for counts.
    """
    return min(max_bytes, (free + used) // (2 if max_bytes > MAX_BYTES else 10))


def own_place(settings: SpoolSettings) -> Path:
    """The spool's folder, or if others can write there (a volume of several containers), one of this user's in it."""
    place = settings.folder
    try:
        found = place.stat()
    except OSError:
        return place
    return (
        place
        if place == settings.temporary or secure_file.is_private(found)
        else place / f"voicespan-{os.geteuid()}"
    )


def probe(place: Path) -> None:
    """Make a folder, lock it, remove it.

    Raises:
        OSError: one of these cannot be done: some file systems have no locks, or nothing that is private.
    """
    folder = place / f".probe-{secrets.token_hex(3)}"
    with secure_file.opened(place) as inside:
        os.mkdir(folder.name, 0o700, dir_fd=inside)
        try:
            lock = FolderLock.take(folder, create=True)
            if lock is not None:
                lock.release()
        finally:
            shutil.rmtree(folder)


def _is_ours(place: Path) -> bool:
    """Whether a folder among everybody's temporary files was made by this user, for this user."""
    try:
        found = place.lstat()
    except OSError:
        return False
    # Not a link: in a folder that everybody can write, a link leads where its maker wants.
    private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    return not hasattr(os, "getuid") or (private and found.st_uid == os.getuid())


def _folders(root: Path) -> Iterator[Path]:
    return (path for path in subfolders(root) if not path.name.startswith("."))


def subfolders(root: Path) -> list[Path]:
    """Every folder in `root`; none if it cannot be read."""
    try:
        with os.scandir(root) as entries:
            return [root / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _is_abandoned(making: Path, now: float) -> bool:
    """Whether the process is dead that was making a folder; `now`: seconds since the epoch."""
    with contextlib.suppress(OSError):
        age = now - making.stat().st_mtime
        # A version that has the lock in the folder makes the folder first. And to look takes the lock for a moment.
        if age < _MAKING_SECONDS or is_held(making):
            return False
        return age > _ABANDONED_AFTER or (making / locks.NAME).exists()
    return False


def folder_size(folder: Path) -> int:
    """Bytes of its files."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total


_said: set[str] = set()


def say_once(words: str) -> None:
    """Log a warning that a process gives once."""
    if words not in _said and len(_said) < 100:  # noqa: PLR2004
        _said.add(words)
        _logger.warning("%s", words)


class SpoolTarget(NamedTuple):
    """Where ended spans are written, and how."""

    spool: Spool
    encoder: SpanEncoder
    #: As folders name it.
    destination: dict[str, str | None]
    clock: Clock
    #: What whoever delivers it has to keep to; None: who writes it delivers it.
    terms: Terms | None = None

    def meta(self, started_at: int, **facts: str | None) -> Meta:
        """What a new folder says of itself. `started_at`: wall clock, nanoseconds."""
        here = None if self.terms is None else machine()
        return Meta(self.destination, started_at, terms=self.terms, machine=here, **facts)  # type: ignore[arg-type]
