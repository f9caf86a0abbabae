"""What the next answer answers: the end of the user's turn, and for how long functions were waited for since.

An answer to what was typed, one that the agent gives by itself, and one to speech that was answered already answer no
speech. Times are in monotonic nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.protocol.events import GenerationStarted, SpeechStopped

#: Nanoseconds within which an answer is one to what was said into the answer before.
LONGEST_BESIDE = 3_000_000_000


@dataclass(slots=True)
class Asked:
    """The end of the user's turn."""

    #: When the service saw it; where it is `unmarked`, when the service began to answer.
    at: int
    #: The event that said so.
    event_type: str = ""
    #: While an answer was under way: it may have asked nothing.
    beside: bool = False
    #: When the user was silent, by the service's own count.
    silent_at: int | None = None
    #: When the service saw that the user began to speak.
    began_at: int | None = None
    #: The service does not say when the user stops speaking: only a recording knows.
    unmarked: bool = False
    #: What was said before is not what is answered now: something was typed, or it was answered.
    after: int = 0
    #: When the answer before was over, as far as is known.
    previous_until: int = 0


class UserTurn:
    """The user's turn that was not answered yet. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(self) -> None:
        self._asked: Asked | None = None
        self._began_at: int | None = None
        self._done_with = 0
        self._previous_until = 0
        self._tool_since: int | None = None
        self._tool_ns = 0

    def spoke(self, at: int) -> None:
        """The user began to speak; nothing was asked until that is over."""
        self._asked, self._began_at = None, at

    def stopped(self, event: SpeechStopped, *, beside: bool) -> None:
        """The user has stopped speaking; `beside`: an answer is under way."""
        self._asked = Asked(event.at, event.event_type, beside, event.silent_at, self._began_at)
        self._tool_ns = 0

    def typed(self, at: int) -> None:
        """What is answered now is not what was spoken."""
        self._asked, self._done_with = None, at

    def answer_began(self, event: GenerationStarted) -> None:
        """The model begins to answer."""
        asked = self._asked
        if asked is not None and asked.beside and event.at - asked.at > LONGEST_BESIDE:
            # What was said into an answer that went on asked nothing: this one comes by itself.
            self._asked = asked = None
        waits = self._tool_since is not None or self._tool_ns > 0
        if event.speech_unmarked and (asked is None or (asked.unmarked and not waits)):
            self._asked = Asked(
                event.at, unmarked=True, after=self._done_with, previous_until=self._previous_until
            )
            self._tool_ns = 0

    def take(self, at: int) -> tuple[Asked | None, int]:
        """An answer is spoken: what it answers, and for how long it waited for functions."""
        asked, tool_ns = self._asked, self._tool_ns
        self._asked, self._tool_ns, self._done_with = None, 0, at
        return asked, tool_ns

    def answered_until(self, at: int) -> None:
        """The answer is over, as far as is known."""
        self._previous_until = at

    # Functions.

    def tool_began(self, at: int) -> None:
        """The model waits for a function."""
        if self._tool_since is None:
            self._tool_since = at

    def tools_over(self, at: int) -> None:
        """It waits for none any more."""
        if self._tool_since is not None:
            self._tool_ns += at - self._tool_since
            self._tool_since = None
