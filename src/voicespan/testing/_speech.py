"""When the user speaks: an energy detector over the audio that came in.

Time is counted in the audio's samples, in windows of 32 ms (as the vendor's detector does), so that the
same audio gives the same events however fast it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voicespan.recording.codec.g711 import decode

WINDOW_MS = 32

# The vendor's threshold is a probability between 0 and 1. Here it stands for loudness: the default of
# 0.5 is an RMS of 655 of 32768, -34 dBFS: well above a microphone's noise, well below a voice.
_RMS_AT_THRESHOLD_1 = 1310.0

# A click fills one window, speech more.
_ONSET_WINDOWS = 2


@dataclass(frozen=True)
class Format:
    """An audio format.

    Attributes:
        name: `pcm16`, `g711_ulaw` or `g711_alaw`.
        bytes_per_ms: How many bytes a millisecond has.
        silence: One byte of silence.
    """

    name: str
    bytes_per_ms: int
    silence: bytes


@dataclass(frozen=True)
class TurnDetection:
    """When the server takes the user to begin and to end speaking, and what it does then."""

    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    create_response: bool
    interrupt_response: bool


@dataclass(frozen=True)
class SpeechStarted:
    """The user began to speak: `ms` of audio precede what goes to the model, the padding included."""

    ms: int


@dataclass(frozen=True)
class SpeechStopped:
    """The user was silent for long enough: `ms` of audio have come in, the silence included."""

    ms: int


class SpeechDetector:
    """Turns chunks of audio of any size into starts and stops of speech."""

    def __init__(self) -> None:
        self.speaking = False
        self._windows = 0
        self._loud = 0
        self._silent_ms = 0
        self._rest = b""

    @property
    def ms(self) -> int:
        """How much audio has come in, in whole windows."""
        return self._windows * WINDOW_MS

    def feed(
        self, audio: bytes, encoding: Format, settings: TurnDetection | None
    ) -> list[SpeechStarted | SpeechStopped]:
        """Take in a chunk of audio; with no `settings` time passes and nothing is detected."""
        size = WINDOW_MS * encoding.bytes_per_ms
        audio = self._rest + audio
        whole = len(audio) - len(audio) % size
        self._rest = audio[whole:]
        count = whole // size
        if settings is None or count == 0:
            self._windows += count
            return []
        windows = decode(audio[:whole], encoding.name).astype(np.float64).reshape(count, -1)
        loudness = np.sqrt((windows**2).mean(axis=1))
        threshold = _RMS_AT_THRESHOLD_1 * settings.threshold
        found = (self._window(bool(loud), settings) for loud in loudness > threshold)
        return [event for event in found if event is not None]

    def _window(self, loud: bool, settings: TurnDetection) -> SpeechStarted | SpeechStopped | None:
        self._windows += 1
        self._loud = self._loud + 1 if loud else 0
        self._silent_ms = 0 if loud else self._silent_ms + WINDOW_MS
        if not self.speaking and self._loud == _ONSET_WINDOWS:
            self.speaking = True
            onset = self.ms - _ONSET_WINDOWS * WINDOW_MS
            return SpeechStarted(max(0, onset - settings.prefix_padding_ms))
        if self.speaking and self._silent_ms >= settings.silence_duration_ms:
            self.speaking = False
            return SpeechStopped(self.ms)
        return None

    def interrupt(self) -> None:
        """Forget the speech that is going on: its audio was committed or cleared by the client."""
        self.speaking = False
        self._loud = 0
