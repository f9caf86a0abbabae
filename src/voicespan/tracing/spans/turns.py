"""Turns of the model: what it was given, what it answered, what that cost.

A `turn_complete` is written later than it ends. The transcript of what the user said before it often comes
in the middle of the answer, or in the next turn; and of an answer that was cut off, how much was heard is
known afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicespan.protocol import events
from voicespan.protocol.events import LocalId
from voicespan.runtime.bounded import put
from voicespan.tracing import semconv
from voicespan.tracing.spans.response_gap import Asked, response_gap
from voicespan.tracing.spans.usage import usage_attributes

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.tracing.spans.barge_ins import BargeIn, BargeIns
    from voicespan.tracing.spans.playback import Playback
    from voicespan.tracing.spans.span_writer import SpanWriter
    from voicespan.tracing.spans.transcript import Entry, Transcript

#: How many finished turns may wait for a transcript: one that has not come by then is not coming.
_MOST_WAITING = 8
#: How many messages may come before the model says something to them.
_MOST_INPUTS = 1_000
#: After how many more that is looked at.
_LOOK_EVERY = 50
#: How many generations may be under way.
_MOST_GENERATIONS = 32
#: Nanoseconds within which an answer is one to what was said into the answer before.
_LONGEST_BESIDE = 3_000_000_000
#: Characters of messages that one generation is given: a span shows far fewer.
_MOST_GIVEN = 1_000_000


@dataclass(slots=True)
class _Generation:
    started_at: int
    inputs: list[Entry]
    #: The end of the user's speech that it answers, and its first audio, as received.
    asked: Asked | None = None
    first_audio_at: int | None = None
    #: For how long it waited for functions.
    tool_ns: int = 0
    #: When that was heard, once it is known.
    heard_at: int | None = None
    out_of_band: bool = False
    #: The user had said or typed something before.
    to_user: bool = False
    #: Of one out of band, what it was given instead of `inputs`.
    given: list[dict[str, Any]] | None = None
    #: And what it said, by the transcript's entry: part of the talk if it was heard.
    spoken: list[tuple[Entry, str | None]] = field(default_factory=list)

    def latency_ms(self, at: int | None) -> float | None:
        """From the end of the user's speech to `at`."""
        return None if at is None or self.asked is None else round((at - self.asked.at) / 1e6, 3)


@dataclass(slots=True)
class _Turn:
    """A generation that has ended and is not written yet."""

    generation: _Generation
    ended: events.GenerationEnded
    calls: list[dict[str, Any]]
    #: More of its words are likely to come.
    awaits_words: bool
    #: See `outcome_of`.
    outcome: str | None


