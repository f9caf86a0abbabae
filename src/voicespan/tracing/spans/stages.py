"""The spans of a cascade: each call of a speech-to-text, language or text-to-speech model is one.

A synthesis is ended later than it ends: when its first sound was heard is known half a second afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.protocol import events, stages
from voicespan.runtime.bounded import MOST, put
from voicespan.tracing.spans.stage_gap import StageGap
from voicespan.tracing.spans.stage_span import StageSpan, completion_of
from voicespan.tracing.spans.stage_tools import StageTools
from voicespan.tracing.spans.stage_words import StageWords

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Span

    from voicespan.content.policy import Content
    from voicespan.tracing.spans.barge_ins import BargeIns
    from voicespan.tracing.spans.function_calls import FunctionCalls
    from voicespan.tracing.spans.span_writer import SpanWriter
    from voicespan.tracing.spans.transcript import Transcript
    from voicespan.tracing.spans.turns import Turns
    from voicespan.tracing.spans.usage import Counters

#: Syntheses that wait until it is known when they were heard.
_MOST_WAITING = 4
#: Nanoseconds: what is stopped so shortly before the end is stopped by the hanging up.
_HANGING_UP = 500_000_000


class Stages:
    """Those of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self,
        writer: SpanWriter,
        content: Content,
        *,
        transcript: Transcript,
        counts: Counters,
        calls: FunctionCalls,
        turns: Turns,
        barge_ins: BargeIns,
    ) -> None:
        self._writer = writer
        self._content = content
        self._counts = counts
        self._turns = turns
        self._barge_ins = barge_ins
        self._playback = barge_ins.playback
        self.gap = StageGap()
        self._tools = StageTools(calls, transcript, content, counts, self.gap)
        self._words = StageWords(transcript, content, counts, turns)
        self._open: dict[str, StageSpan] = {}
        self._past: dict[str, Span | None] = {}
        #: Syntheses that are over, and of which it is not known yet when they were heard.
        self._waiting: list[tuple[StageSpan, stages.StageEnded]] = []
        #: Up to here what the user said has been transcribed: monotonic nanoseconds.
        self._transcribed_until = 0
        #: An answer was stopped; that was a barge-in if the user goes on.
        self._stopped: tuple[int, str] | None = None
        turns.figures.turns.forget_speech()
        # In a cascade nobody else says that the user cut in.
        barge_ins.trusts_cuts = True

    def record(self, event: events.Event) -> None:
        """Write what `event` means."""
        self._HANDLERS[type(event)](self, event)

    def span(self, key: object) -> Span | None:
        """The span of a call, open or past."""
        if not isinstance(key, str):
            return None
        found = self._open.get(key)
        return found.span if found is not None else self._past.get(key)

    def finish(self, at: int) -> None:
        """The conversation is over: what is still called is stopped by that."""
        if self._stopped is not None and at - self._stopped[0] > _HANGING_UP:
            self._user_went_on()
        for key, found in list(self._open.items()):
            self._ended(stages.StageEnded(at, found.started.stage, key, cancelled=True))
        self.write_ready(final=True)
        self._tools.finish()

    def write_ready(self, *, final: bool = False) -> None:
        """End the syntheses of which all is known; `final`: no more becomes known."""
        while self._waiting:
            found, ended = self._waiting[0]
            if not final and len(self._waiting) <= _MOST_WAITING and not self._is_known(found):
                return
            del self._waiting[0]
            self._end_synthesis(found, ended)

    # What happens.

    def _started(self, event: stages.StageStarted) -> None:
        if event.key in self._open:
            return
        if event.stage == "llm" and event.spoken:
            self._user_went_on()
        for call_id, name, output in self._words.results(event):
            self._tools.answer(call_id, name, output, event.at)
        if event.stage == "llm" and event.spoken:
            self._words.given(event)
        found = (
            StageSpan(event, None) if event.elsewhere else StageSpan.begin(self._writer, self._content, event)
        )
        if len(self._open) >= MOST:
            oldest = next(iter(self._open.values())).started
            self._ended(stages.StageEnded(event.at, oldest.stage, oldest.key, cancelled=True))
        self._open[event.key] = found
        if event.spoken:
            self.gap.began(event.stage, event.key, event.at)

    def _first_output(self, event: stages.StageFirstOutput) -> None:
        found = self._open.get(event.key)
        if found is None or found.first_at is not None:
            return
        found.first_at = event.at
        started = found.started
        if started.stage == "tts":
            self._audible(found, event.at, begins_answer=event.begins_answer)
        elif started.spoken:
            self._words.place(started)

    def _audible(self, found: StageSpan, at: int, *, begins_answer: bool) -> None:
        answer = found.started.answer or found.started.key
        self.gap.ended(found.started.key, at)
        if begins_answer:
            self._barge_ins.answer_began(answer, at)
            found.gap = self.gap.answered(at) or self._turns.synthesized(found.started.at, at)
        self._turns.answered_in_words(found.started.at)

    def _ended(self, event: stages.StageEnded) -> None:
        found = self._open.pop(event.key, None)
        if found is None:
            return
        put(self._past, event.key, found.span)
        self.gap.ended(event.key, event.at)
        self._ENDS[found.started.stage](self, found, event)

    def _transcribed(self, found: StageSpan, ended: stages.StageEnded) -> None:
        self._words.user_said(found.started, ended.text)
        if ended.text:
            self.gap.asked(ended.key, ended.at)
            self._turns.figures.turns.add("transcribed", ended.at, ended.key, found.started.at)
            self._turns.figures.user_words.add(ended.text)
            self._user_went_on()
            self.write_ready(final=True)
            place = self._playback.place_of_user(self._transcribed_until, ended.at)
            self._transcribed_until = ended.at
            if place is not None:
                found.place(*place)
        elif ended.error is not None and found.started.spoken:
            # Nobody knows what, but something was said.
            self._turns.figures.turns.add("transcribed", ended.at, ended.key, found.started.at)
        self._end(found, ended, completion_of(ended, self._content), {})

    def _answered(self, found: StageSpan, ended: stages.StageEnded) -> None:
        spoken = found.started.spoken
        entry, text = self._words.model_said(found.started, ended)
        message: dict[str, Any] = {"role": "assistant", "content": text or ""}
        if ended.calls:
            message["tool_calls"] = self._tools.announce(ended.calls, entry)
        outcome = _outcome(ended)
        if found.started.elsewhere and outcome == "empty":
            outcome = "completed"
        if spoken:
            self._counts.turns += 1
            self._counts.add_answer(outcome)
            if outcome in ("completed", "incomplete"):
                self._turns.answered_in_words(found.started.at)
        if ended.cancelled and spoken and self._barge_ins.is_audible(ended.key):
            self._stopped = (ended.at, ended.key)
        empty = ended.text is None and not ended.calls
        reason = (
            "tool_calls" if ended.calls else {"completed": "stop", "failed": "error"}.get(outcome, outcome)
        )
        found.finish(reason)
        self._end(
            found,
            ended,
            None if empty and outcome in ("failed", "cancelled") else {"messages": [message]},
            {"outcome": outcome},
        )

    def _synthesized(self, found: StageSpan, ended: stages.StageEnded) -> None:
        started = found.started
        if ended.text is not None:
            # It streamed in.
            started.text = ended.text
        answer = started.answer or started.key
        failed = ended.error is not None
        if found.first_at is None and not failed and (ended.seconds or not ended.cancelled):
            # Who synthesizes all of it at once has the first byte with the last.
            found.first_at = ended.at
            self._audible(found, ended.at, begins_answer=not self._barge_ins.is_audible(answer))
        self._words.agent_says(started, spoken=found.first_at is not None)
        if found.first_at is not None:
            length = None if ended.seconds is None else ended.seconds * 1000
            self._turns.figures.agent_words.add(started.text, answer)
            self._turns.figures.agent_words.heard(answer, length)
            self._barge_ins.spoken_in(answer, self._words.entry_of(started))
            self._barge_ins.answer_grew(
                answer, None if ended.seconds is None else round(ended.seconds * 1000)
            )
            if ended.cancelled:
                self._stopped = (ended.at, answer)
        self._waiting.append((found, ended))
        self.write_ready()

    def _user_went_on(self) -> None:
        """The user said something after an answer was stopped: that was a barge-in."""
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            at, answer = stopped
            generated_ms = self._barge_ins.generated_ms(answer)
            self._barge_ins.add_sign(
                events.Interrupted(at, "cancelled", answer, None, "cancelled", generated_ms=generated_ms)
            )

    def _tool_started(self, event: stages.ToolStarted) -> None:
        self._tools.started(event)

    def _tool_ended(self, event: stages.ToolEnded) -> None:
        self._tools.ended(event)

    # How a span ends.

    def _is_known(self, found: StageSpan) -> bool:
        return (
            found.gap is None
            or not self._playback.is_listening
            or self._playback.first(found.first_at, patient=True) is not None
        )

    def _end_synthesis(self, found: StageSpan, ended: stages.StageEnded) -> None:
        cut = self._barge_ins.of(found.started.answer or found.started.key)
        facts: dict[str, Any] = {
            "interrupted": True if cut is not None else None,
            "heard_ms": None if cut is None else cut.heard_ms,
        }
        if found.gap is not None:
            gap = found.gap.figures(self._playback)
            self._turns.figures.add_gap(gap)
            facts.update(gap)
        self._end(found, ended, completion_of(ended, self._content), facts)

    def _end(
        self, found: StageSpan, ended: stages.StageEnded, completion: Any, facts: Mapping[str, Any]
    ) -> None:
        usage = ended.usage or ended.counted_inside
        if usage is not None:
            self._counts.add(usage)
        found.end(self._writer, self._content, ended, completion, facts)

    _ENDS: ClassVar[dict[str, Callable[[Stages, StageSpan, stages.StageEnded], None]]] = {
        "stt": _transcribed,
        "llm": _answered,
        "tts": _synthesized,
    }
    _HANDLERS: ClassVar[dict[type[events.Event], Callable[[Stages, Any], None]]] = {
        stages.StageStarted: _started,
        stages.StageFirstOutput: _first_output,
        stages.StageEnded: _ended,
        stages.ToolStarted: _tool_started,
        stages.ToolEnded: _tool_ended,
    }


def _outcome(ended: stages.StageEnded) -> str:
    if ended.error is not None:
        return "failed"
    if ended.cancelled:
        return "cancelled"
    return "completed" if ended.calls or (ended.text or "").strip() else "empty"
