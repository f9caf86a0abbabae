"""A file of audio that is being written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile as sf

from voicespan.recording.codec.formats import FORMATS
from voicespan.runtime.fork import register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class AudioFile:
    """A new file of audio, readable by its owner alone, that grows.

    A forked child leaves it to its parent.

    Args:
        path: Must not exist.
        form: One of `formats.FORMATS`.
        rate: In Hz, one that the format takes.
        channels: How many.

    Raises:
        OSError: It cannot be made, or written any more.
        RuntimeError: libsndfile refused (`soundfile.LibsndfileError`).
    """

    def __init__(self, path: Path, form: str, rate: int, channels: int) -> None:
        self._path = str(path)
        binary: int = getattr(os, "O_BINARY", 0)  # Windows
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | binary, 0o600)
        self._descriptor: int | None = descriptor
        chosen = FORMATS[form]
        self._samples = chosen.samples
        try:
            self._sound = sf.SoundFile(
                descriptor,
                "w",
                samplerate=rate,
                channels=channels,
                format=chosen.container,
                subtype=chosen.codec,
                closefd=False,
                **chosen.options,
            )
        except BaseException:
            self._let_go()
            raise
        # Or else soundfile asks where the file stands, and seeks there, six times a block: each time it lets
        # go of the interpreter, and waits for it among the application's threads.
        self._sound.seekable = _never
        register(self)

    def write(self, block: NDArray[np.signedinteger]) -> None:
        """Append `block`, shape `(frames, channels)`, of the type that the format wants (`Format.samples`)."""
        try:
            # `write` asks numpy for the name of the type, which takes longer than all the rest of it.
            self._sound.buffer_write(block, self._samples)
        except (RuntimeError, AssertionError) as error:  # the latter for less than was asked
            raise OSError(self._reason()) from error

    def close(self) -> None:
        """Finish the file: the headers of most formats tell its length."""
        try:
            self._sound.close()
        except RuntimeError as error:
            raise OSError(self._reason()) from error
        self._let_go()

    def abandon(self) -> None:
        """Let go of the file as it is. For a disk that is full: the header must not tell of more."""
        if self._descriptor is not None:
            self._send_to_nowhere(self._descriptor)
            with contextlib.suppress(RuntimeError):
                self._sound.close()
            self._let_go()

    def remove(self) -> None:
        """Let go of the file, and delete it."""
        self.abandon()
        with contextlib.suppress(OSError):
            Path(self._path).unlink()

    def reset_after_fork(self) -> None:
        """Never touch the file again, in a forked child: it is the parent's, and so is its offset."""
        if self._descriptor is not None:
            self._send_to_nowhere(self._descriptor)
            # The fork may have caught the encoder in the middle of a block, so it is not closed: its
            # memory is the price.
            self._sound._file = None  # noqa: SLF001  what `closed` looks at, and `__del__` by it

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @staticmethod
    def _send_to_nowhere(descriptor: int) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)

    def _reason(self) -> str:
        """The operating system's word for it: libsndfile's is "System error."."""
        try:
            if self._descriptor is not None:
                os.write(self._descriptor, b"\0")
        except OSError as error:
            return os.strerror(error.errno) if error.errno else "the file cannot be written"
        return "libsndfile could not write"


def _never() -> bool:
    """Whether a file that is only appended to can be read elsewhere."""
    return False
