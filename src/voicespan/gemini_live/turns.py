"""A turn of the model in progress, and the words of either side that are still coming.

Gemini sends everything in fragments and gives no ids: which fragment belongs to what depends on its place
alone. So the protocol keeps what is open, and makes up ids for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import values

if TYPE_CHECKING:
    from voicespan.protocol.events import LocalId, Usage

#: Of one text this many characters are kept.
_LONGEST_TEXT = 1_000_000
#: And of one turn so many utterances.
MOST_UTTERANCES = 64
#: 24 kHz, 16 bit, mono.
_BYTES_PER_MS = 48.0
_HIGHEST_RATE = 1_000_000
_MOST_DIGITS = len(str(_HIGHEST_RATE))


class Words:
    """Fragments of one text, joined as they come: they carry their own spaces."""

    __slots__ = ("_length", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def add(self, text: str, *, last: bool = False) -> None:
        """Add a fragment. The `last` one repeats the whole text in some services."""
        if last and self._pieces and text.strip() == self.text:
            return
        if text and self._length < _LONGEST_TEXT:
            self._pieces.append(text)
            self._length += len(text)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self._pieces).strip()

    def __bool__(self) -> bool:
        return bool(self._pieces)


@dataclass(slots=True)
class Utterance:
    """Words of one side that are still coming."""

    started_at: int
    #: None: whose message they are part of is known when the turn is over.
    item_id: LocalId | None
    last_at: int = 0
    words: Words = field(default_factory=Words)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, fragment: dict[str, Any], at: int) -> None:
        """Add a fragment as the wire has it."""
        self.last_at = at
        self.words.add(values.text(fragment.get("text")) or "", last=fragment.get("finished") is True)
        for key, fact in (("languageCode", "language"), ("speakerLabel", "speaker")):
            if isinstance(fragment.get(key), str):
                self.facts[fact] = values.name(fragment[key])


@dataclass(slots=True)
class Turn:
    """A response of the model: from its first sign to `turnComplete`."""

    id: LocalId
    #: The message of what it says.
    item_id: LocalId
    #: The user's message that it answers, as far as it was spoken.
    user_id: LocalId | None
    #: How many transcriptions that message has so far.
    user_parts: int = 0
    has_place: bool = False
    mime_type: str = ""
    #: Bytes, and how many make a millisecond.
    audio: int = 0
    bytes_per_ms: float = _BYTES_PER_MS
    had_speech: bool = False
    interrupted: bool = False
    said: list[str] = field(default_factory=list)
    text: Words = field(default_factory=Words)
    thoughts: Words = field(default_factory=Words)
    call_ids: list[str] = field(default_factory=list)
    usage: Usage | None = None

    @property
    def has_output(self) -> bool:
        """Whether there is anything that a barge-in could cut."""
        return self.had_speech or self.audio > 0 or bool(self.text)

    @property
    def generated_ms(self) -> int | None:
        """How long its audio is; None where it has none."""
        return round(self.audio / self.bytes_per_ms) if self.audio else None


def bytes_per_ms(mime_type: str) -> float:
    """Of 16 bit mono; the rate stands in `audio/pcm;rate=24000`."""
    for parameter in mime_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "rate" and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
            rate = int(value)
            return rate * 2 / 1000 if 0 < rate <= _HIGHEST_RATE else _BYTES_PER_MS
    return _BYTES_PER_MS