class Turns:
    """Those of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self,
        writer: SpanWriter,
        content: Content,
        *,
        barge_ins: BargeIns,
        playback: Playback,
        transcript: Transcript,
        provider: Mapping[str, AttributeValue],
    ) -> None:
        """`provider` gives the model's facts, as they are when a turn is written."""
        self._writer = writer
        self._content = content
        self._barge_ins = barge_ins
        self._playback = playback
        self._transcript = transcript
        self._provider = provider
        self._inputs: list[Entry] = []
        self._generations: dict[str, _Generation] = {}
        self._waiting: tuple[_Turn, ...] = ()
        self._asked: Asked | None = None
        self._tool_since: int | None = None
        self._tool_ns = 0
        self._over: dict[str, None] = {}
        self._user_had_turn = False
        self._user_was_answered = False

    @property
    def is_unanswered(self) -> bool:
        """Whether the user had a turn, and not one of them was answered."""
        return self._user_had_turn and not self._user_was_answered

    @property
    def generating(self) -> Container[str]:
        """The responses that are under way."""
        return self._generations

    def user_spoke(self) -> None:
        """The user began to speak; nothing was asked until that is over."""
        self._asked = None

    def user_asked(self, event: events.SpeechStopped) -> None:
        """The user has stopped speaking."""
        self._asked = Asked(event.at, event.event_type, beside=bool(self._generations))
        self._tool_ns = 0

    def user_had_turn(self) -> None:
        """The user has said or typed something that is to be answered."""
        self._user_had_turn = True

    def answered_in_words(self) -> None:
        """The agent spoke to the user, with a service that has no responses."""
        self._user_was_answered = True

    def user_typed(self) -> None:
        """What is answered now is not what was spoken."""
        self._asked = None

    def tool_began(self, at: int) -> None:
        """The model waits for a function."""
        if self._tool_since is None:
            self._tool_since = at

    @property
    def awaits_tools(self) -> bool:
        """Whether the model waits for a function."""
        return self._tool_since is not None

    def tools_over(self, at: int) -> None:
        """It waits for none any more."""
        if self._tool_since is not None:
            self._tool_ns += at - self._tool_since
            self._tool_since = None

    def give(self, entry: Entry) -> None:
        """`entry` is part of what the next generation is given."""
        if entry.given:
            return
        entry.given = True
        self._inputs.append(entry)
        if len(self._inputs) % _LOOK_EVERY == 0:
            self._inputs = _newest(self._inputs)

    def begin(self, event: events.GenerationStarted) -> None:
        """The model begins to answer."""
        if event.response_id in self._generations:
            return
        inputs: list[Entry] = []
        if not event.out_of_band:
            inputs, self._inputs = _newest(self._inputs), []
        given = [
            {"role": role, "content": self._content.text(text, role=role, place="transcript") or ""}
            for role, text in event.inputs or ()
        ]
        generation = _Generation(
            event.at,
            inputs,
            out_of_band=event.out_of_band,
            to_user=self._user_had_turn and not event.out_of_band,
            given=given if event.out_of_band else None,
        )
        asked = self._asked
        if asked is not None and asked.beside and event.at - asked.at > _LONGEST_BESIDE:
            # What was said into an answer that went on asked nothing: this one comes by itself.
            self._asked = None
        put(self._generations, event.response_id, generation, _MOST_GENERATIONS)

    def speak(self, response_id: str, at: int) -> None:
        """The first audio of an answer has been received."""
        generation = self._generations.get(response_id)
        if generation is not None:
            generation.first_audio_at = at
            if not generation.out_of_band:
                generation.asked, self._asked = self._asked, None
                generation.tool_ns, self._tool_ns = self._tool_ns, 0

    def spoken_beside(self, response_id: str | None, entry: Entry, text: str | None) -> None:
        """A response out of band says this; whether anybody heard it is seen when it is over."""
        generation = self._generations.get(response_id or "")
        if generation is not None:
            generation.spoken.append((entry, text))

    def is_over(self, response_id: str) -> bool:
        """Whether the response has ended before."""
        return response_id in self._over and response_id not in self._generations

    def end(self, event: events.GenerationEnded, calls: list[dict[str, Any]]) -> str | None:
        """The model is done; `calls`: the functions that it asked for, as messages.

        Returns the outcome; None: the service does not say it, or it was no answer to the user.
        """
        generation = self._generations.pop(event.response_id, None)
        if generation is None:
            generation = _Generation(event.at, [], to_user=self._user_had_turn)
        put(self._over, event.response_id, None)
        if event.status == "failed" and not generation.out_of_band:
            # Nobody has answered it: the retry does.
            self._inputs = [*generation.inputs, *self._inputs]
        outcome = outcome_of(event)
        if generation.to_user and outcome not in ("failed", "rejected") and _says_something(event):
            self._user_was_answered = True
        self._waiting += (_Turn(generation, event, calls, event.awaits_words, outcome),)
        return None if generation.out_of_band else outcome

    def add_words(self, response_id: str, text: str) -> None:
        """Words of an answer that is over."""
        for turn in self._waiting:
            if turn.awaits_words and turn.ended.response_id == response_id:
                turn.ended.text = f"{turn.ended.text or ''} {text}".strip()
                turn.awaits_words = False

    def user_acted(self) -> None:
        """The user speaks or types: what has no words by now gets none."""
        for turn in self._waiting:
            turn.awaits_words = False

    def write_ready(self, *, final: bool = False, everything: bool = False) -> None:
        """Write those that are complete; `final`: what was heard is known by now, or when a late recorder comes to it."""
        if not self._waiting:
            return
        still: list[_Turn] = []
        surplus = len(self._waiting) - _MOST_WAITING
        for position, turn in enumerate(self._waiting):
            if everything or position < surplus or self._is_complete(turn, final=final):
                self._write(turn)
            else:
                still.append(turn)
        self._waiting = tuple(still)

    def _is_complete(self, turn: _Turn, *, final: bool) -> bool:
        if any(entry.awaits_transcript for entry in turn.generation.inputs):
            return False
        cut = self._barge_ins.of(turn.ended.response_id)
        if not final and (turn.awaits_words or (cut is not None and cut.heard_ms is None)):
            return False
        # Received is not heard: a burst of audio is received long before its first sample is played.
        if (
            not self._playback.is_listening
            or turn.generation.asked is None
            or self._heard_at(turn.generation, patient=True) is not None
        ):
            return True
        # To look through seconds of audio that a busy process has not come to would hold the application.
        return final and not self._playback.is_behind

    def _heard_at(self, generation: _Generation, *, patient: bool = False) -> int | None:
        # The recorder looks through what it has, so it is not asked again, nor for what nobody will read.
        if generation.heard_at is None and generation.asked is not None:
            generation.heard_at = self._playback.first(generation.first_audio_at, patient=patient)
        return generation.heard_at

    def _write(self, turn: _Turn) -> None:
        ended, generation = turn.ended, turn.generation
        cut = self._barge_ins.of(ended.response_id)
        self._note_what_was_heard(generation)
        self._writer.write(
            events.TURN_COMPLETE,
            ended,
            started_at=generation.started_at,
            kind="llm",
            prompt={"messages": _prompt(generation)},
            completion={"messages": [self._message(turn)]},
            facts=self._facts(turn, cut),
            error=self._content.error(ended.error),
            attributes={**self._provider, **_attributes(ended)},
        )

    def _note_what_was_heard(self, generation: _Generation) -> None:
        """What was said out of band is part of the talk only where the recorder knows that it was heard."""
        if generation.spoken and self._playback.first(generation.first_audio_at) is not None:
            for entry, text in generation.spoken:
                self._transcript.write(entry, text)
                entry.note(out_of_band=True)

    def _message(self, turn: _Turn) -> dict[str, Any]:
        ended = turn.ended
        text = self._content.text(ended.text, role="assistant", place="transcript")
        message: dict[str, Any] = {"role": "assistant", "content": text or ""}
        if ended.thoughts is not None:
            message["reasoning"] = self._content.text(ended.thoughts, role="assistant", place="transcript")
        if turn.calls:
            message["tool_calls"] = turn.calls
        return message

    def _facts(self, turn: _Turn, cut: BargeIn | None) -> dict[str, Any]:
        ended, generation = turn.ended, turn.generation
        return {
            "response_id": ended.response_id or None,
            "status": ended.status,
            "reason": ended.reason,
            "outcome": turn.outcome,
            "out_of_band": generation.out_of_band or None,
            "interrupted": True if cut is not None else None,
            "generated_ms": ended.generated_ms,
            "heard_ms": cut.heard_ms if cut is not None else None,
            "latency_to_first_audio_ms": generation.latency_ms(generation.first_audio_at),
            "latency_to_first_audio_heard_ms": generation.latency_ms(self._heard_at(generation)),
            **response_gap(
                generation.asked,
                generation.first_audio_at,
                self._heard_at(generation),
                generation.tool_ns,
                self._playback,
            ),
            **ended.facts,
        }


