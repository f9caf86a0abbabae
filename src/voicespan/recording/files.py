"""The file that a recording is written to while the call runs."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from voicespan.recording.formats import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import soundfile
    from numpy.typing import NDArray

CHANNELS = 2


def create(path: Path) -> int:
    """Create the file at `path`, readable by its owner alone, and give its descriptor.

    Raises:
        OSError: It is there already, or cannot be made.
    """
    binary: int = getattr(os, "O_BINARY", 0)  # Windows
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | binary, 0o600)


def open_sound(descriptor: int, form: str, rate: int, channels: int = CHANNELS) -> soundfile.SoundFile:
    """Write audio in the format named `form` to an open file, which is not closed with it."""
    import soundfile as sf  # noqa: PLC0415  loads libsndfile: not before there is audio

    chosen = FORMATS[form]
    return sf.SoundFile(
        descriptor,
        "w",
        samplerate=rate,
        channels=channels,
        format=chosen.container,
        subtype=chosen.codec,
        closefd=False,
        **chosen.options,
    )


class FlacFile:
    """A stereo FLAC file that grows, and that a kill leaves with all but its last block.

    Args:
        path: Must not exist.
        rate: In Hz.

    Raises:
        OSError: It cannot be made, or written any more.
        RuntimeError: libsndfile refused.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self._descriptor = create(path)
        try:
            self._sound = open_sound(self._descriptor, "flac", rate)
        except BaseException:
            os.close(self._descriptor)
            raise

    def write(self, block: NDArray[np.int16]) -> None:
        """Append `block`, shape `(frames, 2)`."""
        try:
            self._sound.write(block)
        except (RuntimeError, AssertionError) as error:  # the latter for less than was asked
            raise OSError(self._reason()) from error

    def close(self) -> None:
        """Finish the file: its header gets the length and the checksum."""
        try:
            self._sound.close()
        except RuntimeError as error:
            raise OSError(self._reason()) from error
        os.close(self._descriptor)

    def abandon(self) -> None:
        """Let go of the file as it is. For a disk that is full: the header must not tell of more."""
        self._send_to_nowhere()
        with contextlib.suppress(RuntimeError):
            self._sound.close()
        os.close(self._descriptor)

    def disown(self) -> None:
        """Never touch the file again, in a forked child: it is the parent's, and so is its offset."""
        self._send_to_nowhere()
        # The fork may have caught the encoder in the middle of a block, so it is not closed: its memory
        # is the price.
        self._sound._file = None  # noqa: SLF001  what `closed` looks at, and `__del__` by it

    def _send_to_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)

    def _reason(self) -> str:
        """The operating system's word for it: libsndfile's is "System error."."""
        try:
            os.write(self._descriptor, b"\0")
        except OSError as error:
            return os.strerror(error.errno) if error.errno else "the file cannot be written"
        return "libsndfile could not write"
