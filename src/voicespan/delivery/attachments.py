"""What a conversation knows of its delivery: where its recorder writes, and how a recording joins the root."""

from __future__ import annotations

import contextlib
import io
import threading
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from voicespan.delivery.expected_recording import ExpectedRecording
from voicespan.delivery.spool import recording_files
from voicespan.delivery.spool.folder import RecordingResult
from voicespan.delivery.spool.recording_copies import PendingCopy
from voicespan.delivery.spool.spool import say_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicespan.delivery.destination.any_destination import AnyDestination
    from voicespan.delivery.spool.folder import Folder
    from voicespan.recording.recorder import Recorder
    from voicespan.runtime.clock import Clock

#: Seconds that `attach` waits for the folder, which is made in the background when the conversation opens.
_FOLDER_WAIT = 5.0
#: Seconds between two looks at whether the recorder has finished its file.
_LOOK_EVERY = 0.25
FLAC = "audio/flac"
#: Bytes of a recording that is copied while the application waits: that takes a millisecond.
_COPIED_AT_ONCE = 256_000


class SpoolAccess(Protocol):
    """What a recording needs of the pipeline that its conversation is delivered through."""

    def reserve(self, size: int) -> bool:
        """Whether so many bytes of a recording may be written."""

    def recording_changed(self) -> None:
        """A recording was promised, came, or is not coming."""

    def copy_later(self, copy: Callable[[], None], discard: Callable[[], None]) -> None:
        """Have `copy` called in the background, or `discard` where the process ends before. Never waits."""

    def late_recording(self, folder_name: str | None, file: BinaryIO, result: RecordingResult) -> None:
        """A recording came when its conversation was complete.

        Raises:
            OSError: it cannot be copied.
        """


