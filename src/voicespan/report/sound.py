"""What of a recording is drawn: how loud each side was, and when each spoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Peaks for each second and side: at a width of a screen more cannot be seen, and a click between two words can.
PEAKS_A_SECOND = 50
#: Samples a second are read in pieces of so many seconds.
_PIECE_SECONDS = 30
#: A side speaks where its peaks stand out of its own noise by so much, and are at least so loud (of full scale).
_ABOVE_NOISE = 4.0
_LOUD = 0.008
#: Seconds: a shorter pause does not end speech, and what is shorter is a click.
_PAUSE = 0.3
_CLICK = 0.06


class Sound(NamedTuple):
    """A recording, as far as it is drawn.

    Attributes:
        seconds: How long it is.
        peaks: For each side (left the user, right the agent) the loudest sample of each fiftieth of a second, 0 to 127.
        speech: For each side when it speaks, in seconds: beginnings and ends.
    """

    seconds: float
    peaks: tuple[list[int], list[int]]
    speech: tuple[list[tuple[float, float]], list[tuple[float, float]]]


SILENCE = Sound(0.0, ([], []), ([], []))


def look(path: Path) -> Sound:
    """Read a recording.

    Raises:
        OSError: it is not there.
        RuntimeError: it is no sound that libsndfile knows.
    """
    loudest: list[NDArray[np.float32]] = []
    frames = 0
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        step = max(1, rate // PEAKS_A_SECOND)
        for piece in file.blocks(step * PEAKS_A_SECOND * _PIECE_SECONDS, dtype="float32", always_2d=True):
            frames += len(piece)
            whole = np.zeros((-(-len(piece) // step) * step, 2), np.float32)
            # A file with one side was made by somebody else: both sides are in it.
            whole[: len(piece)] = piece[:, :2] if piece.shape[1] > 1 else np.repeat(piece, 2, axis=1)
            loudest.append(np.abs(whole).reshape(-1, step, 2).max(axis=1))
    if not loudest:
        return SILENCE
    peaks = np.concatenate(loudest)
    per_second = rate / step
    left, right = (np.minimum(side * 127, 127).astype(int).tolist() for side in peaks.T)
    return Sound(
        frames / rate,
        (left, right),
        (speech(peaks[:, 0], per_second), speech(peaks[:, 1], per_second)),
    )


def speech(peaks: NDArray[np.float32], per_second: float) -> list[tuple[float, float]]:
    """When somebody speaks, in seconds. `peaks`: of one side, `per_second` of them each second, 0 to 1."""
    if not len(peaks):
        return []
    noise = float(np.percentile(peaks, 10))
    loud = np.flatnonzero(peaks > max(_LOUD, noise * _ABOVE_NOISE))
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > _PAUSE * per_second)
    begins = loud[np.concatenate(([0], breaks + 1))] / per_second
    ends = (loud[np.concatenate((breaks, [len(loud) - 1]))] + 1) / per_second
    return [
        (round(float(begin), 3), round(float(end), 3))
        for begin, end in zip(begins, ends, strict=True)
        if end - begin >= _CLICK
    ]
