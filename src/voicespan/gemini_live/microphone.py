"""What the user said on one connection, counted: when the user was silent, by the service's own offset."""

from __future__ import annotations

from typing import Any

from voicespan.gemini_live import values
from voicespan.gemini_live.turns import bytes_per_ms
from voicespan.protocol.sent_audio import SentAudio

#: What the service takes audio for that does not say its rate: 16 kHz, 16 bit, mono.
_BYTES_PER_MS = 32.0
_LONGEST_OFFSET = 24


class Microphone(SentAudio):
    """The audio of the user's that was sent."""

    def __init__(self) -> None:
        super().__init__(_BYTES_PER_MS)
        self.mime_type = ""
        #: The silence after which the service takes the speech to be over, where the application has set it.
        self.silence_ms: int | None = None

    def change_to(self, mime_type: str) -> None:
        """What is sent now is of this type."""
        self.mime_type = mime_type
        self.ns_per_byte = 1e6 / (bytes_per_ms(mime_type) if "rate=" in mime_type else _BYTES_PER_MS)

    def silent_at(self, offset: Any, at: int) -> int | None:
        """When the user fell silent, by the offset of the end of an activity, which the service says at the time `at`.

        The documentation does not say whether the silence is in it. What is later than anything can be after which such a
        silence was heard has it inside.
        """
        end_ms = _milliseconds(offset)
        if end_ms is None:
            return None
        silence_ms = self.silence_ms or 0
        spoken_ms = end_ms if end_ms <= self.position_ms - silence_ms else end_ms - silence_ms
        return self.spoken_at(spoken_ms, end_ms, at)


def _milliseconds(offset: Any) -> float | None:
    """Of a duration as Google's JSON has it: `1.500s`."""
    text = values.text(offset) or ""
    seconds = text[:-1] if text.endswith("s") and len(text) <= _LONGEST_OFFSET else ""
    whole, _, rest = seconds.partition(".")
    digits = whole + rest
    return float(seconds) * 1_000 if whole and digits.isascii() and digits.isdigit() else None
