"""What the server says in a conversation: answers, transcripts of what the user said, and their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from voicespan.testing._dialogue import ScriptedDialogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: Milliseconds of silence for each character where an answer is to be heard and has no audio.
_SILENT_MS_PER_CHARACTER = 60


@dataclass(frozen=True)
class FunctionCall:
    """A function that the model calls.

    Args:
        name: The function's name.
        arguments: Its arguments: JSON text, or a mapping that is encoded as such.
        call_id: The call's id; counted (`call_0001`) when not given.
    """

    name: str
    arguments: str | Mapping[str, Any] = "{}"
    call_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """One response of the model: a message, function calls, or both (the message comes first).

    Whether it is spoken or written is the session's decision (`output_modalities`), so the words may be
    given as `text` or as `transcript`. A spoken answer without `audio` is silence of a plausible length.

    Args:
        text: The words.
        audio: What is heard, in the session's output format: PCM16 little-endian mono at 24 kHz unless
            the session says G.711.
        transcript: The words of `audio`.
        calls: Functions that are called, in one response.
        error: The response fails after what else it has: a message, or the vendor's error object
            (`{"type": …, "code": …, "message": …}`).
        incomplete: The response ends early for this reason.
        pause_after: Stop after so many chunks, in progress, until the server's `release()`. 0 stops
            before there is any output. A chunk is one audio delta, or one text or arguments delta
            where nothing is spoken.
        speed: Generate this many times as fast as the user's audio comes in, instead of all at once.
            The user's audio is the only clock there is: with none, nothing is generated. `pause_after`
            does not apply then.
    """

    text: str = ""
    audio: bytes = b""
    transcript: str = ""
    calls: Sequence[FunctionCall] = ()
    error: str | Mapping[str, Any] | None = None
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None
    pause_after: int | None = None
    speed: float | None = None

    @property
    def words(self) -> str:
        """What is said, spoken or written."""
        return self.transcript or self.text

    @property
    def has_message(self) -> bool:
        """Whether there is more than calls."""
        return bool(self.words or self.audio)

    def spoken(self, bytes_per_ms: int, silence: bytes) -> bytes:
        """The audio, or silence as long as the words."""
        return self.audio or silence * (bytes_per_ms * _SILENT_MS_PER_CHARACTER * len(self.words))


@dataclass(frozen=True)
class Transcription:
    """What the transcription of one spoken turn of the user returns, and when.

    Args:
        text: The transcript.
        arrives: `early`, before the answer; `during`, in the middle of the answer's audio; `late`,
            after `response.done`. By default `during` where turn detection starts the answer, else
            `early`, as then nobody knows whether there will be an answer.
        error: The transcription fails with this message.
    """

    text: str = ""
    arrives: Literal["early", "during", "late"] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Turn:
    """What the model is asked to answer.

    Args:
        number: How many answers were asked for before, on all connections.
        items: The conversation so far, oldest first, as the server holds it.
        session: The session object.
        request: The `response` of the client's `response.create`; empty where turn detection asked.
    """

    number: int
    items: tuple[Mapping[str, Any], ...]
    session: Mapping[str, Any]
    request: Mapping[str, Any]


class Dialogue(ScriptedDialogue[Turn, Answer, Transcription]):
    """The model's part in a conversation.

    A dialogue continues over the connections of its server, as a conversation does that is reopened.

    Args:
        answers: The model's answers in order, or a function from the turn to its answer, which is called
            in the server's thread. When they run out, the next request for one is a failure of the
            test. When not given, every turn gets the same short answer.
        user_transcripts: What transcription makes of the user's spoken turns, in order; turns beyond
            them get a numbered placeholder. Used only while the session has transcription switched on.
        chunk_ms: Milliseconds of audio in one delta.
        rate_limits: Whether `rate_limits.updated` is sent. (Azure sends none.)
    """

    def __init__(
        self,
        answers: Iterable[Answer] | Callable[[Turn], Answer] | None = None,
        user_transcripts: Iterable[str | Transcription] = (),
        *,
        chunk_ms: int = 200,
        rate_limits: bool = True,
    ) -> None:
        self.chunk_ms = chunk_ms
        self.rate_limits = rate_limits
        super().__init__(
            answers,
            user_transcripts,
            default=Answer("Hello! How can I help you?"),
            transcription=Transcription,
        )

    def answer(
        self,
        items: Iterable[Mapping[str, Any]],
        session: Mapping[str, Any],
        request: Mapping[str, Any],
    ) -> Answer:
        """The next answer.

        Raises:
            AssertionError: There is none left.
        """
        return self._answer(Turn(self._next_number(), tuple(items), session, request))


def obfuscation(delta: str) -> str:
    """The filler beside a text delta, which hides its length: to the next multiple of 16."""
    return "x" * (-len(delta) % 16)
