"""A generation of the model: what it was given, what it answered, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import LocalId
from voicespan.tracing import semconv
from voicespan.tracing.spans.usage import usage_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.events import GenerationEnded
    from voicespan.tracing.spans.asked import Asked
    from voicespan.tracing.spans.transcript import Entry

#: How many messages may come before the model says something to them.
_MOST_INPUTS = 1_000
#: Characters of messages that one generation is given: a span shows far fewer.
_MOST_GIVEN = 1_000_000


@dataclass(slots=True)
class Generation:
    """One that is under way, or over. All times: monotonic nanoseconds."""

    started_at: int
    inputs: tuple[Entry, ...]
    #: The end of the user's speech that it answers, and its first audio, as received.
    asked: Asked | None = None
    first_audio_at: int | None = None
    #: For how long it waited for functions.
    tool_ns: int = 0
    #: When that was heard, once it is known; and where it is only estimated.
    heard_at: int | None = None
    estimated_at: int | None = None
    response_id: str = ""
    #: That which was received before it, where the application may have queued it behind that; and how long its own
    #: audio is, once that is known, and whether it was cut off.
    behind: Generation | None = None
    audio_ns: int | None = None
    cut: bool = False
    out_of_band: bool = False
    #: See `voicespan.protocol.events.GenerationStarted`.
    own_request: bool = False
    #: See `voicespan.protocol.events.FirstAudio`.
    beside: bool = False
    #: Which turn of the user it answers; 0: none.
    user_turn: int = 0
    #: Of one out of band, what it was given instead of `inputs`.
    given: list[dict[str, Any]] | None = None
    #: And what it said, by the transcript's entry: part of the talk if it was heard.
    spoken: list[tuple[Entry, str | None]] = field(default_factory=list)

    def latency_ms(self, at: int | None) -> float | None:
        """From the end of the user's turn, as the service saw it, to `at`."""
        asked = self.asked
        return None if at is None or asked is None or asked.unmarked else round((at - asked.at) / 1e6, 3)

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The messages that it was given."""
        if self.given is not None:
            return self.given
        return [entry.message() for entry in self.inputs if entry.has_content]


@dataclass(slots=True)
class FinishedTurn:
    """A generation that has ended and is not written yet."""

    generation: Generation
    ended: GenerationEnded
    calls: list[dict[str, Any]]
    #: More of its words are likely to come.
    awaits_words: bool
    #: See `outcome_of`.
    outcome: str | None
    #: Whose it is, as it was when it ended.
    provider: Mapping[str, AttributeValue]
    #: Until when it may still be playing, as far as is known: until then it can be cut off.
    playing_until: int | None = None


def outcome_of(ended: GenerationEnded) -> str | None:
    """What became of an answer, in the same word for every service. None: the service does not say it."""
    if ended.rejected:
        return "rejected"
    if ended.error is not None:
        return "failed"
    if ended.status == "completed" and not says_something(ended):
        return "empty"
    return _OUTCOMES.get(ended.status)


def says_something(ended: GenerationEnded) -> bool:
    """Whether there is anything in an answer."""
    return ended.had_speech or ended.asks or bool(ended.call_ids) or bool((ended.text or "").strip())


#: By what the services call it.
_OUTCOMES = {
    "completed": "completed",
    "cancelled": "cancelled",
    "interrupted": "cancelled",
    "failed": "failed",
    "incomplete": "incomplete",
}


def newest(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The last of `entries`, as many as are kept; always one."""
    room = _MOST_GIVEN
    for index in range(len(entries) - 1, max(len(entries) - _MOST_INPUTS, 0) - 1, -1):
        room -= len(entries[index].text or "")
        if room < 0:
            return entries[min(index + 1, len(entries) - 1) :]
    return entries[-_MOST_INPUTS:]


def llm_attributes(ended: GenerationEnded) -> dict[str, AttributeValue]:
    """Of an answer, as OpenTelemetry names them."""
    attributes: dict[str, AttributeValue] = {
        semconv.OPERATION: "chat",
        semconv.FINISH_REASONS: (ended.reason or ended.status,),
        semconv.OUTPUT_TYPE: "speech" if ended.had_speech else "text",
    }
    if ended.response_id and not isinstance(ended.response_id, LocalId):
        attributes[semconv.RESPONSE_ID] = ended.response_id
    if ended.model:
        attributes[semconv.RESPONSE_MODEL] = ended.model
    if ended.usage is not None:
        attributes.update(usage_attributes(ended.usage))
    return attributes
