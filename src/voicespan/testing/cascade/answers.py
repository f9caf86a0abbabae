"""What the services of a cascade answer, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from voicespan.testing.openai_realtime.answers import FunctionCall


@dataclass(frozen=True)
class Transcript:
    """What a transcription returns.

    Args:
        text: The words; "" where nothing was said.
        language: That was heard; only `verbose_json` says so.
        pause_after: Where it streams: stop after so many words, until the server's `release()`.
    """

    text: str = ""
    language: str = "english"
    pause_after: int | None = None


@dataclass(frozen=True)
class Completion:
    """One answer of the language model: words, function calls, or both.

    Args:
        text: The words.
        calls: Functions that it asks for, in one answer.
        finish_reason: Why it ended; `stop` or `tool_calls` by default.
        pause_after: Where it streams: stop after so many pieces, until the server's `release()` or until the client
            goes away. 0 stops before there is any output.
        cached_tokens: Of the prompt, so many were cached.
        reasoning_tokens: It thought so many before it answered.
    """

    text: str = ""
    calls: Sequence[FunctionCall] = ()
    finish_reason: Literal["length", "content_filter"] | None = None
    pause_after: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class Speech:
    """How a text is spoken.

    Args:
        seconds: How long it is; by default so long as its words take.
        audio: What is heard, PCM16 mono at 24 kHz, instead of the voice that hums.
        pause_after: Stop after so many pieces of 200 ms, until the server's `release()` or until the client goes away.
    """

    seconds: float | None = None
    audio: bytes = b""
    pause_after: int | None = None


@dataclass(frozen=True)
class CompletionRequest:
    """What the language model is asked.

    Args:
        number: How many answers were asked for before.
        messages: As they were sent.
        body: The whole request.
    """

    number: int
    messages: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any]


class InOrder:
    """Gives out what a test wrote down, one after the other; the last may be repeated."""

    def __init__(self, answers: Iterable[Any] | Callable[[Any], Any] | None, default: Any) -> None:
        self._answers = answers if answers is None or callable(answers) else iter(tuple(answers))
        self._default = default

    def next(self, request: Any) -> Any:
        """What this request gets; an `AssertionError` where nothing is left."""
        if self._answers is None:
            return self._default
        if callable(self._answers):
            return self._answers(request)
        for answer in self._answers:
            return answer
        raise AssertionError("the server has no answer left for one more request")
