"""Barge-ins: when the user cut the agent off, how much of the answer was heard, how fast it fell silent.

One barge-in has several signs, in any order: the playback was cleared, the item truncated, the response
cancelled, the recorder's playback stopped. The first sign makes it known, and the others only add to it. Its
span waits for how much was heard and for the agent's silence, and is written at the latest when the next generation
starts.

How long it took is told as it was heard: from the onset of the user's voice to the agent's last sound. Where nothing is
recorded of either it begins when the service saw that the user spoke, and ends when the playback was cleared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.protocol import events
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Container

    from voicespan.recording.cut import Cut
    from voicespan.tracing.spans.playback import Playback
    from voicespan.tracing.spans.span_writer import SpanWriter
    from voicespan.tracing.spans.transcript import Transcript
    from voicespan.tracing.spans.usage import Counters

#: How many may wait for how much was heard.
_MOST_WAITING = 8
#: And so many answers and beginnings of the user's speech, for a cut that is looked at half a second later.
_MOST_RECENT = 8
#: What is cut so shortly before the end is cut by the hanging up.
_HANGING_UP = 500_000_000
#: Nanoseconds. What the user said is what an application stopped the answer for, if it did so this soon.
_SHORTLY = 2_000_000_000
#: Nanoseconds of quiet after which the agent is silent, and not between two words.
_SILENCE = 300_000_000
#: Milliseconds. Closer than this to what the application says was heard, what it recorded was cut where it says.
_SAME = 300
#: Milliseconds that may be left of an answer that was heard to its end: times on the wire are rounded.
_ROUNDED = 1
#: Signs that come when the playback has stopped, so that the time to it can be measured.
_PLAYBACK_STOPPED = frozenset({"output_audio_buffer.cleared", "recorder"})


@dataclass(slots=True, eq=False)
class BargeIn:
    """One of them, as far as it is known."""

    event: events.Interrupted
    heard_ms: int | None
    generated_ms: int | None
    #: From the start of the user's speech to the end of the playback.
    barge_in_ms: float | None
    #: The message that was cut has figures of its own.
    in_item: bool = False
    #: The application told the recorder that the playback stopped.
    stopped: bool = False
    #: Who knows of the time to the silence.
    basis: str = "server"


@dataclass(slots=True)
class _Answer:
    """One that was spoken."""

    response_id: str
    began_at: int
    generated_ms: int | None = None
    over: bool = False


class BargeIns:
    """Those of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self, writer: SpanWriter, transcript: Transcript, counts: Counters, playback: Playback
    ) -> None:
        self._writer = writer
        self._transcript = transcript
        self._counts = counts
        self.playback = playback
        #: Who stops the playback says by that that the user cut in.
        self.trusts_cuts = False
        self._known: dict[str, BargeIn] = {}
        self._waiting: tuple[BargeIn, ...] = ()
        self._answers: tuple[_Answer, ...] = ()
        self._spoken: dict[str, str] = {}
        self._speech_starts: tuple[int, ...] = ()

    # What happened around them.

    def user_spoke(self, at: int) -> None:
        """The user began to speak."""
        self._speech_starts = (*self._speech_starts, at)[-_MOST_RECENT:]

    def answer_began(self, response_id: str, at: int) -> None:
        """The first audio of a response has been received."""
        self._answers = (*self._answers, _Answer(response_id, at))[-_MOST_RECENT:]

    def answering_at(self, at: int) -> str | None:
        """The response that was the newest one at that time."""
        return next((each.response_id for each in reversed(self._answers) if each.began_at <= at), None)

    def answer_ended(self, response_id: str, generated_ms: int | None) -> None:
        """All of a response has been generated."""
        cut = self._known.get(response_id)
        if cut is not None and generated_ms is not None:
            cut.generated_ms = generated_ms
        for answer in self._answers:
            if answer.response_id == response_id:
                answer.generated_ms, answer.over = generated_ms, True

    def answer_grew(self, response_id: str, generated_ms: int | None) -> None:
        """Another part of it, so long, has been generated."""
        for answer in self._answers:
            if answer.response_id == response_id:
                answer.over = True
                if generated_ms is not None:
                    answer.generated_ms = (answer.generated_ms or 0) + generated_ms

    def generated_ms(self, response_id: str) -> int | None:
        """How much of it has been generated, as far as it is known."""
        return next((each.generated_ms for each in self._answers if each.response_id == response_id), None)

    def is_audible(self, response_id: str) -> bool:
        """Whether audio of it has been received."""
        return any(answer.response_id == response_id for answer in self._answers)

    def spoken_in(self, response_id: str, item_id: str) -> None:
        """Which item of the transcript a response speaks."""
        put(self._spoken, response_id, item_id)

    # The barge-ins themselves.

    def of(self, response_id: str) -> BargeIn | None:
        """The one that cut this response off."""
        return self._known.get(response_id)

    def add_sign(self, event: events.Interrupted) -> None:
        """The wire gave a sign of one."""
        key = event.response_id or f"item {event.item_id}"
        cut = self._known.get(key)
        if event.if_heard and cut is None and not self._is_spoken_into(event.response_id, event.at):
            # A stop button, for example.
            return
        if cut is None:
            self._counts.interruptions += 1
            spoke_at = self._spoke_before(event.at) if event.cause in _PLAYBACK_STOPPED else None
            barge_in_ms = None if spoke_at is None else round((event.at - spoke_at) / 1e6, 3)
            cut = BargeIn(event, event.heard_ms, event.generated_ms, barge_in_ms)
            put(self._known, key, cut)
            self._waiting += (cut,)
        else:
            cut.heard_ms = event.heard_ms if cut.heard_ms is None else cut.heard_ms
            cut.generated_ms = event.generated_ms if event.generated_ms is not None else cut.generated_ms
        cut.stopped |= event.cause == "recorder"
        self._note_in_transcript(cut, event)

    def hear(self, now: int) -> bool:
        """See what the recorder says of the playback; whether there was a barge-in.

        If it was stopped, that is one if the user had begun to speak and there was more to hear, or if
        the wire itself gives a sign of one: not every service says when the user begins to speak.
        """
        heard = False
        while (found := self.playback.next_cut()) is not None:
            stopped_at, cut = found
            answer = next((each for each in reversed(self._answers) if each.began_at <= stopped_at), None)
            by_wire = answer is not None and answer.response_id in self._known
            if not by_wire and now - stopped_at < _HANGING_UP:
                # Looked at again later, unless this is the end.
                break
            self.playback.take_cut()
            spoke_at = self._spoke_before(stopped_at)
            spoken = answer is not None and (
                (spoke_at is not None and spoke_at >= answer.began_at)
                or self._is_spoken_into(answer.response_id, stopped_at)
            )
            spoken = spoken or self.trusts_cuts
            if answer is not None and (by_wire or spoken) and _left_something_unheard(answer, cut):
                self.add_sign(
                    events.Interrupted(
                        stopped_at,
                        "recorder.cut_agent",
                        answer.response_id,
                        None,
                        "recorder",
                        round(cut.heard_ms or 0),
                        answer.generated_ms,
                    )
                )
                heard = True
        return heard

    @property
    def awaits_silence(self) -> bool:
        """Whether one would be complete if the agent were silent."""
        return bool(self._waiting) and any(cut.heard_ms is not None for cut in self._waiting)

    def write_ready(self, now: int, generating: Container[str], *, final: bool) -> None:
        """Write those that are complete; with `final`, all.

        `generating`: the responses that are not over, so that how much was generated is not known.
        """
        surplus = len(self._waiting) - _MOST_WAITING
        for position, cut in enumerate(self._waiting):
            complete = cut.heard_ms is not None and cut.event.response_id not in generating
            complete = complete and (cut.stopped or self._is_silent(now))
            # Whoever hears of one that is written may have had the others written.
            if (final or complete or position < surplus) and cut in self._waiting:
                self._waiting = tuple(other for other in self._waiting if other is not cut)
                self._listen_to(cut)
                self._write(cut)

    def _spoke_before(self, at: int) -> int | None:
        """When the user last began to speak before `at`."""
        return next((start for start in reversed(self._speech_starts) if start <= at), None)

    def _is_silent(self, now: int) -> bool:
        """Whether the agent is not heard any more, or nobody knows."""
        if not self.playback.hears:
            return True
        if self.playback.is_behind:
            return False
        last = self.playback.last(now)
        return last is None or now - last >= _SILENCE

    def _is_spoken_into(self, response_id: str | None, at: int) -> bool:
        """Whether the recording has the user's voice where this answer was heard, shortly before `at`."""
        answer = next((each for each in self._answers if each.response_id == response_id), None)
        if answer is None or not self.playback.hears or self.playback.is_behind:
            return False
        first = self.playback.first(answer.began_at)
        spoke_at = self.playback.user_speech_began_before(at)
        if first is None or spoke_at is None or not first <= spoke_at <= at:
            return False
        ended_at = self.playback.user_speech_ended_before(at)
        return ended_at is None or at - ended_at <= _SHORTLY

    def _note_in_transcript(self, cut: BargeIn, event: events.Interrupted) -> None:
        entry = self._transcript.find(event.item_id or self._spoken.get(event.response_id or "") or "")
        if entry is None:
            return
        entry.note(interrupted=True)
        if event.item_heard_ms is not None:
            cut.in_item = True
            entry.note(heard_ms=event.item_heard_ms, generated_ms=event.item_generated_ms)
        elif not cut.in_item:
            # Of an answer of one message, what is known of the answer.
            if cut.heard_ms is not None:
                entry.note(heard_ms=cut.heard_ms)
            if cut.generated_ms is not None:
                entry.note(generated_ms=cut.generated_ms)

    def _listen_to(self, cut: BargeIn) -> None:
        """How much came out of the loudspeaker, where a device shows that, and how long after the user's voice."""
        answer = next((each for each in self._answers if each.response_id == cut.event.response_id), None)
        if answer is None or not self.playback.hears:
            return
        until = next((each.began_at for each in self._answers if each.began_at > answer.began_at), None)
        first = self.playback.first(answer.began_at)
        # An application that drops its queue and plays zeros cuts nothing that could be seen. It is heard.
        heard = self.playback.milliseconds(first, until)
        if cut.heard_ms is None and self.playback.sees_devices:
            cut.heard_ms = heard if cut.generated_ms is None else min(heard, cut.generated_ms)
            self._note_in_transcript(cut, cut.event)
        silent_at = self.playback.last(until)
        if first is None or silent_at is None or not self._was_cut_in_recording(cut, heard):
            return
        spoke_at, basis = self._onset(cut, first, silent_at)
        if spoke_at is not None and first <= spoke_at <= silent_at:
            cut.barge_in_ms = round((silent_at - spoke_at) / 1e6, 3)
            cut.basis = basis

    def _was_cut_in_recording(self, cut: BargeIn, heard_ms: int) -> bool:
        """Whether the recording ends where the playback did: an application may hand over what nobody hears."""
        if cut.stopped or self.playback.sees_devices:
            return True
        if cut.heard_ms is not None:
            return abs(cut.heard_ms - heard_ms) <= _SAME
        return cut.generated_ms is not None and heard_ms < cut.generated_ms - _SAME

    def _onset(self, cut: BargeIn, first: int, silent_at: int) -> tuple[int | None, str]:
        """When the user's voice began that cut the agent off, whose answer was heard from `first` on; and who knows."""
        seen_at = self._spoke_before(silent_at)
        if seen_at is not None and seen_at < first:
            seen_at = None
        # The service sees it later than it is heard, and not every service says so.
        recorded = self.playback.user_speech_began_before(
            max(cut.event.at, silent_at) if seen_at is None else seen_at
        )
        return (seen_at, "server") if recorded is None else (recorded, self.playback.basis)

    def _write(self, cut: BargeIn) -> None:
        figures = self._counts.figures
        figures.add_barge_in(cut.barge_in_ms)
        figures.agent_words.cut(cut.event.response_id or "", cut.heard_ms)
        facts = {
            "cause": cut.event.cause,
            "heard_ms": cut.heard_ms,
            "generated_ms": cut.generated_ms,
            "barge_in_ms": cut.barge_in_ms,
            "barge_in_basis": None if cut.barge_in_ms is None else cut.basis,
        }
        self._writer.write(
            events.INTERRUPTED,
            cut.event,
            completion={name: fact for name, fact in facts.items() if fact is not None},
            facts={"response_id": cut.event.response_id, "item_id": cut.event.item_id, **facts},
        )


def _left_something_unheard(answer: _Answer, cut: Cut) -> bool:
    """Whether the user missed something: a cut after the end of an answer is no barge-in."""
    generated_ms = answer.generated_ms
    unheard = generated_ms is not None and (cut.heard_ms or 0) < generated_ms - _ROUNDED
    return bool(cut.unheard_ms) or not answer.over or unheard