def outcome_of(ended: events.GenerationEnded) -> str | None:
    """What became of an answer, in the same word for every service. None: the service does not say it."""
    if ended.rejected:
        return "rejected"
    if ended.error is not None:
        return "failed"
    if ended.status == "completed" and not _says_something(ended):
        return "empty"
    return _OUTCOMES.get(ended.status)


def _says_something(ended: events.GenerationEnded) -> bool:
    return ended.had_speech or bool(ended.call_ids) or bool((ended.text or "").strip())


#: By what the services call it.
_OUTCOMES = {
    "completed": "completed",
    "cancelled": "cancelled",
    "interrupted": "cancelled",
    "failed": "failed",
    "incomplete": "incomplete",
}


def _prompt(generation: _Generation) -> list[dict[str, Any]]:
    if generation.given is not None:
        return generation.given
    return [entry.message() for entry in generation.inputs if entry.has_content]


def _newest(entries: list[Entry]) -> list[Entry]:
    """The last of `entries`, as many as are kept; always one."""
    room = _MOST_GIVEN
    for index in range(len(entries) - 1, max(len(entries) - _MOST_INPUTS, 0) - 1, -1):
        room -= len(entries[index].text or "")
        if room < 0:
            return entries[min(index + 1, len(entries) - 1) :]
    return entries[-_MOST_INPUTS:]


def _attributes(ended: events.GenerationEnded) -> dict[str, AttributeValue]:
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
