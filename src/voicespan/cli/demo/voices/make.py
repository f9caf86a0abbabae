"""Synthesise the lines of the story: `python -m voicespan.cli.demo.voices.make`. Needs espeak-ng."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import soundfile as sf
import soxr

from voicespan.cli.demo.story import AGENT, CALLER, RATE, Line

#: Two voices that nobody mistakes for each other, each at so many words a minute.
_CALLER = ("en-us+m7", 180)
_AGENT = ("en-gb-x-rp+f3", 175)
_PEAK = 0.6
_SILENCE = 0.004
#: Seconds that are kept round the words.
_MARGIN = 0.04


def synthesise(line: Line, voice: str, speed: int) -> None:
    """Write one line's file.

    Raises:
        OSError: There is no espeak-ng.
        subprocess.CalledProcessError: It failed.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", line.text]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603  no shell, our own words
    samples, rate = sf.read(io.BytesIO(spoken), dtype="float64")
    samples = soxr.resample(samples, rate, RATE)
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    margin = round(_MARGIN * RATE)
    samples = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    samples *= _PEAK / np.abs(samples).max()
    sf.write(line.path, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)


def main() -> None:
    """Synthesise them all."""
    for lines, (voice, speed) in ((CALLER, _CALLER), (AGENT, _AGENT)):
        for line in lines:
            synthesise(line, voice, speed)
            sys.stdout.write(f"{line.path.name}  {sf.info(line.path).duration:.2f} s\n")


if __name__ == "__main__":
    main()
