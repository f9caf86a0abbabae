"""What a conversation knows of its delivery: where its recorder writes, and how a recording joins the root."""

from __future__ import annotations

import contextlib
import io
import mimetypes
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from voicespan.langsmith.folder import Settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.clock import Clock
    from voicespan.langsmith.folder import Folder
    from voicespan.langsmith.settings import Destination

#: Seconds that `attach` waits for the folder, which is made in the background when the conversation opens.
_FOLDER_WAIT = 5.0
#: What a client's file is called in the folder, without its suffix.
ATTACHMENT = "attachment"
SUFFIXES = {
    "audio/x-wav": ".wav",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/webm": ".webm",
}


class Delivery:
    """One conversation's way to one destination.

    The root goes when the conversation has ended and no recording is expected any more.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        wake: Callable[[], None],
        late: Callable[[Delivery, BinaryIO, Settled], None],
        hidden: bool = False,
    ) -> None:
        """`wake` hears that the folder may be complete; `late` takes a recording that came after that.

        `hidden`: no recording may leave the process.
        """
        self._clock = clock
        self._wake = wake
        self._late = late
        self._hidden = hidden
        self._lock = threading.Lock()
        self._made = threading.Event()
        self._folder: Folder | None = None
        self._expected: float | None = None
        self._deadline: float | None = None
        self._attached: Settled | None = None
        #: How many recordings are being copied right now.
        self._taking = 0
        #: Where it goes; the same conversation is delivered there once.
        self.destination: Destination | None = None
        #: The folder's name, also after it was handed on.
        self.folder_name: str | None = None

    @property
    def folder(self) -> Path | None:
        """Where the recorder may write; None: not yet (it is made within moments), or there is no disk."""
        folder = self._folder
        return None if folder is None else folder.files.folder

    def wait_for_folder(self) -> Path | None:
        """The same, once it is made. Not for an event loop."""
        self._made.wait(_FOLDER_WAIT)
        return self.folder

    def expect(self, timeout: float) -> None:
        """Hold the root for a recording, at most `timeout` seconds after the conversation has ended.

        Called after its end, the seconds count from now.
        """
        with self._lock:
            self._expected = max(timeout, self._expected or 0.0)
            if self._deadline is not None:
                self._deadline = max(self._deadline, self._now() + timeout)
        self._wake()

    def attach(self, source: bytes | str | Path, mime_type: str, started_at: float | None = None) -> None:
        """Put a recording beside the root; the last one before the root goes counts.

        A file is copied before this returns, unless it stands in `folder`: what the caller does with it
        afterwards (removes it, records the next call into it) must not change what is delivered.

        Args:
            source: The recording, or the path of its file.
            mime_type: Such as `audio/ogg`.
            started_at: When the recording begins, in seconds since the epoch; None: not known.
        """
        if self._hidden:
            self.give_up("hidden")
            return
        try:
            with _opened(source) as file:
                self._take(source, file, mime_type, started_at)
        except OSError:
            self.give_up("unreadable")

    def give_up(self, status: str = "none") -> None:
        """No recording is coming; `status` says why."""
        with self._lock:
            if self._attached is None:
                self._attached = Settled(status)
        self._wake()

    def made(self, folder: Folder) -> None:
        """The folder is there."""
        self._folder = folder
        self.folder_name = folder.name
        self._made.set()

    def ended(self) -> None:
        """The conversation is over; from now on what is expected has its time."""
        with self._lock:
            self._deadline = self._now() + (self._expected or 0.0)

    def hurry(self, seconds: float) -> None:
        """The process is about to end: nothing is waited for longer than `seconds`."""
        with self._lock:
            if self._expected is not None:
                self._expected = min(self._expected, seconds)
            if self._deadline is not None:
                self._deadline = min(self._deadline, self._now() + seconds)

    def due_in(self) -> float | None:
        """Seconds until the recording is not waited for any more; None: the conversation is open."""
        with self._lock:
            if self._deadline is None:
                return None
            if self._taking:
                return 1.0
            return 0.0 if self._attached is not None else max(self._deadline - self._now(), 0.0)

    def close(self) -> Settled:
        """What became of the recording. What comes later is late."""
        with self._lock:
            self._folder = None
            if self._attached is not None:
                return self._attached
            return Settled("none" if self._expected is None else "timeout")

    def _take(
        self, source: bytes | str | Path, file: BinaryIO, mime_type: str, started_at: float | None
    ) -> None:
        mime_type = mime_type.strip().lower() or "application/octet-stream"
        # A parameter (`audio/webm;codecs=opus`) stays in the type and not in the name.
        plain = mime_type.split(";")[0].strip()
        name = f"{ATTACHMENT}{SUFFIXES.get(plain) or mimetypes.guess_extension(plain) or '.bin'}"
        self._made.wait(_FOLDER_WAIT)
        with self._lock:
            folder = self._folder
            self._taking += 1
        inside = None if folder is None else _inside(source, folder.files.folder)
        attached = Settled("attached", inside or name, mime_type, started_at)
        try:
            if folder is None:
                self._late(self, file, attached)
            elif inside is None:
                folder.files.copy_in(name, file)
        finally:
            with self._lock:
                self._taking -= 1
        with self._lock:
            if folder is not None:
                self._attached = attached
        self._wake()

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


@contextlib.contextmanager
def _opened(source: bytes | str | Path) -> Iterator[BinaryIO]:
    """Raise OSError if there is nothing to read."""
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        if not file.read(1):
            raise OSError("the recording is empty")
        file.seek(0)
        yield file


def _inside(source: bytes | str | Path, folder: Path | None) -> str | None:
    """The name of a file that stands in the folder already."""
    if isinstance(source, bytes) or folder is None:
        return None
    path = Path(source).absolute()
    return path.name if path.parent == folder else None


if TYPE_CHECKING:
    from collections.abc import Iterator
