"""A recording made by hand: a clock that a test moves, a writer without a thread."""

from __future__ import annotations

import numpy as np
import soundfile as sf

from voicespan.recording import Recorder
from voicespan.recording.recording_thread import RecordingThread
from voicespan.testing import FakeClock


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Samples that tell where they came from: random, and never 0, which is silence."""
    values = np.random.default_rng(seed).integers(1, 32767, samples)
    signs = np.random.default_rng(seed + 1).choice((-1, 1), samples)
    return (values * signs).astype(np.int16)


class Studio:
    """One writer, and as many recorders as a test needs."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.writer = RecordingThread(self.clock, threaded=False)
        self.opened_at = self.now

    @property
    def now(self) -> float:
        return self.clock.monotonic_ns() / 1e9

    def recorder(self, **kwargs) -> Recorder:
        return Recorder(self.folder, clock=self.clock, writer=self.writer, **kwargs)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the writer's passes in it."""
        while seconds > 1e-9:
            step = min(seconds, 0.25)
            self.clock.advance(step)
            self.writer.run_once()
            seconds -= step

    def speak(self, hand_over, samples, rate=24_000, piece=0.02, **kwargs) -> None:
        """Hand over `samples` in pieces, in real time."""
        step = round(rate * piece)
        for first in range(0, len(samples), step):
            hand_over(samples[first : first + step].tobytes(), rate, **kwargs)
            self.wait(piece)

    def listen(self, recorder: Recorder):
        """The finished file's left and right samples, and its rate."""
        path = recorder.finish()
        samples, rate = sf.read(path, dtype="int16")
        return samples[:, 0], samples[:, 1], rate
