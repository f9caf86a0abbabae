"""The file of a recording while it grows: two channels in, FLAC out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicespan.recording.codec.audio_file import AudioFile
from voicespan.recording.codec.formats import CHANNELS
from voicespan.recording.codec.resampler import Resampler
from voicespan.recording.timeline.segment import NS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from voicespan.recording.timeline.track import Piece

    #: Pieces of one side, and the samples of each.
    Decoded = list[tuple[Piece, NDArray[np.int16]]]

#: The most that is written in one pass, in seconds: a long silence before the first word.
_MOST_SECONDS = 600
#: The most that is given to the encoder at once. Each time it is left, the interpreter is waited for, up to 5 ms in a
#: process that has much to do: who is late catches up by writing more at a time.
_BLOCK_SECONDS = 30


class StereoFile:
    """Left the user, right the agent.

    Args:
        path: Of the file, which must not exist.
        origin: The time of the first frame, in nanoseconds of the monotonic clock.
        rate: Of the file, in Hz.

    Attributes:
        frames: How many were written.
        rate: As given.

    Raises:
        OSError: It cannot be made, or written any more.
        RuntimeError: libsndfile refused.
    """

    def __init__(self, path: Path, origin: int, rate: int) -> None:
        self.frames = 0
        self.rate = rate
        self._origin = origin
        self._out: AudioFile | None = AudioFile(path, "flac", rate, CHANNELS)
        self._left, self._right = Resampler(origin, rate), Resampler(origin, rate)

    def add(self, user: Decoded, agent: Decoded) -> None:
        """Bring what the user and the agent said to the file's rate."""
        for channel, pieces in ((self._left, user), (self._right, agent)):
            for piece, samples in pieces:
                channel.feed(piece, samples)

    def write(self, until: int) -> None:
        """Write the frames before `until`, as far as they are known.

        Silence is written when something follows it: a conversation in which nothing happens costs nothing.
        """
        if self._out is None:
            return
        # Before anything is taken from the resamplers.
        with self._out.ready():
            self._write(self._out, until)

    def _write(self, out: AudioFile, until: int) -> None:
        left, right = self._left, self._right
        end = min(max(left.position, right.position), (until - self._origin) * self.rate // NS)
        end = min([end, *(channel.position for channel in (left, right) if channel.open)])
        end = min(end, self.frames + _MOST_SECONDS * self.rate)
        while self.frames < end:
            block = np.zeros((min(end - self.frames, _BLOCK_SECONDS * self.rate), CHANNELS), dtype=np.int16)
            left.fill(block[:, 0], self.frames)
            right.fill(block[:, 1], self.frames)
            out.write(block)
            self.frames += len(block)

    def close(self) -> None:
        """Write what is left, and finish the file."""
        end = max(self._left.position, self._right.position)
        if self._out is not None:
            with self._out.ready():
                while self.frames < end:
                    self._write(self._out, self._origin + (end + 1) * NS // self.rate)
                self._out.close()
        self._let_go()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        if self._out is not None:
            self._out.abandon()
        self._let_go()

    def _let_go(self) -> None:
        self._out = None
        self._left, self._right = Resampler(self._origin, self.rate), Resampler(self._origin, self.rate)
