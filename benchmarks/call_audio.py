"""What is heard in the calls of a benchmark, and whether a recording has all of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

import voicespan.cli.demo

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24_000
#: What an audio callback hands over at a time: 20 ms.
CHUNK = RATE // 50
CHUNKS_A_SECOND = RATE // CHUNK
#: Seconds until the caller and the agent have both spoken, one after the other.
CYCLE = 20.0

_VOICES = Path(voicespan.cli.demo.__file__).parent / "voices"
#: A chunk that is at least so loud (-40 dBFS) cannot be missed; Opus keeps a quarter of its level at least.
_LOUD = 0.01
_KEPT = 0.25
#: The recording begins with the conversation, up to so many chunks before the first of them: where hundreds call,
#: a connection may take seconds. Less than a cycle, after which everything is the same again.
_MOST_MOVED = 900


@dataclass(frozen=True)
class Voices:
    """What both sides say in one cycle, in chunks of 20 ms; None: nothing is handed over."""

    user: list[bytes]
    agent: list[bytes | None]


def voices() -> Voices:
    """Ten seconds of a caller, with a microphone that is always open, then ten seconds of an agent."""
    half = round(CYCLE / 2 * CHUNKS_A_SECOND)
    room = np.random.default_rng(1).integers(-20, 20, (half, CHUNK), dtype=np.int16)
    caller = [*_speech("caller", half), *room]
    agent = _speech("agent", half)
    return Voices([chunk.tobytes() for chunk in caller], [*[None] * half, *(c.tobytes() for c in agent)])


def _speech(who: str, chunks: int) -> list[NDArray[np.int16]]:
    spoken = []
    for number in (1, 2, 3):
        samples, rate = sf.read(_VOICES / f"{who}-{number}.flac", dtype="int16")
        assert rate == RATE
        spoken.append(samples)
    needed = chunks * CHUNK
    return list(np.resize(np.concatenate(spoken), needed).reshape(chunks, CHUNK))


@dataclass(frozen=True)
class Heard:
    """What became of the chunks that were handed over."""

    handed_over: int
    #: How much longer the recording is than they are, from the first of them on, in seconds.
    longer: float
    #: Loud chunks of both sides that are not where they belong.
    missing: int

    @property
    def whole(self) -> bool:
        """Whether nothing is missing and nothing was added."""
        return not self.missing and abs(self.longer) < 2 / CHUNKS_A_SECOND


def listen(recording: Path, handed_over: int) -> Heard:
    """Compare a recording with the `handed_over` chunks of a call that began with the cycle."""
    samples, rate = sf.read(recording, dtype="float32", always_2d=True)
    size = rate // CHUNKS_A_SECOND
    whole = np.pad(samples, ((0, -len(samples) % size), (0, 0))).reshape(-1, size, 2)
    levels = np.sqrt((whole**2).mean(axis=1))
    levels = np.pad(levels, ((1, handed_over + _MOST_MOVED), (0, 0)))
    expected = np.stack([_levels(side, handed_over) for side in (voices().user, voices().agent)], axis=1)
    lags = range(1, _MOST_MOVED + 1)
    lag = min(lags, key=lambda lag: float(np.abs(levels[lag : lag + handed_over] - expected).sum()))
    # A recording is not laid out in our chunks: one of them may be in two of the recording's.
    near = np.max([levels[lag + shift : lag + shift + handed_over] for shift in (-1, 0, 1)], axis=0)
    missing = int(((expected > _LOUD) & (near < _KEPT * expected)).sum())
    longer = len(samples) / rate - (lag - 1 + handed_over) / CHUNKS_A_SECOND
    return Heard(handed_over, longer, missing)


def _levels(side: list[bytes] | list[bytes | None], chunks: int) -> NDArray[np.float64]:
    silence = bytes(2 * CHUNK)
    cycle = np.frombuffer(b"".join(chunk or silence for chunk in side), np.int16).reshape(-1, CHUNK) / 32_768
    return np.resize(np.sqrt((cycle**2).mean(axis=1)), chunks)
