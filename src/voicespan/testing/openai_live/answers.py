"""What the model does in a conversation: what it says, what it delegates, and what the user is heard to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.testing.openai_realtime.answers import FunctionCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FunctionCall", "LiveDialogue", "Reply", "Words"]

#: Milliseconds of silence for each character that is spoken without audio.
_SILENT_MS_PER_CHARACTER = 60


@dataclass(frozen=True)
class Reply:
    """What the model does once the user has spoken.

    Args:
        text: What it says at once; with `delegates` that is an acknowledgement ("One moment.").
        audio: How that sounds (the `result`, where there is no text), in the session's format; silence of a
            plausible length when not given.
        delegates: It hands the task over: to the application, to Responses or to Decisions, as the
            session is configured.
        calls: Functions that the Responses backend asks for.
        result: What the Responses backend writes in the end, which the model then says.
        answers: What Decisions answers.
        fails: The delegated response fails with this message.
        yields: It falls silent when the user speaks meanwhile.
    """

    text: str = ""
    audio: bytes = b""
    delegates: bool = False
    calls: Sequence[FunctionCall] = ()
    result: str = ""
    answers: Sequence[Mapping[str, Any]] = field(
        default=({"type": "choice", "name": "next", "choice": "answer"},)
    )
    fails: str | None = None
    yields: bool = True

    def spoken(self, text: str, bytes_per_ms: int, silence: bytes) -> bytes:
        """The audio for `text`, or silence as long as its words."""
        given = self.audio if text == (self.text or self.result) else b""
        return given or silence * (bytes_per_ms * _SILENT_MS_PER_CHARACTER * len(text))


@dataclass(frozen=True)
class Words:
    """What one utterance of the user is transcribed to.

    Args:
        text: The words.
        late_ms: How much later than they were spoken they come, on the session's time line.
    """

    text: str
    late_ms: int = 0


class LiveDialogue:
    """The replies of one conversation, in order, and what the user says in it.

    Args:
        replies: One for each utterance of the user; after the last one the model only listens.
        user_transcripts: What the user is heard to say; a placeholder when there is none left.
        usage_every_ms: How often `session.usage.updated` comes, on the session's time line.
    """

    def __init__(
        self,
        replies: Iterable[Reply] = (Reply("Hello! How can I help you?"),),
        user_transcripts: Iterable[str | Words] = (),
        *,
        usage_every_ms: int = 15_000,
    ) -> None:
        self.usage_every_ms = usage_every_ms
        self._replies = tuple(replies)
        self._transcripts = tuple(user_transcripts)

    def reply(self, number: int) -> Reply | None:
        """What follows the utterance with this number, counted from 0; None: nothing."""
        return self._replies[number] if 0 <= number < len(self._replies) else None

    def words(self, number: int) -> Words:
        """What the utterance with this number is transcribed to."""
        if number >= len(self._transcripts):
            return Words(f"(what the user said, utterance {number + 1})")
        heard = self._transcripts[number]
        return heard if isinstance(heard, Words) else Words(heard)
