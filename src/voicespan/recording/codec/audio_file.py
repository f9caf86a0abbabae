"""A file of audio that is being written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile as sf

from voicespan.recording.codec.encoder_number import ENCODED, RECORDINGS
from voicespan.recording.codec.formats import FORMATS
from voicespan.runtime.descriptors import KeptFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)


class AudioFile(KeptFile):
    """A new file of audio, readable by its owner alone, that grows.

    A forked child leaves it to its parent. Where descriptors are scarce it is closed between two uses, and opened again.

    Args:
        path: Must not exist.
        form: One of `formats.FORMATS`.
        rate: In Hz, one that the format takes.
        channels: How many.
        keep: Whether it stays open between two uses while descriptors are plentiful.

    Raises:
        OSError: It cannot be made, or written any more.
        RuntimeError: libsndfile refused (`soundfile.LibsndfileError`).
    """

    def __init__(self, path: Path, form: str, rate: int, channels: int, *, keep: bool = True) -> None:
        super().__init__()
        self._path = str(path)
        self._keep = keep
        self._number = RECORDINGS if keep else ENCODED
        chosen = FORMATS[form]
        self._samples = chosen.samples
        self._sound: _Encoder | None = None
        self._identity: tuple[int, int] | None = None
        self._position = 0
        self._opening: object = None  # each time that it is opened is another
        self._number.make()  # before the file: where it cannot be had, the file can be made later
        made = False
        try:
            with self._leading() as number:
                self._sound = _Encoder(
                    number,
                    "w",
                    samplerate=rate,
                    channels=channels,
                    format=chosen.container,
                    subtype=chosen.codec,
                    closefd=False,
                    **chosen.options,
                )
            # Or else soundfile asks where the file stands, and seeks there, six times a block: each time it lets
            # go of the interpreter, and waits for it among the application's threads.
            self._sound.seekable = _never
            made = True
        finally:
            if not made:
                self._let_go()

    def open_again(self) -> int:
        """See `KeptFile`."""
        self._opening = object()
        if self._identity is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
            self._identity = _identity(descriptor)
            return descriptor
        descriptor = os.open(self._path, os.O_RDWR | _NO_LINK | _BINARY)
        if _identity(descriptor) != self._identity:
            os.close(descriptor)
            raise OSError(errno.ESTALE, "somebody has put another file in its place")
        os.lseek(descriptor, self._position, os.SEEK_SET)
        return descriptor

    def before_close(self, descriptor: int) -> None:
        """See `KeptFile`."""
        self._position = os.lseek(descriptor, 0, os.SEEK_CUR)

    def ready(self) -> AbstractContextManager[int]:
        """Meanwhile nothing that is written needs a descriptor that may not be there.

        Raises:
            OSError: There is none left.
        """
        return self.in_use(keep=self._keep)

    def write(self, block: NDArray[np.signedinteger]) -> None:
        """Append `block`, shape `(frames, channels)`, of the type that the format wants (`Format.samples`)."""
        with (
            self.in_use(keep=self._keep) as descriptor,
            self._number.leading_to(self._opening, descriptor),
        ):
            try:
                # `write` asks numpy for the name of the type, which takes longer than all the rest of it.
                self._encoder.buffer_write(block, self._samples)
            except (RuntimeError, AssertionError) as error:  # the latter for less than was asked
                raise OSError(self._reason()) from error

    def close(self) -> None:
        """Finish the file: the headers of most formats tell its length."""
        with self._leading():
            try:
                self._encoder.close()
            except RuntimeError as error:
                raise OSError(self._reason()) from error
        self._let_go()

    def abandon(self) -> None:
        """Let go of the file as it is. For a disk that is full: the header must not tell of more."""
        sound, self._sound = self._sound, None
        if sound is not None:
            with self._number.leading_nowhere(), contextlib.suppress(RuntimeError):
                sound.close()
            self._let_go()

    def remove(self) -> None:
        """Let go of the file, and delete it."""
        self.abandon()
        with contextlib.suppress(OSError):
            Path(self._path).unlink()

    def reset_after_fork(self) -> None:
        """Never touch the file again, in a forked child: it is the parent's, and so is its offset."""
        super().reset_after_fork()
        # The fork may have caught the encoder in the middle of a block, so it is not closed: its memory is the price.
        self._sound = None

    @property
    def _encoder(self) -> _Encoder:
        if self._sound is None:
            raise OSError(errno.EBADF, "the file is closed")
        return self._sound

    @contextlib.contextmanager
    def _leading(self) -> Iterator[int]:
        """The encoder writes to this file meanwhile."""
        with (
            self.in_use(keep=self._keep) as descriptor,
            self._number.leading_to(self._opening, descriptor) as number,
        ):
            yield number

    def _let_go(self) -> None:
        self._sound = None
        self.let_go()
        self._number.forget(self._opening)

    def _reason(self) -> str:
        """The operating system's word for it: libsndfile's is "System error."."""
        try:
            if self.descriptor >= 0:
                os.write(self.descriptor, b"\0")
        except OSError as error:
            return os.strerror(error.errno) if error.errno else "the file cannot be written"
        return "libsndfile could not write"


class _Encoder(sf.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """One that is not closed by the garbage collector: by then the number that it knows leads to another file."""

    seekable: Any

    def __del__(self) -> None:
        """Do nothing."""


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _never() -> bool:
    """Whether a file that is only appended to can be read elsewhere."""
    return False
