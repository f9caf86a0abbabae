"""What is said: a caller books a table, and cuts in while the agent lists what is free.

Every line was synthesised beforehand (see `voices/README.md`). What the agent says here is what the
scripted server says; a live model says what it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile as sf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VOICES = Path(__file__).parent / "voices"
RATE = 24_000

INSTRUCTIONS = (
    "You answer the telephone of the restaurant The Lantern, in one or two short sentences. When a caller "
    "asks for a table, call find_tables and then read out all that is free, in full sentences. When the "
    "caller has chosen, call book_table and confirm."
)


@dataclass(frozen=True)
class Line:
    """One synthesised utterance.

    Attributes:
        name: Of its file, without the suffix.
        text: Its words.
    """

    name: str
    text: str

    @property
    def path(self) -> Path:
        """Its file: FLAC, mono, `RATE` Hz."""
        return VOICES / f"{self.name}.flac"

    def pcm(self) -> bytes:
        """Its sound: little-endian int16, mono, `RATE` Hz.

        Raises:
            ValueError: The file is not what this module says.
        """
        samples, rate = sf.read(self.path, dtype="int16")
        if rate != RATE or samples.ndim != 1:
            raise ValueError(f"{self.path} is not mono at {RATE} Hz")
        pcm: bytes = samples.astype("<i2").tobytes()
        return pcm


@dataclass(frozen=True)
class Wish:
    """A function that the agent calls: one of `FUNCTIONS`."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Cue:
    """When the caller speaks a line.

    Attributes:
        line: What is said.
        after_silence: When the agent has answered and been silent for so many seconds.
        cutting_in_at: Or before: when so many seconds of one answer have been heard.
    """

    line: Line
    after_silence: float
    cutting_in_at: float | None = None


OPENING = Line("caller-1", "Hello! Do you have a table for four tonight, at eight?")
OFFER = Line(
    "agent-1",
    "Eight o'clock is taken, I'm afraid. I can offer you half past eight by the window, or a quarter to "
    "ten in the garden, where a quartet plays until midnight.",
)
CHOICE = Line("caller-2", "The window is fine, but make it five. My sister is coming too.")
CONFIRMATION = Line("agent-2", "Five people at half past eight, by the window. You are booked.")
THANKS = Line("caller-3", "Lovely, thank you!")
FAREWELL = Line("agent-3", "See you tonight!")

#: Who speaks which lines.
CALLER = (OPENING, CHOICE, THANKS)
AGENT = (OFFER, CONFIRMATION, FAREWELL)

CUES = (
    Cue(OPENING, after_silence=0.6),
    Cue(CHOICE, after_silence=3.0, cutting_in_at=4.4),
    Cue(THANKS, after_silence=0.5),
)

#: What the scripted agent does, in order.
ANSWERS: tuple[Line | Wish, ...] = (
    Wish("find_tables", {"people": 4, "time": "20:00"}),
    OFFER,
    Wish("book_table", {"people": 5, "time": "20:30", "place": "window"}),
    CONFIRMATION,
    FAREWELL,
)
#: How much faster than speech it speaks: like the real services, it is ahead of the playback.
SPEED = 1.3

#: What the functions of `restaurant` are to the model.
FUNCTIONS = (
    {
        "name": "find_tables",
        "description": "The free tables of tonight around a time.",
        "parameters": {
            "type": "object",
            "properties": {
                "people": {"type": "integer"},
                "time": {"type": "string", "description": "HH:MM, 24 hours"},
            },
            "required": ["people", "time"],
        },
    },
    {
        "name": "book_table",
        "description": "Book one of the tables that were found.",
        "parameters": {
            "type": "object",
            "properties": {
                "people": {"type": "integer"},
                "time": {"type": "string", "description": "HH:MM, 24 hours"},
                "place": {"type": "string", "enum": ["window", "garden"]},
            },
            "required": ["people", "time", "place"],
        },
    },
)


def scripted_answers(answer: Callable[..., Any], function_call: Callable[..., Any]) -> list[Any]:
    """`ANSWERS` for a scripted server: `answer` and `function_call` make what it takes."""
    return [
        answer(calls=[function_call(step.name, step.arguments)])
        if isinstance(step, Wish)
        else answer(transcript=step.text, audio=step.pcm(), speed=SPEED)
        for step in ANSWERS
    ]
