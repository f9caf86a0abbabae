"""One folder of the spool: what a conversation has on disk until LangSmith has it.

=================  ==========================================================================================
`meta.json`        whose it is: ids, thread, destination; written once
`spans-N.journal`  encoded spans that have ended (see `journal`); a new one is begun when the last may be torn
`open.pb`          the root and the other spans that are open, as of now; replaced as they change
`root.pb`          the root, once it has ended
`settled.json`     what became of the recording; from here on the folder is complete
`progress.json`    what was sent, what was acknowledged (see `export/delivery_state`)
the recording      as the recorder or a client made it
=================  ==========================================================================================

Which process works on it is said by a lock beside it (see `locks`). A folder of *standalone* spans has neither root nor recording: spans of the application that ended after their
root, or, with `export="all"`, of other traces.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from voicespan.delivery.encoding import journal
from voicespan.delivery.encoding.journal import Envelope, Kind
from voicespan.delivery.spool import locks, secure_file
from voicespan.delivery.spool.files import Files, Memory, MemoryFullError
from voicespan.delivery.spool.locks import GONE, KEPT, MAKING, FolderLock
from voicespan.delivery.spool.meta import Meta, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


META = "meta.json"
OPEN = "open.pb"
ROOT = "root.pb"
SETTLED = "settled.json"
PROGRESS = "progress.json"
JOURNAL = ".journal"
FIRST_JOURNAL = f"spans-000{JOURNAL}"

#: Bytes of `meta.json` and `settled.json`, which have a few hundred.
_MOST_FACTS = 1 << 20


@dataclass(frozen=True)
class RecordingResult:
    """What became of the recording."""

    #: `attached`, `none`, `too_large`, `unreadable`, `timeout`, ...
    status: str
    #: The name of the file in the folder; there may be one that was not attached.
    file: str | None = None
    mime_type: str = "application/octet-stream"
    #: Wall clock, seconds; None: not known.
    started_at: float | None = None

    @classmethod
    def of(cls, written: bytes | None) -> RecordingResult | None:
        """What `settled.json` says; None: it is not there, or damaged, and is found out anew from the other files."""
        try:
            settled = cls(**read_json(written))
        except TypeError:
            return None
        return settled if settled.is_sound() else None

    def is_sound(self) -> bool:
        """The same as for `Meta`; above all, the file is one of the folder."""
        return (
            isinstance(self.status, str)
            and (self.file is not None or self.status != "attached")
            and (self.file is None or secure_file.is_plain(self.file))
            and isinstance(self.mime_type, str)
            and (
                self.started_at is None
                or (type(self.started_at) in (int, float) and math.isfinite(self.started_at))
            )
        )


class Folder:
    """A folder that this process works on."""

    def __init__(self, meta: Meta, files: Files, lock: FolderLock | None, name: str) -> None:
        """Not to be called: see `create` and `claim`."""
        self.meta = meta
        self.files = files
        self.name = name
        self._lock = lock
        self._is_removed = False
        self._segment = self._next_segment()
        self._envelope = b""  # that the last spans came under

    @classmethod
    def create(
        cls, spool: Path | None, name: str, meta: Meta, opened: bytes | None, memory: Memory
    ) -> Folder:
        """A new folder in `spool`, locked; without a spool, in memory. `opened`: the first `open.pb`.

        Raises:
            OSError: the disk refuses.
        """
        written = meta.encoded()
        if spool is None:
            files = Files(None, memory)
            files.replace(META, written)
            if opened is not None:
                files.replace(OPEN, opened)
            return cls(meta, files, None, name)
        path, lock = _make(spool, name, {META: written} | ({} if opened is None else {OPEN: opened}))
        return cls(meta, Files(path, memory), lock, name)

    @classmethod
    def claim(cls, path: Path, memory: Memory) -> Folder | None:
        """Work on a folder that is there; None: somebody else does, or it is gone or no folder of ours.

        Raises:
            OSError: it cannot be read.
        """
        lock = FolderLock.take(path)
        if lock is None:
            return None
        folder = None
        try:
            files = Files(path, memory)
            meta = Meta.of(files.read(META, _MOST_FACTS))
            if meta is not None:
                folder = cls(meta, files, lock, path.name)
        finally:
            if folder is None:
                lock.release()
        return folder

    @classmethod
    def beside(cls, path: Path, meta: Meta) -> Folder:
        """A folder that another thread, or another process, works on: to be read."""
        # What the disk refused stands in the memory of the one that writes.
        return cls(meta, Files(path, Memory(0)), None, path.name)

    # While the conversation is open.

    def append(self, envelope: Envelope, spans: Sequence[bytes], *, on_disk: bool = True) -> None:
        """Journal ended spans. `on_disk`: whether the disk has room for them, as far as is known.

        Raises:
            MemoryFullError: neither disk nor memory has room.
        """
        content = b"".join(journal.record(Kind.SPAN, span) for span in spans)
        payload = envelope.payload()
        head = journal.record(Kind.ENVELOPE, payload)
        if not on_disk and not self.files.keeps(self._segment):
            self._continue_in_memory(head + content)
        else:
            try:
                self.files.append(self._segment, (b"" if payload == self._envelope else head) + content)
            except MemoryFullError:
                raise
            except OSError:
                self._continue_in_memory(head + content)
        self._envelope = payload

    def checkpoint(self, opened: bytes) -> None:
        """Have the spans that are open on disk as they are now."""
        self.files.replace(OPEN, opened)

    def end(self, root: bytes) -> None:
        """The root has ended."""
        self.files.replace(ROOT, root)

    def set_recording_result(self, settled: RecordingResult) -> None:
        """The recording is there or is not coming: the folder is complete."""
        self.files.replace(SETTLED, json.dumps(asdict(settled)).encode())

    # When it is complete.

    @property
    def recording_result(self) -> RecordingResult | None:
        """What became of the recording; None: the folder is not complete."""
        return RecordingResult.of(self.files.read(SETTLED, _MOST_FACTS))

    def segments(self) -> list[str]:
        """The journals, in order."""
        return [name for name in self.files.names() if name.endswith(JOURNAL)]

    def records(self, segment: str, start: int = 0, end: int | None = None) -> Iterator[journal.Record]:
        """What a journal holds."""
        with self.files.open(segment) as file:
            yield from journal.read(file, start, end)

    def open_recording(self, name: str) -> BinaryIO:
        """Open the recording for reading."""
        return self.files.open(name)

    def last_sign_of_life(self) -> int:
        """When something was last written before now (wall clock, nanoseconds); for a process that died."""
        if self.files.folder is None:
            return self.meta.started_at
        signs = [
            (self.files.folder / name).lstat().st_mtime_ns
            for name in self.files.names()
            if name not in (locks.NAME, PROGRESS, SETTLED)
        ]
        return max([self.meta.started_at, *signs])

    def sync(self) -> None:
        """Have the disk keep everything through a power cut: it may wait for days.

        Raises:
            OSError: the disk fails.
        """
        self.files.sync()

    def move_to_disk(self, spool: Path) -> bool:
        """Write what stands in memory to the folder on disk, which is made in `spool` if need be; whether it is all there."""
        if self._is_removed:
            return True
        if self.files.folder is None:
            try:
                _, self._lock = _make(spool, self.name, {META: self.files.read(META) or b""})
            except OSError:
                return False
            self.files.folder = spool / self.name
        return self.files.move_to_disk()

    def release(self) -> None:
        """Let other processes work on it."""
        self.files.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def remove(self) -> None:
        """Everything is delivered."""
        path = self.files.folder
        if path is not None:
            # Renamed first: a half-removed folder must not be taken for a dead conversation.
            gone = path.with_name(f"{GONE}{path.name}")
            path.rename(gone)
            self.files.folder = gone
        self.files.remove_all()
        self._is_removed = True
        self.release()

    def keep(self) -> None:
        """Nothing of it will be sent any more; what is left is for a person to look at."""
        path = self.files.folder
        if path is not None and not path.name.startswith(KEPT):
            kept = path.with_name(KEPT + path.name)
            path.rename(kept)
            self.files.folder = kept
        self.release()

    def _continue_in_memory(self, content: bytes) -> None:
        segment = self._next_segment()
        self.files.keep(segment, content)
        self._segment = segment

    def _next_segment(self) -> str:
        return f"spans-{len(self.segments()):03d}{JOURNAL}"


def _make(spool: Path, name: str, contents: Mapping[str, bytes]) -> tuple[Path, FolderLock]:
    """Others see the folder only when it is locked and says whose it is."""
    with secure_file.opened(spool) as inside:
        making = spool / f"{MAKING}{name}"
        lock = FolderLock.take(making, create=True)
        if lock is None:
            raise FileExistsError(f"somebody makes {making}")
        try:
            os.mkdir(making.name, 0o700, dir_fd=inside)
            for file, content in contents.items():
                _write(making, file, content)
            os.rename(making.name, name, src_dir_fd=inside, dst_dir_fd=inside)
        except BaseException:
            lock.release()
            shutil.rmtree(making, ignore_errors=True)
            raise
    return spool / name, lock


def signs_of_life(path: Path) -> float:
    """When something was last written in the folder (wall clock, seconds); 0: it is gone."""
    latest = 0.0
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            latest = max(latest, entry.stat(follow_symlinks=False).st_mtime)
    return latest


def read_meta(path: Path) -> Meta | None:
    """Whose folder `path` is, without working on it; None: also if it must not be used."""
    try:
        return Meta.of(secure_file.read(path, META, _MOST_FACTS))
    except OSError:
        return None


def is_held(path: Path) -> bool:
    """Whether some process works on the folder now."""
    try:
        if locks.held_here(path):
            return True
        lock = FolderLock.take(path)
    except OSError:
        return True  # nobody can take it
    if lock is None:
        return path.exists()
    lock.release()
    return False


def _write(folder: Path, name: str, content: bytes) -> None:
    descriptor = secure_file.open_file(folder, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
