"""What the server says in a conversation: the model's answers, and the words of what the user said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from voicespan.testing._dialogue import ScriptedDialogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Milliseconds of silence for each character where an answer is to be heard and has no audio.
_SILENT_MS_PER_CHARACTER = 60
#: What the model says: PCM16 little-endian mono at 24 kHz.
OUTPUT_BYTES_PER_MS = 48


@dataclass(frozen=True)
class FunctionCall:
    """A function that the model calls.

    Args:
        name: The function's name.
        arguments: Its arguments: a mapping, or JSON text of one.
        call_id: The call's id; counted (`function-call-0001`) when not given. An empty text means no id at
            all, as Vertex AI does it.
        blocking: Whether the model waits for the answer before it goes on. A call that does not block
            lets the turn complete; how its answer is taken then is said by the answer's `scheduling`.
    """

    name: str
    arguments: str | Mapping[str, Any] = "{}"
    call_id: str | None = None
    blocking: bool = True

    @property
    def args(self) -> dict[str, Any]:
        """The arguments as the wire has them."""
        given = json.loads(self.arguments) if isinstance(self.arguments, str) else self.arguments
        return dict(given)


@dataclass(frozen=True)
class Answer:
    """What the model does in one go: it speaks or writes, calls functions, or both (the words come first).

    Whether it speaks is the session's decision (`response_modalities`), so the words may be given as `text`
    or as `transcript`. A spoken answer without `audio` is silence of a plausible length.

    After functions were called and answered, the dialogue's next answer goes on with the same turn.

    Args:
        text: The words.
        audio: What is heard: PCM16 little-endian mono at 24 kHz.
        transcript: The words of `audio`.
        thoughts: What the model thinks before, in words.
        calls: Functions that are called, all in one message.
        reason: Why the turn ended so, as in `turnCompleteReason`: `RESPONSE_REJECTED`, …
        pause_after: Stop after so many chunks, in progress, until the server's `release()`. 0 stops
            before there is any output. A chunk is one message of audio, or one of text.
        speed: Generate this many times as fast as the user's audio comes in, instead of all at once.
            The user's audio is the only clock there is: with none, nothing is generated.
    """

    text: str = ""
    audio: bytes = b""
    transcript: str = ""
    thoughts: str = ""
    calls: tuple[FunctionCall, ...] | list[FunctionCall] = ()
    reason: str | None = None
    pause_after: int | None = None
    speed: float | None = None

    @property
    def words(self) -> str:
        """What is said, spoken or written."""
        return self.transcript or self.text

    @property
    def waits(self) -> bool:
        """Whether the turn goes on when its calls are answered."""
        return any(call.blocking for call in self.calls)

    def spoken(self) -> bytes:
        """The audio, or silence as long as the words."""
        return self.audio or bytes(OUTPUT_BYTES_PER_MS * _SILENT_MS_PER_CHARACTER * len(self.words))


@dataclass(frozen=True)
class Transcription:
    """The words of one spoken turn of the user, and when they come.

    Args:
        text: The words.
        arrives: `early`, before the answer; or `during`, in the middle of the answer's audio.
    """

    text: str = ""
    arrives: Literal["early", "during"] = "early"


@dataclass(frozen=True)
class Turn:
    """What the model is asked to answer.

    Args:
        number: How many answers were asked for before, on all connections.
        contents: The conversation so far, oldest first: `{"role": "user" | "model", "parts": […]}`.
        setup: The client's `setup`.
    """

    number: int
    contents: tuple[Mapping[str, Any], ...]
    setup: Mapping[str, Any]


class Dialogue(ScriptedDialogue[Turn, Answer, Transcription]):
    """The model's part in a conversation.

    A dialogue continues over the connections of its server, as a session does that is resumed.

    Args:
        answers: The model's answers in order, or a function from the turn to its answer, which is called
            in the server's thread. When they run out, the next request for one is a failure of the
            test. When not given, every turn gets the same short answer.
        user_transcripts: The words of the user's spoken turns, in order; turns beyond them get a numbered
            placeholder. Used only while the session has transcription switched on.
        chunk_ms: Milliseconds of audio in one message.
        marks_last: Whether the last fragment of a transcript is marked `finished`. (Of the recorded
            sessions none is.)
        voice_activity: Whether the server tells when it hears the user begin and end to speak.
    """

    def __init__(
        self,
        answers: Iterable[Answer] | Callable[[Turn], Answer] | None = None,
        user_transcripts: Iterable[str | Transcription] = (),
        *,
        chunk_ms: int = 200,
        marks_last: bool = False,
        voice_activity: bool = False,
    ) -> None:
        self.chunk_ms = chunk_ms
        self.marks_last = marks_last
        self.voice_activity = voice_activity
        super().__init__(
            answers,
            user_transcripts,
            default=Answer("Hello! How can I help you?"),
            transcription=Transcription,
        )

    def answer(self, contents: Iterable[Mapping[str, Any]], setup: Mapping[str, Any]) -> Answer:
        """The next answer.

        Raises:
            AssertionError: There is none left.
        """
        return self._answer(Turn(self._next_number(), tuple(contents), setup))
