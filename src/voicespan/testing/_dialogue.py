"""What both providers' dialogues do alike: one answer after the other, at the pace of the user's audio or at once."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

TurnT = TypeVar("TurnT", bound="NumberedTurn")
AnswerT = TypeVar("AnswerT")
TranscriptionT = TypeVar("TranscriptionT")

#: The answers in order, or a function from the turn to its answer.
Answers = Iterable[AnswerT] | Callable[[TurnT], AnswerT] | None


class NumberedTurn(Protocol):
    """What the model is asked to answer."""

    @property
    def number(self) -> int:
        """How many answers were asked for before."""


class PacedAnswer(Protocol):
    """How fast an answer is made."""

    @property
    def pause_after(self) -> int | None:
        """After how many chunks it stops until the test releases it."""

    @property
    def speed(self) -> float | None:
        """How many times as fast as the user's audio comes in it is made; None for all at once."""


class ScriptedDialogue(Generic[TurnT, AnswerT, TranscriptionT]):
    """Gives out the answers and the transcripts of a test, in their order.

    Args:
        answers: As the provider's `Dialogue` documents them.
        user_transcripts: Likewise.
        default: The answer to every turn where no answers were given.
        transcription: Makes a transcription of bare words.
    """

    def __init__(
        self,
        answers: Answers[AnswerT, TurnT],
        user_transcripts: Iterable[str | TranscriptionT],
        *,
        default: AnswerT,
        transcription: Callable[[str], TranscriptionT],
    ) -> None:
        self._answers = answers if answers is None or callable(answers) else iter(tuple(answers))
        self._transcripts = iter(user_transcripts)
        self._default = default
        self._transcription = transcription
        self._answered = 0
        self._heard = 0

    def _next_number(self) -> int:
        self._answered += 1
        return self._answered - 1

    def _answer(self, turn: TurnT) -> AnswerT:
        if self._answers is None:
            return self._default
        if callable(self._answers):
            return self._answers(turn)
        for answer in self._answers:
            return answer
        raise AssertionError(f"the dialogue has {turn.number} answers and was asked for one more")

    def transcription(self) -> TranscriptionT:
        """What the next spoken turn of the user is transcribed to."""
        self._heard += 1
        placeholder = f"(what the user said, turn {self._heard})"
        heard = next(chain(self._transcripts, (placeholder,)))
        return self._transcription(heard) if isinstance(heard, str) else heard


class PacedGeneration(ABC):
    """An answer in the making: a generator that stops after every chunk of output.

    Attributes:
        chunks: How many chunks of output were made.
        finished: Whether all of its events were sent.
    """

    def __init__(self, chunk_ms: int) -> None:
        self.chunks = 0
        self.finished = False
        self._chunk_ms = chunk_ms
        self._due_ms = 0.0
        self._steps = self._run()

    @property
    @abstractmethod
    def answer(self) -> PacedAnswer:
        """What is being said."""

    @abstractmethod
    def _run(self) -> Iterator[None]:
        """Send the events, and stop after every chunk."""

    @property
    def blocked(self) -> bool:
        """Whether it waits for something of the client before it can go on."""
        return False

    @property
    def waits_for_audio(self) -> bool:
        """Whether the user's audio drives it."""
        return self.answer.speed is not None and not self.blocked

    def start(self) -> None:
        """Begin, and go on as far as the answer says."""
        limit = math.inf if self.answer.pause_after is None else self.answer.pause_after
        self.advance(0 if self.answer.speed is not None else limit)

    def advance(self, chunks: float = math.inf) -> None:
        """Make at most so many chunks more; to the end when not given."""
        limit = self.chunks + chunks
        for _ in self._steps:
            if self.blocked or self.chunks >= limit:
                return
        self.finished = True

    def keep_pace(self, heard_ms: float) -> None:
        """Make what is due when so much more of the user's audio has come in."""
        self._due_ms += heard_ms * (self.answer.speed or 0.0)
        due = int(self._due_ms // self._chunk_ms)
        if due:
            self._due_ms -= due * self._chunk_ms
            self.advance(due)


def pieces(text: str) -> list[str]:
    """The text cut into deltas: words, each with the space before it."""
    return re.findall(r"\s*\S+(?:\s+$)?", text) or ([text] if text else [])