class RootAttachment:
    """One conversation's way to one destination.

    The root goes when the conversation has ended and no recording is expected any more. A recording that
    a client made (a browser, a telephone gateway) comes before our recorder's: it is nearer to what was
    heard.
    """

    def __init__(
        self,
        clock: Clock,
        spool: SpoolAccess,
        *,
        hidden: bool = False,
        takes_flac: bool = False,
    ) -> None:
        """`spool` completes the folder; `hidden`: no recording may leave the process; `takes_flac`: see there."""
        self._clock = clock
        self._spool = spool
        self._hidden = hidden
        #: Whether our recorder's own file goes there, and is encoded by somebody else.
        self.takes_flac = takes_flac
        self._lock = threading.RLock()
        # Free once the folder is there. An Event is six objects, of each call.
        self._making = threading.Lock()
        self._making.acquire()
        self._is_made = False
        self._folder: Folder | None = None
        self._ended = False
        #: It is closed, with a recording.
        self._complete = False
        self._client = ExpectedRecording()
        self._recorder = ExpectedRecording()
        self._recording: Recorder | None = None
        self._takes_file = False
        #: How many recordings are being copied right now.
        self._taking = 0
        #: When our recorder's file begins, seconds since the epoch; None: it does not record.
        self.recording_started_at: float | None = None
        #: Where it goes; the same conversation is delivered there once.
        self.destination: AnyDestination | None = None
        #: The directory that the conversation is kept in when it is complete; None: it is sent.
        self.kept_in: str | None = None
        #: The folder's name, also after it was handed on.
        self.folder_name: str | None = None

    @property
    def folder(self) -> Path | None:
        """Where the recorder may write; None: not yet (it is being made), or there is no disk."""
        folder = self._folder
        return None if folder is None else folder.files.folder

    def recording_folder(self) -> Path | None:
        """The same, as long as the spool is not full."""
        if self.folder is not None and not self._spool.reserve(0):
            self._settle("spool_full", recorder=True)
            return None
        return self.folder

    def recorded_by(self, recorder: Recorder, *, attached: bool = True) -> None:
        """Our recorder records: what it has been handed and has not written is asked for at the end.

        `attached`: its file will be; otherwise it is to be taken when the recorder has finished it.
        """
        self._recording = recorder
        self._takes_file = not attached

    def expect(self, timeout: float, *, recorder: bool = False, started_at: float | None = None) -> None:
        """Hold the root for a recording, at most `timeout` seconds after the conversation has ended.

        Called after its end, the seconds count from now. `recorder`: our own makes it, not a client.
        `started_at`: when the recording begins, in seconds since the epoch, for whoever finds the file if
        this process dies.
        """
        with self._lock:
            self.recording_started_at = started_at if recorder else self.recording_started_at
            self._promise(recorder=recorder).expect(timeout, self._now())
        self._spool.recording_changed()

    def attach(
        self,
        source: bytes | str | Path,
        mime_type: str,
        started_at: float | None = None,
        *,
        recorder: bool = False,
    ) -> PendingCopy:
        """Attach a recording to the root span. Of several, the last one that comes before the root is sent is used.

        A client's recording that is not small is copied in the background, and the root waits for the copy. Its
        file may be removed at once; before anybody writes to it again, wait for what this returns.

        Args:
            source: The recording, or the path of its file.
            mime_type: Such as `audio/ogg`. What is no MIME type is sent as `application/octet-stream`.
            started_at: When the recording begins, in seconds since the epoch; None: not known.
            recorder: Our own recorder made it, not a client.
        """
        copying = PendingCopy()
        if self._is_settled(source, mime_type, started_at, recorder=recorder):
            copying.finish()
            return copying
        try:
            file = recording_files.open_source(source)
        except (OSError, ValueError) as error:  # ValueError: a path that is none
            self._unreadable(error, recorder=recorder)
            copying.finish()
            return copying

        def copy() -> None:
            try:
                with file:
                    self._take(source, file, mime_type, started_at, recorder=recorder)
            except (OSError, ValueError) as error:
                self._unreadable(error, recorder=recorder)
            finally:
                copying.finish()

        with contextlib.ExitStack() as unless_later:
            # Whatever goes wrong on the way, the file does not stay open.
            unless_later.callback(file.close)
            if recorder or (self._is_made and file.seek(0, io.SEEK_END) <= _COPIED_AT_ONCE):
                copy()
            else:
                self._copy_later(copy, partial(_discard, file, copying))
                unless_later.pop_all()
        return copying

    def _is_settled(
        self, source: bytes | str | Path, mime_type: str, started_at: float | None, *, recorder: bool
    ) -> bool:
        if self._hidden:
            self._settle("hidden", recorder=recorder)
            return True
        return recorder and (self._went_otherwise() or self._is_written_there(source, mime_type, started_at))

    def _went_otherwise(self) -> bool:
        """Whether the root has a recording already, encoded otherwise: nothing is missing."""
        with self._lock:
            return self._folder is None and (self._client.attached or self._complete)

    def _is_written_there(self, source: bytes | str | Path, mime_type: str, started_at: float | None) -> bool:
        """Whether our recorder's file stands in the folder: then it takes no descriptor to attach it."""
        with self._lock:
            folder = self._folder
            name = None if folder is None else recording_files.name_inside(source, folder.files.folder)
            if folder is None or name is None or not folder.files.size(name):
                return False
            mime_type = recording_files.checked_type(mime_type)
            self._recorder.outcome = RecordingResult("attached", name, mime_type, started_at)
        _remove_unencoded(folder, name)
        self._spool.recording_changed()
        return True

    def _copy_later(self, copy: Callable[[], None], discard: Callable[[], None]) -> None:
        """The root waits from now on."""

        def take() -> None:
            try:
                copy()
            finally:
                with self._lock:
                    self._taking -= 1
                self._spool.recording_changed()

        with self._lock:
            self._taking += 1
        self._spool.copy_later(take, discard)

    def _unreadable(self, error: OSError | ValueError, *, recorder: bool) -> None:
        # Not its path: that may name a person.
        reason = (error.strerror or error) if isinstance(error, OSError) else "not a path"
        say_once(f"voicespan: a recording cannot be attached ({reason})")
        self._settle("unreadable", recorder=recorder)

    def no_recording(self, status: str = "none") -> None:
        """Our recorder's recording is not coming; `status` says why."""
        self._settle(status, recorder=True)

    def made(self, folder: Folder) -> None:
        """The folder is there."""
        self._folder = folder
        self.folder_name = folder.name
        self._is_made = True
        self._making.release()

    def ended(self) -> None:
        """The conversation is over; from now on what is expected has its time."""
        with self._lock:
            self._ended = True
            for promise in (self._client, self._recorder):
                promise.ended(self._now())

    def hurry(self, seconds: float) -> None:
        """The process is about to end: nothing is waited for longer than `seconds`."""
        with self._lock:
            for promise in (self._client, self._recorder):
                promise.hurry(seconds, self._now())

    def due_in(self) -> float | None:
        """Seconds until no recording is waited for any more; None: the conversation is open."""
        with self._lock:
            if not self._ended:
                return None
            if self._taking:
                return 1.0
            if self._client.attached:
                return 0.0
            recorder = self._recorder.left(self._now())
            if self._takes_file and self._recording is not None:
                recorder = 0.0 if self._recording.is_over else min(recorder, _LOOK_EVERY)
            return max(self._client.left(self._now()), recorder)

    def make_whole(self) -> None:
        """Nothing is waited for any more: have the recorder's own file whole. Takes a while, where it is late.

        The thread that writes recordings may be seconds behind in a process that is about to end: then what is
        still in memory is written here, or nobody ever hears it.
        """
        recording = self._recording
        if recording is None or self._recorder.outcome is not None or self._client.attached:
            return
        file = recording.finish()
        if self._takes_file and file is not None:
            self.attach(file, FLAC, recording.started_at_wall_ns / 1e9, recorder=True)
        elif self._takes_file:
            self.no_recording("none" if recording.error is None else "failed")

    def close(self, *, otherwise: Callable[[], RecordingResult | None] = lambda: None) -> RecordingResult:
        """What became of the recording. What comes later is late.

        `otherwise`: asked for it where nothing came in time.
        """
        with self._lock:
            folder, self._folder = self._folder, None
            recording, self._recording = self._recording, None
            if recording is not None and not recording.has_audio and self._recorder.outcome is None:
                # It was opened and is given nothing: no recording is late.
                self._recorder.outcome = RecordingResult("none")
            settled = self._client.result() or self._recorder.result() or RecordingResult("none")
            if self._recorder.attached and not self._client.attached:
                settled = self._recorder.result() or settled
            if settled.status == "timeout":
                settled = otherwise() or settled
            self._complete = folder is not None and settled.status == "attached"
            return settled

    def _take(
        self,
        source: bytes | str | Path,
        file: BinaryIO,
        mime_type: str,
        started_at: float | None,
        *,
        recorder: bool,
    ) -> None:
        mime_type = recording_files.checked_type(mime_type)
        self._wait()
        with self._lock:
            folder = self._folder
            if recorder and self._went_otherwise():
                return
            self._taking += 1
        inside = None if folder is None else recording_files.name_inside(source, folder.files.folder)
        name = inside or recording_files.name(mime_type, recorder=recorder)
        attached = RecordingResult("attached", name, mime_type, started_at)
        try:
            if inside is None and not self._spool.reserve(file.seek(0, io.SEEK_END)):
                self._settle("spool_full", recorder=recorder)
                return
            if folder is None:
                self._spool.late_recording(self.folder_name, file, attached)
            elif inside is None:
                folder.files.copy_in(name, file)
        finally:
            with self._lock:
                self._taking -= 1
        if folder is not None:
            with self._lock:
                self._promise(recorder=recorder).outcome = attached
            if recorder:
                _remove_unencoded(folder, name)
        self._spool.recording_changed()

    def _settle(self, status: str, *, recorder: bool) -> None:
        with self._lock:
            promise = self._promise(recorder=recorder)
            if promise.outcome is None or (status != "none" and not promise.attached):
                promise.outcome = RecordingResult(status)
        self._spool.recording_changed()

    def _wait(self) -> None:
        if self._making.acquire(timeout=_FOLDER_WAIT):
            self._making.release()

    def _promise(self, *, recorder: bool) -> ExpectedRecording:
        return self._recorder if recorder else self._client

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _discard(file: BinaryIO, copying: PendingCopy) -> None:
    """The copy is never made."""
    file.close()
    copying.finish()


def _remove_unencoded(folder: Folder, encoded: str) -> None:
    """The FLAC that was written while people talked is what fills a spool: it goes when it is encoded."""
    for name in folder.files.names():
        if (
            name.endswith(".flac")
            and name != encoded
            and not name.startswith(f"{recording_files.ATTACHMENT}.")
        ):
            folder.files.remove(name)
