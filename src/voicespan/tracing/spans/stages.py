"""The spans of a cascade: each call of a speech-to-text, language or text-to-speech model is one.

A synthesis is ended later than it ends: when its first sound was heard is known half a second afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.protocol import events, stages
from voicespan.runtime.bounded import MOST, put
from voicespan.tracing import semconv
from voicespan.tracing.spans.stage_gap import StageGap
from voicespan.tracing.spans.stage_tools import StageTools
from voicespan.tracing.spans.stage_words import StageWords
from voicespan.tracing.spans.usage import usage_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.tracing.spans.barge_ins import BargeIns
    from voicespan.tracing.spans.function_calls import FunctionCalls
    from voicespan.tracing.spans.span_writer import SpanWriter
    from voicespan.tracing.spans.stage_gap import AnsweredGap
    from voicespan.tracing.spans.transcript import Transcript
    from voicespan.tracing.spans.turns import Turns
    from voicespan.tracing.spans.usage import Counters

#: Syntheses that wait until it is known when they were heard.
_MOST_WAITING = 4
#: Nanoseconds: what is stopped so shortly before the end is stopped by the hanging up.
_HANGING_UP = 500_000_000
#: OpenTelemetry's names for what is done, and for what comes of it.
_OPERATIONS = {"stt": "speech_to_text", "llm": "chat", "tts": "text_to_speech"}
_OUTPUT_TYPES = {"stt": "text", "llm": "text", "tts": "speech"}
_FIRST_OUTPUT = {
    "llm": "time_to_first_token_ms",
    "tts": "time_to_first_byte_ms",
}


@dataclass(slots=True)
class _Open:
    started: stages.StageStarted
    span: Span | None
    first_at: int | None = None
    gap: AnsweredGap | None = None


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
        self._open: dict[str, _Open] = {}
        self._past: dict[str, Span | None] = {}
        #: Syntheses that are over, and of which it is not known yet when they were heard.
        self._waiting: list[tuple[_Open, stages.StageEnded]] = []
        #: An answer was stopped; that was a barge-in if the user goes on.
        self._stopped: tuple[int, str] | None = None
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
        characters = len(event.text) if event.stage == "tts" and event.text is not None else None
        span = self._writer.begin(
            event.stage,
            event.event_type,
            event.at,
            kind="llm",
            prompt=self._words.prompt(event),
            facts={**event.facts, "characters": characters},
            attributes=_attributes(event),
            parent=event.parent,
        )
        if len(self._open) >= MOST:
            oldest = next(iter(self._open.values())).started
            self._ended(stages.StageEnded(event.at, oldest.stage, oldest.key, cancelled=True))
        self._open[event.key] = _Open(event, span)
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

    def _audible(self, found: _Open, at: int, *, begins_answer: bool) -> None:
        answer = found.started.answer or found.started.key
        self.gap.ended(found.started.key, at)
        if begins_answer:
            self._barge_ins.answer_began(answer, at)
            found.gap = self.gap.answered(at, self._playback)
        self._turns.answered_in_words()

    def _ended(self, event: stages.StageEnded) -> None:
        found = self._open.pop(event.key, None)
        if found is None:
            return
        put(self._past, event.key, found.span)
        self.gap.ended(event.key, event.at)
        self._ENDS[found.started.stage](self, found, event)

    def _transcribed(self, found: _Open, ended: stages.StageEnded) -> None:
        text = self._words.user_said(found.started, ended.text)
        if ended.text:
            self.gap.asked(ended.key, ended.at)
            self._turns.user_had_turn()
            self._user_went_on()
            self.write_ready(final=True)
        message = {"role": "user", "content": text or ""}
        completion = None if text is None else {"messages": [message]}
        self._end(found, ended, completion, {"audio_seconds": ended.seconds})

    def _answered(self, found: _Open, ended: stages.StageEnded) -> None:
        spoken = found.started.spoken
        entry, text = self._words.model_said(found.started, ended)
        message: dict[str, Any] = {"role": "assistant", "content": text or ""}
        if ended.calls:
            message["tool_calls"] = self._tools.announce(ended.calls, entry)
        outcome = _outcome(ended)
        if spoken:
            self._counts.turns += 1
            self._counts.add_answer(outcome)
            if outcome in ("completed", "incomplete"):
                self._turns.answered_in_words()
        if ended.cancelled and spoken and self._barge_ins.is_audible(ended.key):
            self._stopped = (ended.at, ended.key)
        empty = ended.text is None and not ended.calls
        reason = (
            "tool_calls" if ended.calls else {"completed": "stop", "failed": "error"}.get(outcome, outcome)
        )
        if found.span is not None:
            found.span.set_attribute(semconv.FINISH_REASONS, (reason,))
        self._end(
            found,
            ended,
            None if empty and outcome in ("failed", "cancelled") else {"messages": [message]},
            {"outcome": outcome},
        )

    def _synthesized(self, found: _Open, ended: stages.StageEnded) -> None:
        started = found.started
        if started.text is None:
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
            self._barge_ins.add_sign(events.Interrupted(at, "cancelled", answer, None, "cancelled"))

    def _tool_started(self, event: stages.ToolStarted) -> None:
        self._tools.started(event)

    def _tool_ended(self, event: stages.ToolEnded) -> None:
        self._tools.ended(event)

    # How a span ends.

    def _is_known(self, found: _Open) -> bool:
        return (
            found.gap is None
            or not self._playback.is_listening
            or self._playback.first(found.first_at, patient=True) is not None
        )

    def _end_synthesis(self, found: _Open, ended: stages.StageEnded) -> None:
        cut = self._barge_ins.of(found.started.answer or found.started.key)
        facts: dict[str, Any] = {
            "audio_seconds": ended.seconds,
            "interrupted": True if cut is not None else None,
            "heard_ms": None if cut is None else cut.heard_ms,
        }
        if found.gap is not None:
            facts.update(found.gap.figures(self._playback.first(found.first_at), self._playback))
        prompt = None
        if ended.text is not None:
            prompt = self._words.prompt(found.started)
            facts["characters"] = len(ended.text)
        completion = None if ended.seconds is None else {"audio": {"seconds": ended.seconds}}
        self._end(found, ended, completion, facts, prompt)

    def _end(
        self,
        found: _Open,
        ended: stages.StageEnded,
        completion: Any,
        facts: Mapping[str, Any],
        prompt: Any = None,
    ) -> None:
        if ended.usage is not None:
            self._counts.add(ended.usage)
        span, started = found.span, found.started
        if span is None:
            return
        if ended.model is not None:
            span.set_attribute(semconv.RESPONSE_MODEL, ended.model)
        if ended.usage is not None:
            span.set_attributes(usage_attributes(ended.usage))
        whole = {
            "status": "cancelled"
            if ended.cancelled
            else "failed"
            if ended.error is not None
            else "completed",
            **facts,
            **ended.facts,
        }
        if found.first_at is not None and started.stage in _FIRST_OUTPUT:
            whole[_FIRST_OUTPUT[started.stage]] = round((found.first_at - started.at) / 1e6, 3)
        self._writer.end(
            span,
            ended.at,
            error=self._content.error(ended.error),
            prompt=prompt,
            completion=completion,
            facts={name: fact for name, fact in whole.items() if fact is not None},
        )

    _ENDS: ClassVar[dict[str, Callable[[Stages, _Open, stages.StageEnded], None]]] = {
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


def _attributes(event: stages.StageStarted) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.OPERATION: _OPERATIONS[event.stage],
        semconv.OUTPUT_TYPE: _OUTPUT_TYPES[event.stage],
    }
    if event.model is not None:
        attributes[semconv.REQUEST_MODEL] = event.model
    if event.provider is not None:
        attributes[semconv.PROVIDER] = attributes[semconv.SYSTEM] = event.provider
    if event.stage != "llm":
        attributes[semconv.MESSAGE_VIEW_EXCLUDE] = True
    return attributes


def _outcome(ended: stages.StageEnded) -> str:
    if ended.error is not None:
        return "failed"
    if ended.cancelled:
        return "cancelled"
    return "completed" if ended.calls or (ended.text or "").strip() else "empty"
