"""What of a recording is drawn: how loud each side was, and when each spoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.speech import SpeechDetector

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Peaks for each second and side: at a width of a screen more cannot be seen, and a click between two words can.
PEAKS_A_SECOND = 50
#: Samples a second are read in pieces of so many seconds.
_PIECE_SECONDS = 30
#: So often a side begins to speak in the longest call that is looked at.
_MOST_SPEECH = 1_000_000
#: In Hz: in what has fewer samples nobody is heard.
_LEAST_RATE = 1_000
_LOUDEST = 127 / 32_767


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
    loudest: list[NDArray[np.int32]] = []
    frames = 0
    # As the figures on the root have it.
    sides = SpeechDetector(_MOST_SPEECH), SpeechDetector(_MOST_SPEECH)
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        step = max(1, rate // PEAKS_A_SECOND)
        for piece in file.blocks(step * PEAKS_A_SECOND * _PIECE_SECONDS, dtype="int16", always_2d=True):
            # A file with one side was made by somebody else: both sides are in it.
            stereo = piece[:, :2] if piece.shape[1] > 1 else np.repeat(piece, 2, axis=1)
            if rate >= _LEAST_RATE:
                for detector, samples in zip(sides, stereo.T, strict=True):
                    detector.listen(frames * NS // rate, rate, samples)
            frames += len(piece)
            whole = np.zeros((-(-len(piece) // step) * step, 2), np.int32)
            whole[: len(piece)] = stereo
            loudest.append(np.abs(whole).reshape(-1, step, 2).max(axis=1))
    if not loudest:
        return SILENCE
    peaks = np.concatenate(loudest)
    left, right = (np.minimum(side * _LOUDEST, 127).astype(int).tolist() for side in peaks.T)
    return Sound(frames / rate, (left, right), (_times(sides[0]), _times(sides[1])))


def _times(detector: SpeechDetector) -> list[tuple[float, float]]:
    return [(round(start / NS, 3), round(end / NS, 3)) for start, end in detector.times]
