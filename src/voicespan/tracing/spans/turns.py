"""Turns of the model: what it was given, what it answered, what that cost.

A `turn_complete` is written later than it ends. The transcript of what the user said before it often comes
in the middle of the answer, or in the next turn; and of an answer that was cut off, how much was heard is
known afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol import events
from voicespan.runtime.bounded import put
from voicespan.tracing.spans.asked import UserTurn
from voicespan.tracing.spans.generation import (
    FinishedTurn,
    Generation,
    llm_attributes,
    newest,
    outcome_of,
    says_something,
)
from voicespan.tracing.spans.response_gap import SynthesizedGap, gap_of_run, response_gap
from voicespan.tracing.spans.user_speech import UserSpeech

if TYPE_CHECKING:
    from collections.abc import Container

    from voicespan.content.policy import Content
    from voicespan.tracing.spans.barge_ins import BargeIn, BargeIns
    from voicespan.tracing.spans.playback import Playback
    from voicespan.tracing.spans.span_writer import SpanWriter
    from voicespan.tracing.spans.transcript import Entry, Transcript

#: How many finished turns may wait for a transcript: one that has not come by then is not coming.
_MOST_WAITING = 8
#: After how many more messages it is looked at how many there are.
_LOOK_EVERY = 50
#: How many generations may be under way.
_MOST_GENERATIONS = 32
#: Nanoseconds that an answer may be cut off later than its audio would have been played.
_PLAYS_LONGER = 1_000_000_000


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
    ) -> None:
        self._writer = writer
        self.figures = writer.counts.figures
        self._content = content
        self._barge_ins = barge_ins
        self._playback = playback
        self._transcript = transcript
        self._user_speech = UserSpeech(writer)
        self._inputs: tuple[Entry, ...] = ()
        self._generations: dict[str, Generation] = {}
        self._waiting: tuple[FinishedTurn, ...] = ()
        self._spoke_last: Generation | None = None
        #: What the next answer answers.
        self.user = UserTurn()
        #: The newest answer in writing.
        self._wrote = ""
        self._over: dict[str, None] = {}
        self._user_was_answered = False

    @property
    def is_unanswered(self) -> bool:
        """Whether the user had a turn, and not one of them was answered."""
        return self.figures.turns.count > 0 and not self._user_was_answered

    @property
    def generating(self) -> Container[str]:
        """The responses that are under way."""
        return self._generations

    def user_speaks(self, event: events.SpeechStarted) -> None:
        """The user begins to speak."""
        self._user_speech.started(event)
        self.user.spoke(event.at)
        self.figures.turns.spoke(event.at)
        self.user_acted()

    def user_stopped(self, event: events.SpeechStopped) -> None:
        """The user has stopped speaking."""
        self._user_speech.stopped(event)
        self.user.stopped(event, beside=bool(self._generations))

    def answered_in_words(self, began_at: int) -> None:
        """The agent spoke to the user from `began_at` on, with a service that has no responses."""
        self._user_was_answered = True
        turns = self.figures.turns
        turns.answer(turns.before(began_at))

    def give(self, entry: Entry) -> None:
        """`entry` is part of what the next generation is given."""
        if entry.given:
            return
        entry.given = True
        self._inputs += (entry,)
        if len(self._inputs) % _LOOK_EVERY == 0:
            self._inputs = newest(self._inputs)

    def begin(self, event: events.GenerationStarted) -> None:
        """The model begins to answer."""
        if event.response_id in self._generations:
            return
        inputs: tuple[Entry, ...] = ()
        if not event.out_of_band:
            inputs, self._inputs = newest(self._inputs), ()
        given = [
            {"role": role, "content": self._content.text(text, role=role, place="transcript") or ""}
            for role, text in event.inputs or ()
        ]
        generation = Generation(
            event.at,
            inputs,
            out_of_band=event.out_of_band,
            user_turn=0 if event.out_of_band else self.figures.turns.count,
            given=given if event.out_of_band else None,
            response_id=event.response_id,
            own_request=event.own_request,
        )
        if not event.out_of_band:
            self.user.answer_began(event)
            if event.speech_unmarked and not generation.user_turn:
                self.figures.turns.is_unknown = True
        put(self._generations, event.response_id, generation, _MOST_GENERATIONS)

    def speak(self, event: events.FirstAudio) -> None:
        """The first audio of an answer has been received."""
        generation = self._generations.get(event.response_id)
        if generation is not None:
            generation.first_audio_at, generation.beside = event.at, event.beside
            if not generation.out_of_band:
                generation.asked, generation.tool_ns = self.user.take(event.at)
                self._queue(generation)

    def synthesized(self, began_at: int, at: int) -> SynthesizedGap | None:
        """The first audio of an answer is there, of a model that speaks for one that only writes; None: there is none."""
        if not (self._over or self._generations):
            return None
        asked, tool_ns = self.user.take(at)
        if asked is None:
            return None
        spoken = Generation(at, (), asked, at, tool_ns)
        return SynthesizedGap(spoken, at - began_at)

    def wrote(self) -> str | None:
        """What the newest answer says; None: the model still writes, or nobody knows. Empty: there is none."""
        if any(generation.first_audio_at is None for generation in self._generations.values()):
            return None
        return self._wrote

    def _queue(self, generation: Generation) -> None:
        """Where only the loudspeaker is heard, an answer may wait behind the one that was received before it."""
        older, self._spoke_last = self._spoke_last, generation
        if older is not None and self._playback.sees_devices:
            self._find_heard(older)
            generation.behind, older.behind = older, None

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
            generation = Generation(event.at, (), user_turn=self.figures.turns.count)
        put(self._over, event.response_id, None)
        if not event.had_speech and event.text:
            self._wrote = event.text
        if event.status == "failed" and not generation.out_of_band:
            # Nobody has answered it: the retry does.
            self._inputs = (*generation.inputs, *self._inputs)
        outcome = outcome_of(event)
        if generation.user_turn and outcome not in ("failed", "rejected") and says_something(event):
            self._user_was_answered = True
            if event.had_speech or (event.text or "").strip():
                self.figures.turns.answer(generation.user_turn)
        if event.generated_ms is not None:
            generation.audio_ns = event.generated_ms * 1_000_000
        generation.cut = outcome == "cancelled"
        until = _played_by(generation, event)
        if until is not None and not generation.out_of_band:
            for turn in self._waiting:
                # The next answer is over: nobody cuts off the one before any more.
                turn.playing_until = None
        # As they are now: by the time that it is written both may be others.
        session = self._writer.sessions.of_generation(own_request=generation.own_request)
        provider = {**self._writer.provider, **session}
        turn = FinishedTurn(generation, event, calls, event.awaits_words, outcome, provider, until)
        self._waiting += (turn,)
        if not generation.out_of_band:
            self.user.answered_until(event.at if until is None else until)
        return None if generation.out_of_band else outcome

    def gap_of_run(self, event: events.TranscriptCompleted) -> dict[str, float | str]:
        """The response gap of words, with a service that has no responses."""
        gap = gap_of_run(event.answers, self._playback)
        self.figures.add_gap(gap)
        return gap

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

    def is_over_since(self, now: int) -> bool:
        """Whether one that was complete, and could still be cut off, was played to its end by `now`."""
        return bool(self._waiting) and any(
            turn.playing_until is not None and turn.playing_until <= now for turn in self._waiting
        )

    def write_ready(self, now: int, *, final: bool = False, everything: bool = False) -> None:
        """Write those that are complete; `final`: what was heard is known by now, or when a late recorder comes to it."""
        if not self._waiting:
            return
        still: list[FinishedTurn] = []
        surplus = len(self._waiting) - _MOST_WAITING
        for position, turn in enumerate(self._waiting):
            if everything or position < surplus or self._is_complete(turn, now, final=final):
                self._write(turn)
            else:
                still.append(turn)
        self._waiting = tuple(still)

    def _is_complete(self, turn: FinishedTurn, now: int, *, final: bool) -> bool:
        if any(entry.awaits_transcript for entry in turn.generation.inputs):
            return False
        cut = self._barge_ins.of(turn.ended.response_id)
        if cut is None and turn.playing_until is not None and turn.playing_until > now:
            # It can still be cut off, also when the next answer has begun.
            return False
        if not final and (turn.awaits_words or (cut is not None and cut.heard_ms is None)):
            return False
        # Received is not heard: a burst of audio is received long before its first sample is played.
        if (
            not self._playback.is_listening
            or turn.generation.asked is None
            or self._sounded_at(turn.generation, patient=True) is not None
        ):
            return True
        # To look through seconds of audio that a busy process has not come to would hold the application.
        return final and not self._playback.is_behind

    def _heard_at(self, generation: Generation, *, patient: bool = False) -> int | None:
        # The recorder looks through what it has, so it is not asked again, nor for what nobody will read.
        if generation.heard_at is None and generation.asked is not None:
            self._find_heard(generation, patient=patient)
        return generation.heard_at

    def _find_heard(self, generation: Generation, *, patient: bool = False) -> None:
        older, since = generation.behind, generation.first_audio_at
        if generation.heard_at is not None or since is None:
            return
        if older is not None and self._barge_ins.of(older.response_id) is not None:
            older.cut = True
        if older is None or older.cut:
            generation.heard_at = self._playback.first(since, patient=patient)
            return
        self._find_heard(older)
        if older.heard_at is not None and older.audio_ns is not None:
            generation.heard_at = self._playback.first_behind(older.heard_at, older.audio_ns, since)

    def _sounded_at(self, generation: Generation, *, patient: bool) -> int | None:
        """When it was heard, where that is known or estimated."""
        if generation.estimated_at is None and generation.asked is not None:
            generation.estimated_at = self._playback.estimated_first(
                generation.first_audio_at, patient=patient
            )
        heard_at = self._heard_at(generation, patient=patient)
        return generation.estimated_at if heard_at is None else heard_at

    def _write(self, turn: FinishedTurn) -> None:
        ended, generation = turn.ended, turn.generation
        cut = self._barge_ins.of(ended.response_id)
        self._note_what_was_heard(ended.response_id, generation)
        if ended.had_speech and not generation.out_of_band:
            self.figures.agent_words.heard(ended.response_id, ended.generated_ms)
        self._writer.write(
            events.TURN_COMPLETE,
            ended,
            started_at=ended.went_on_at or generation.started_at,
            kind="llm",
            prompt={"messages": generation.prompt},
            completion={"messages": [self._message(turn)]},
            facts=self._facts(turn, cut),
            error=self._content.error(ended.error),
            attributes={**turn.provider, **llm_attributes(ended)},
        )

    def _note_what_was_heard(self, response_id: str, generation: Generation) -> None:
        """What was said out of band is part of the talk only where the recorder knows that it was heard."""
        heard_at = self._playback.first(generation.first_audio_at) if generation.spoken else None
        if heard_at is None or generation.beside:
            return
        # What is heard after the next answer was received is that one.
        if self._barge_ins.answering_at(heard_at) == response_id:
            for entry, text in generation.spoken:
                self._transcript.write(entry, text)
                entry.note(out_of_band=True)
                self.figures.agent_words.add(text, response_id)
                self.figures.agent_words.heard(response_id, None)

    def _message(self, turn: FinishedTurn) -> dict[str, Any]:
        ended = turn.ended
        text = self._content.text(ended.text, role="assistant", place="transcript")
        message: dict[str, Any] = {"role": "assistant", "content": text or ""}
        if ended.thoughts is not None:
            message["reasoning"] = self._content.text(ended.thoughts, role="assistant", place="transcript")
        if turn.calls:
            message["tool_calls"] = turn.calls
        return message

    def _facts(self, turn: FinishedTurn, cut: BargeIn | None) -> dict[str, Any]:
        ended, generation = turn.ended, turn.generation
        self._sounded_at(generation, patient=False)
        gap = response_gap(generation, self._playback)
        self.figures.add_gap(gap)
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
            "latency_to_first_audio_heard_ms": generation.latency_ms(generation.heard_at),
            **gap,
            **ended.facts,
        }


def _played_by(generation: Generation, ended: events.GenerationEnded) -> int | None:
    """When an answer has certainly been played, if nothing was played before it; None: it has no audio."""
    if generation.first_audio_at is None or ended.generated_ms is None:
        return None
    return generation.first_audio_at + ended.generated_ms * 1_000_000 + _PLAYS_LONGER
