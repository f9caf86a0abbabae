"""A turn of the model in progress, and the words of either side that are still coming.

Gemini sends everything in fragments and gives no ids: which fragment belongs to what depends on its place
alone. So the protocol keeps what is open, and makes up ids for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import values
from voicespan.runtime.bounded import MOST

if TYPE_CHECKING:
    from voicespan.protocol.events import LocalId, Usage

#: Of one text this many characters are kept.
_LONGEST_TEXT = 1_000_000
#: And of one turn so many utterances.
MOST_UTTERANCES = 64
#: 24 kHz, 16 bit, mono.
_BYTES_PER_MS = 48.0
#: With what a sentence ends, in the scripts of the languages that the service speaks.
_SENTENCE_ENDS = (".", "?", "!", "…", "\u3002", "\uff1f", "\uff01", "\u0964", "\u061f", '"', "”", "»", ")")
_HIGHEST_RATE = 1_000_000
_MOST_DIGITS = len(str(_HIGHEST_RATE))


class Words:
    """Fragments of one text, joined as they come: they carry their own spaces."""

    __slots__ = ("_length", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def add(self, text: str, *, last: bool = False) -> None:
        """Add a fragment. The `last` one repeats the whole text in some services: where that is of several pieces."""
        if last and len(self._pieces) > 1 and text.strip() == self.text:
            return
        if text and self._length < _LONGEST_TEXT:
            self._pieces.append(text)
            self._length += len(text)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self._pieces).strip()

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return any(not piece.isspace() for piece in self._pieces)


@dataclass(slots=True)
class Utterance:
    """Words of one side that are still coming."""

    started_at: int
    #: None: whose message they are part of is known when the turn is over.
    item_id: LocalId | None
    last_at: int = 0
    #: The turn that was over before they came.
    late_for: Turn | None = None
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
    #: What it says in words: all of it, and the text of each utterance that is over.
    utterances: list[Utterance] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    text: Words = field(default_factory=Words)
    thoughts: Words = field(default_factory=Words)
    call_ids: list[str] = field(default_factory=list)
    usage: Usage | None = None
    started_at: int = 0
    #: When all of it was generated, and when it asked for functions, each for the last time.
    generated_at: int | None = None
    called_at: int | None = None
    #: How much there was of its output when it asked for them.
    output_before_call: tuple[int, int] = (0, 0)
    #: How many of those that it waits for are not answered; when the last of them was, and how much output there was then.
    unanswered: int = 0
    answered_at: int | None = None
    output_when_answered: tuple[int, int] = (0, 0)
    #: It began by asking for functions: when there was output after that.
    went_on_at: int | None = None

    def calls(self, call_id: str, at: int, *, waits: bool) -> None:
        """It asks for a function; `waits`: and generates nothing before it has the answer."""
        self.called_at, self.generated_at, self.output_before_call = at, None, self._output
        self.went_on_at = self.answered_at = None
        self.unanswered += waits
        if len(self.call_ids) < MOST:
            self.call_ids.append(call_id)

    @property
    def _output(self) -> tuple[int, int]:
        return self.audio, sum(len(each.words) for each in self.utterances) + len(self.text)

    def goes_on(self, at: int) -> None:
        """There is output of it."""
        if self.called_at is not None and self.went_on_at is None and self.output_before_call == (0, 0):
            self.went_on_at = at

    def answered(self, at: int) -> None:
        """A function that it waits for was answered."""
        self.unanswered -= 1
        if self.unanswered == 0:
            self.answered_at, self.output_when_answered = at, self._output

    @property
    def has_answers_after_speech(self) -> bool:
        """Whether it spoke, then asked for functions, and has their answers: what it says now is another answer."""
        spoke = self.output_before_call != (0, 0)
        return self.answered_at is not None and spoke and self._output == self.output_when_answered

    @property
    def ended_before_answers(self) -> int | None:
        """When it was done, before it had them."""
        before, after = self.output_before_call, self.output_when_answered
        # The words of speech come later than its sound.
        went_on = after[0] != before[0] if self.audio else after != before
        return self.answered_at if went_on else self.called_at

    @property
    def went_on(self) -> bool:
        """Whether it said anything after it asked for functions."""
        return self._output != self.output_before_call

    def ended_at(self, at: int) -> int:
        """When the model was done, in a turn that was complete `at`.

        Gemini completes a turn when its audio would have been played, and an application that runs its
        functions in the receive loop reads the end only after them.
        """
        if self.called_at is not None and not self.went_on:
            return self.called_at
        return at if self.generated_at is None else self.generated_at

    @property
    def lacks_words(self) -> bool:
        """Whether more words are likely to come: it was heard to speak, and no sentence ends with what is known."""
        return self.audio > 0 and (not self.said or not self.said[-1].endswith(_SENTENCE_ENDS))

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
