"""Moments become spans: one child of the root for each meaningful event, none that did not happen.

Three spans wait before they are written, because what they tell arrives later than their end:

- a function call is open from the request to the answer;
- a `turn_complete` waits for the transcript of what the user said before it (it often comes in the middle
  of the answer, or in the next turn), and, when it was cut off, for how much of it was heard;
- an `interrupted` waits for how much was heard, when its first sign did not tell.

Whatever waits is written with the times at which it happened, at the latest when the conversation ends.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.trace import SpanKind, Status, StatusCode

from voicespan import moments, semconv, settings
from voicespan.content import encode, metadata
from voicespan.moments import Level, LocalId, WireError
from voicespan.transcript import Entry, Transcript
from voicespan.usage import Counts, usage_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from voicespan.content import Content
    from voicespan.recorded import ConversationRecorder

#: The SDK drops the oldest attributes past its limit (128), and those are the ones that name the span.
_MOST_ATTRIBUTES = 60
#: How many finished turns may wait for a transcript: one that has not come by then is not coming.
_MOST_WAITING_TURNS = 8
#: How many messages may come before the model says something to them.
_MOST_INPUTS = 1_000
#: How many ids of calls and barge-ins are remembered after their end.
_MOST_REMEMBERED = 256
#: And so many answers and beginnings of the user's speech, for a cut that is looked at half a second later.
_MOST_RECENT = 8
#: What is cut so shortly before the end is cut by the hanging up.
_HANGING_UP = 500_000_000
_NEVER_ANSWERED = WireError("never_answered", "the conversation ended before this call was answered")
_CANCELLED = WireError("cancelled", "the model no longer wanted the answer")


@dataclass(slots=True)
class _Call:
    span: Span | None
    name: str
    #: As it stands in the messages.
    message: dict[str, Any]


@dataclass(slots=True, eq=False)
class _Cut:
    """One barge-in, as far as it is known."""

    moment: moments.Interrupted
    heard_ms: int | None
    generated_ms: int | None
    barge_in_ms: float | None


@dataclass(slots=True)
class _Generation:
    started_at: int
    inputs: list[Entry]
    #: The end of the user's speech that it answers, and its first audio, as received.
    asked_at: int | None = None
    first_audio_at: int | None = None

    def latency_ms(self, at: int | None) -> float | None:
        """From the end of the user's speech to `at`."""
        return None if at is None or self.asked_at is None else round((at - self.asked_at) / 1e6, 3)


@dataclass(slots=True)
class _Answer:
    """One that was spoken."""

    response_id: str
    began_at: int
    generated_ms: int | None = None
    over: bool = False


@dataclass(slots=True)
class _Turn:
    """A generation that has ended and is not written yet."""

    generation: _Generation
    ended: moments.GenerationEnded
    calls: list[dict[str, Any]] = field(default_factory=list)


class Spans:
    """Writes the spans of one conversation. Not thread-safe: the conversation's lock is held."""

    def __init__(
        self,
        tracer: Tracer,
        context: Context,
        content: Content,
        config: settings.Settings,
        *,
        common: Mapping[str, AttributeValue],
        provider: Callable[[], Mapping[str, AttributeValue]],
        wall: Callable[[int], int],
        on_current: Callable[[Span | None], None],
    ) -> None:
        """`context`: the root is current in it.

        `common` stands on every span, `provider` gives the model's facts for llm spans, `wall` maps
        monotonic nanoseconds to the wall clock, `on_current` hears which function call is current.
        """
        self._tracer = tracer
        self._context = context
        self._content = content
        self._config = config
        self._common = common
        self._provider = provider
        self._wall = wall
        self._on_current = on_current
        self._value_limit = value_limit(tracer)
        self.transcript = Transcript(settings.ROOT_TRANSCRIPT_CHARACTERS)
        self.counts = Counts()
        self._written = 0
        self._frame: Any = None
        self._calls: dict[str, _Call] = {}
        self._past_calls: OrderedDict[str, _Call] = OrderedDict()
        self._new_inputs: list[Entry] = []
        self._generations: OrderedDict[str, _Generation] = OrderedDict()
        self._waiting: list[_Turn] = []
        self._cuts: OrderedDict[str, _Cut] = OrderedDict()
        self._untold_cuts: list[_Cut] = []
        #: Hears what is played, once there is one.
        self.recorder: ConversationRecorder | None = None
        self._answers: deque[_Answer] = deque(maxlen=_MOST_RECENT)
        self._spoken: OrderedDict[str, str] = OrderedDict()
        self._speech_starts: deque[int] = deque(maxlen=_MOST_RECENT)
        self._speech_ended_at: int | None = None

    def record(self, moment: moments.Moment, frame: Any = None) -> None:
        """Write what `moment` tells. `frame`: the frame that told it, for VOICESPAN_RAW_EVENTS."""
        self._frame = frame
        if self.recorder is not None and self.recorder.cuts:
            self._take_cuts(moment.at)
        self._HANDLERS[type(moment)](self, moment)

    def call_span(self, call_id: str) -> Span | None:
        """The span of a function call, open or past."""
        call = self._calls.get(call_id) or self._past_calls.get(call_id)
        return None if call is None else call.span

    def open_calls(self) -> dict[str, tuple[str, Span]]:
        """Name and span of every function call that waits for its answer, by call id."""
        return {
            call_id: (call.name, call.span) for call_id, call in self._calls.items() if call.span is not None
        }

    def finish(self, at: int) -> None:
        """Write everything that waits; the conversation is over."""
        self._frame = None
        if self.recorder is not None:
            self._take_cuts(at)
        for call_id in list(self._calls):
            self._end_call(call_id, at, _NEVER_ANSWERED)
        self._settle(everything=True)

    # One method for each moment.

    def _speech_started(self, moment: moments.SpeechStarted) -> None:
        self._speech_starts.append(moment.at)
        self._speech_ended_at = None
        self._settle()

    def _speech_stopped(self, moment: moments.SpeechStopped) -> None:
        self._speech_ended_at = moment.at

    def _placed(self, moment: moments.Placed) -> None:
        entry = self.transcript.place(moment.item_id, moment.role, moment.after)
        if moment.awaits_transcript and entry.text is None:
            entry.awaits_transcript = True
        if moment.given and moment.role != "assistant":
            self._give(entry)

    def _wrote(self, moment: moments.Written) -> None:
        entry = self.transcript.place(moment.item_id, moment.role, moment.after)
        text = self._content.text(moment.text, role=moment.role, place="transcript")
        self.transcript.write(entry, text if moment.text else None)
        if moment.seeded and moment.role == "assistant":
            entry.facts["source"] = "application"
        if moment.seeded or moment.role != "assistant":
            self._give(entry)

    def _give(self, entry: Entry) -> None:
        """`entry` is part of the next generation's input."""
        if not entry.given:
            entry.given = True
            self._new_inputs.append(entry)
            if len(self._new_inputs) > _MOST_INPUTS:
                del self._new_inputs[: _MOST_INPUTS // 2]

    def _withdrawn(self, moment: moments.Withdrawn) -> None:
        entry = self.transcript.find(moment.item_id)
        if entry is not None and not entry.given:
            self.transcript.remove(moment.item_id)

    def _transcribed(self, moment: moments.Transcribed) -> None:
        text = self._content.text(moment.text, role=moment.role, place="transcript")
        entry = self.transcript.place(moment.item_id, moment.role)
        if moment.role == "user":
            self._give(entry)
        if moment.role == "assistant" and moment.response_id:
            self._spoken[moment.response_id] = moment.item_id
            if len(self._spoken) > _MOST_REMEMBERED:
                self._spoken.popitem(last=False)
        # Silence that was transcribed is no message.
        self.transcript.write(
            entry, text if moment.text else None, part=moment.facts.get("content_index") or 0
        )
        facts = {"item_id": moment.item_id, "response_id": moment.response_id, **moment.facts}
        user = moment.role == "user"
        message = {"role": moment.role, "content": text or ""}
        self._point_or_stretch(
            moments.INPUT_TRANSCRIPTION if user else moments.OUTPUT_TRANSCRIPTION,
            moment,
            started_at=moment.started_at,
            prompt={"messages": [message]} if user and text is not None else None,
            completion={"messages": [message]} if not user and text is not None else None,
            facts=facts,
            error=moment.error,
        )
        self._settle()

    def _function_called(self, moment: moments.FunctionCalled) -> None:
        self.counts.function_calls += 1
        arguments = self._content.text(moment.arguments, role="assistant", place="arguments") or ""
        entry = self.transcript.place(moment.item_id or moment.call_id, "assistant")
        message = _tool_call(moment.call_id, moment.name, arguments)
        self.transcript.call(entry, message)
        attributes: dict[str, AttributeValue] = {
            semconv.OPERATION: "execute_tool",
            semconv.TOOL_NAME: moment.name,
            semconv.TOOL_TYPE: "function",
        }
        if not isinstance(moment.call_id, LocalId):
            attributes[semconv.TOOL_CALL_ID] = moment.call_id
        span = self._start(
            f"{moments.FUNCTION_CALL}: {moment.name}",
            moment.event_type,
            moment.at,
            kind="tool",
            prompt=_json_or_text(arguments),
            facts={
                "call_id": moment.call_id,
                "item_id": moment.item_id,
                "response_id": moment.response_id,
                **moment.facts,
            },
            attributes=attributes,
        )
        self._calls[moment.call_id] = _Call(span, moment.name, message)
        if len(self._calls) > _MOST_REMEMBERED:
            self._end_call(next(iter(self._calls)), moment.at, _NEVER_ANSWERED)
        self._tell_current()

    def _function_answered(self, moment: moments.FunctionAnswered) -> None:
        if isinstance(moment.call_id, LocalId) and moment.call_id not in self._calls:
            # Without ids a call of an earlier connection is known by its name alone.
            named = (call_id for call_id, call in self._calls.items() if call.name == moment.name)
            moment = replace(moment, call_id=next(named, moment.call_id))
        output = self._content.text(moment.output, role="tool", place="result") or ""
        call = self._calls.get(moment.call_id) or self._past_calls.get(moment.call_id)
        name = moment.name or (call.name if call is not None else None)
        if not moment.more:
            self._end_call(moment.call_id, moment.at, None, output)
        entry = self.transcript.place(moment.item_id or f"answer {moment.call_id}", "tool")
        entry.tool_call_id, entry.name = moment.call_id, name
        self.transcript.write(entry, output)
        generation = self._generations.get(moment.response_id or "")
        if generation is not None and not entry.given:
            entry.given = True
            generation.inputs.append(entry)
        else:
            self._give(entry)
        self._point_or_stretch(
            moments.FUNCTION_RESPONSE if name is None else f"{moments.FUNCTION_RESPONSE}: {name}",
            moment,
            prompt={"messages": [entry.message()]},
            facts={"call_id": moment.call_id, "item_id": moment.item_id, **moment.facts},
        )

    def _function_cancelled(self, moment: moments.FunctionCancelled) -> None:
        self._end_call(moment.call_id, moment.at, _CANCELLED)

    def _generation_started(self, moment: moments.GenerationStarted) -> None:
        # How much of an earlier answer was heard is told by now, or never.
        self._settle(heard_is_final=True)
        if moment.response_id in self._generations:
            return
        inputs: list[Entry] = []
        if not moment.out_of_band:
            inputs, self._new_inputs = self._new_inputs, []
        self._generations[moment.response_id] = _Generation(moment.at, inputs)
        if len(self._generations) > _MOST_REMEMBERED:
            self._generations.popitem(last=False)

    def _first_audio(self, moment: moments.FirstAudio) -> None:
        self._answers.append(_Answer(moment.response_id, moment.at))
        if self.recorder is not None:
            self.recorder.mark_answer()
        generation = self._generations.get(moment.response_id)
        if generation is not None:
            generation.first_audio_at = moment.at
            generation.asked_at, self._speech_ended_at = self._speech_ended_at, None

    def _generation_ended(self, moment: moments.GenerationEnded) -> None:
        generation = self._generations.pop(moment.response_id, None) or _Generation(moment.at, [])
        self.counts.turns += 1
        if moment.usage is not None:
            self.counts.add(moment.usage)
        cut = self._cuts.get(moment.response_id)
        if cut is not None and moment.generated_ms is not None:
            cut.generated_ms = moment.generated_ms
        for answer in self._answers:
            if answer.response_id == moment.response_id:
                answer.generated_ms, answer.over = moment.generated_ms, True
        calls = (self._calls.get(call_id) or self._past_calls.get(call_id) for call_id in moment.call_ids)
        self._waiting.append(_Turn(generation, moment, [call.message for call in calls if call is not None]))
        self._settle()

    def _usage_reported(self, moment: moments.UsageReported) -> None:
        self.counts.add(moment.usage)

    def _interrupted(self, moment: moments.Interrupted) -> None:
        key = moment.response_id or f"item {moment.item_id}"
        cut = self._cuts.get(key)
        if cut is None:
            self.counts.interruptions += 1
            spoke_at = self._spoke_before(moment.at) if moment.cause in _PLAYBACK_STOPPED else None
            barge_in_ms = None if spoke_at is None else round((moment.at - spoke_at) / 1e6, 3)
            cut = self._cuts[key] = _Cut(moment, moment.heard_ms, moment.generated_ms, barge_in_ms)
            self._untold_cuts.append(cut)
            if len(self._cuts) > _MOST_REMEMBERED:
                self._cuts.popitem(last=False)
        else:
            cut.heard_ms = moment.heard_ms if cut.heard_ms is None else cut.heard_ms
            cut.generated_ms = moment.generated_ms if moment.generated_ms is not None else cut.generated_ms
        self._note_in_transcript(cut, moment)
        self._settle()

    def _note_in_transcript(self, cut: _Cut, moment: moments.Interrupted) -> None:
        entry = self.transcript.find(moment.item_id or self._spoken.get(moment.response_id or "") or "")
        if entry is not None:
            entry.facts["interrupted"] = True
            entry.facts.update(
                {
                    name: milliseconds
                    for name, milliseconds in (("heard_ms", cut.heard_ms), ("generated_ms", cut.generated_ms))
                    if milliseconds is not None
                }
            )

    def _connection_opened(self, moment: moments.ConnectionOpened) -> None:
        self._point_or_stretch(moments.CONNECTION_OPENED, moment, facts=moment.facts)

    def _connection_closed(self, moment: moments.ConnectionClosed) -> None:
        self._point_or_stretch(moments.CONNECTION_CLOSED, moment, facts=moment.facts)

    def _error_reported(self, moment: moments.ErrorReported) -> None:
        self.counts.errors += 1
        text = self._content.text(moment.error.message, role="system", place="error") or ""
        self._point_or_stretch(
            moments.ERROR,
            moment,
            completion={"type": moment.error.type, "message": text},
            facts=moment.facts,
            error=moment.error,
        )

    def _wire_event(self, moment: moments.WireEvent) -> None:
        if moment.level > self._config.events:
            return
        payload = self._content.frame(moment.payload, role="user" if moment.from_client else "assistant")
        self._point_or_stretch(
            moment.event_type,
            moment,
            prompt=payload if moment.from_client else None,
            completion=None if moment.from_client else payload,
            error=moment.error,
            essential=moment.level == Level.ESSENTIAL,
            raw=False,
        )

    def _take_cuts(self, now: int) -> None:
        """Playback was stopped: a barge-in, if the user had begun to speak and there was more to hear.

        Or if the wire itself tells of one: not every service tells when the user begins to speak.
        """
        cuts = self.recorder.cuts if self.recorder is not None else ()
        while cuts and (at := cuts[0].at) is not None:
            stopped_at = round(at * 1e9)
            answer = next((each for each in reversed(self._answers) if each.began_at <= stopped_at), None)
            by_wire = answer is not None and answer.response_id in self._cuts
            if not by_wire and now - stopped_at < _HANGING_UP:
                # Told again later, unless this is the end.
                return
            cut = cuts.popleft()
            spoke_at = self._spoke_before(stopped_at)
            spoken = answer is not None and spoke_at is not None and spoke_at >= answer.began_at
            if answer is None or not (by_wire or spoken):
                continue
            heard_ms, generated = cut.heard_ms or 0, answer.generated_ms
            if cut.unheard_ms or not answer.over or (generated is not None and heard_ms < generated - 1):
                told = (
                    stopped_at,
                    "recorder.cut_agent",
                    answer.response_id,
                    None,
                    "recorder",
                    round(heard_ms),
                )
                self._interrupted(moments.Interrupted(*told, generated))

    def _spoke_before(self, at: int) -> int | None:
        """When the user last began to speak before `at`."""
        return next((start for start in reversed(self._speech_starts) if start <= at), None)

    # What waits.

    def _settle(self, *, heard_is_final: bool = False, everything: bool = False) -> None:
        """Write what waited and is complete now, or will not become more complete."""
        final = heard_is_final or everything
        surplus = len(self._untold_cuts) - _MOST_WAITING_TURNS
        for position, cut in enumerate(list(self._untold_cuts)):
            # What was generated is known when the generation is over.
            told = cut.heard_ms is not None and cut.moment.response_id not in self._generations
            if final or told or position < surplus:
                self._untold_cuts.remove(cut)
                self._listen_to(cut)
                self._write_cut(cut)
        if not self._waiting:
            return
        still: list[_Turn] = []
        surplus = len(self._waiting) - _MOST_WAITING_TURNS
        for position, turn in enumerate(self._waiting):
            if everything or position < surplus or self._is_complete(turn, final=final):
                self._write_turn(turn)
            else:
                still.append(turn)
        self._waiting = still

    def _is_complete(self, turn: _Turn, *, final: bool) -> bool:
        if any(entry.awaits_transcript for entry in turn.generation.inputs):
            return False
        if final:
            return True
        cut = self._cuts.get(turn.ended.response_id)
        if cut is not None and cut.heard_ms is None:
            return False
        # Received is not heard: a burst of audio is received long before its first sample is played.
        return not self._is_listening or turn.generation.asked_at is None or self._heard_at(turn) is not None

    @property
    def _is_listening(self) -> bool:
        return self.recorder is not None and self.recorder.status == "recording"

    def _heard_at(self, turn: _Turn) -> int | None:
        """When the first audio of a turn came out of the speaker, where the recorder knows."""
        received_at = turn.generation.first_audio_at
        if self.recorder is None or received_at is None:
            return None
        heard_at = self.recorder.first_heard(received_at / 1e9)
        return None if heard_at is None else round(heard_at * 1e9)

    def _listen_to(self, cut: _Cut) -> None:
        """How much came out of the loudspeaker, and when it fell silent, where a device tells that.

        An application that drops its queue and plays zeros cuts nothing that could be seen. It is heard.
        """
        recorder, response_id = self.recorder, cut.moment.response_id
        answer = next((each for each in self._answers if each.response_id == response_id), None)
        if recorder is None or recorder.source != "devices" or answer is None:
            return
        following = next((each.began_at for each in self._answers if each.began_at > answer.began_at), None)
        until = None if following is None else following / 1e9
        first = recorder.first_heard(answer.began_at / 1e9)
        last = recorder.last_heard(until)
        if cut.heard_ms is None:
            heard = 0 if first is None else round(recorder.heard_ms(first, until))
            cut.heard_ms = heard if cut.generated_ms is None else min(heard, cut.generated_ms)
            self._note_in_transcript(cut, cut.moment)
        if cut.barge_in_ms is None and first is not None and last is not None:
            spoke_at = self._spoke_before(round(last * 1e9))
            if spoke_at is not None and spoke_at >= answer.began_at:
                cut.barge_in_ms = round(last * 1e3 - spoke_at / 1e6, 3)

    def _write_cut(self, cut: _Cut) -> None:
        facts = {
            "cause": cut.moment.cause,
            "heard_ms": cut.heard_ms,
            "generated_ms": cut.generated_ms,
            "barge_in_ms": cut.barge_in_ms,
        }
        self._point_or_stretch(
            moments.INTERRUPTED,
            cut.moment,
            completion={name: fact for name, fact in facts.items() if fact is not None},
            facts={"response_id": cut.moment.response_id, "item_id": cut.moment.item_id, **facts},
        )

    def _write_turn(self, turn: _Turn) -> None:
        ended, generation = turn.ended, turn.generation
        cut = self._cuts.get(ended.response_id)
        output: dict[str, Any] = {
            "role": "assistant",
            "content": self._content.text(ended.text, role="assistant", place="transcript") or "",
        }
        if ended.thoughts is not None:
            output["reasoning"] = self._content.text(ended.thoughts, role="assistant", place="transcript")
        if turn.calls:
            output["tool_calls"] = turn.calls
        facts = {
            "response_id": ended.response_id or None,
            "status": ended.status,
            "reason": ended.reason,
            "interrupted": True if cut is not None else None,
            "generated_ms": ended.generated_ms,
            "heard_ms": cut.heard_ms if cut is not None else None,
            "latency_to_first_audio_ms": generation.latency_ms(generation.first_audio_at),
            "latency_to_first_audio_heard_ms": generation.latency_ms(self._heard_at(turn)),
            **ended.facts,
        }
        self._point_or_stretch(
            moments.TURN_COMPLETE,
            ended,
            started_at=generation.started_at,
            kind="llm",
            prompt={"messages": [entry.message() for entry in generation.inputs if entry.has_content]},
            completion={"messages": [output]},
            facts=facts,
            error=ended.error,
            attributes={**self._provider(), **_turn_attributes(ended)},
        )

    # Function calls.

    def _end_call(self, call_id: str, at: int, error: WireError | None, output: str | None = None) -> None:
        call = self._calls.pop(call_id, None)
        if call is None:
            return
        self._past_calls[call_id] = call
        if len(self._past_calls) > _MOST_REMEMBERED:
            self._past_calls.popitem(last=False)
        if call.span is not None:
            if output is not None:
                call.span.set_attribute(
                    semconv.COMPLETION,
                    encode(
                        _json_or_text(output), min(settings.CHILD_SPAN_BYTES // 2 - 4_000, self._value_limit)
                    ),
                )
            if error is not None:
                mark_error(call.span, error, self._wall(at))
            call.span.end(self._wall(at))
        self._tell_current()

    def _tell_current(self) -> None:
        only = next(iter(self._calls.values())).span if len(self._calls) == 1 else None
        self._on_current(only)

    # Spans.

    def _point_or_stretch(
        self,
        name: str,
        moment: moments.Moment,
        *,
        started_at: int | None = None,
        kind: str = "chain",
        prompt: Any = None,
        completion: Any = None,
        facts: Mapping[str, Any] | None = None,
        error: WireError | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        essential: bool = True,
        raw: bool = True,
    ) -> None:
        """A span that is over when it is written: from `started_at`, or from the moment itself, to the moment."""
        span = self._start(
            name,
            moment.event_type,
            moment.at if started_at is None else started_at,
            kind=kind,
            prompt=prompt,
            completion=completion,
            facts=facts,
            attributes=attributes,
            essential=essential,
            raw=raw,
        )
        if span is None:
            return
        if error is not None:
            text = self._content.text(error.message, role="system", place="error") or error.type
            mark_error(span, WireError(error.type, text), self._wall(moment.at))
        span.end(self._wall(moment.at))

    def _start(
        self,
        name: str,
        event_type: str,
        at: int,
        *,
        kind: str,
        prompt: Any = None,
        completion: Any = None,
        facts: Mapping[str, Any] | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        essential: bool = True,
        raw: bool = True,
    ) -> Span | None:
        if self._written >= (settings.SPAN_LIMIT if essential else settings.SPAN_BUDGET):
            self.counts.dropped_spans += 1
            return None
        self._written += 1
        whole: dict[str, AttributeValue] = {
            **self._common,
            semconv.SPAN_KIND: kind,
            semconv.EVENT_TYPE: event_type,
        }
        if attributes:
            whole.update(attributes)
        if facts:
            told = {key: fact for key, fact in facts.items() if not isinstance(fact, LocalId)}
            room = max(_MOST_ATTRIBUTES - len(whole) - 3, 0)
            for key, value in list(metadata(told, self._value_limit).items())[:room]:
                whole[semconv.METADATA + key] = value
        self._add_content(whole, prompt, completion, self._frame if raw and self._config.raw_events else None)
        return self._tracer.start_span(
            name,
            context=self._context,
            kind=SpanKind.CLIENT if kind == "llm" else SpanKind.INTERNAL,
            attributes=whole,
            start_time=self._wall(at),
        )

    def _add_content(
        self, whole: dict[str, AttributeValue], prompt: Any, completion: Any, frame: Any
    ) -> None:
        """Share what is left of the span's bytes among its contents."""
        contents = {
            semconv.PROMPT: prompt,
            semconv.COMPLETION: completion,
            semconv.RAW_EVENT: None if frame is None else self._content.frame(frame, role="assistant"),
        }
        present = {key: value for key, value in contents.items() if value is not None}
        if not present:
            return
        used = sum(len(key) + len(str(value)) for key, value in whole.items())
        # A function call still gets its result: half of the room is kept for it.
        shares = max(len(present), 2 if whole[semconv.SPAN_KIND] == "tool" else 1)
        share = max((settings.CHILD_SPAN_BYTES - used - 2_000) // shares, 200)
        for key, value in present.items():
            whole[key] = encode(value, min(share, self._value_limit))

    _HANDLERS: ClassVar[dict[type[moments.Moment], Callable[[Spans, Any], None]]] = {
        moments.SpeechStarted: _speech_started,
        moments.SpeechStopped: _speech_stopped,
        moments.Placed: _placed,
        moments.Written: _wrote,
        moments.Withdrawn: _withdrawn,
        moments.Transcribed: _transcribed,
        moments.FunctionCalled: _function_called,
        moments.FunctionAnswered: _function_answered,
        moments.FunctionCancelled: _function_cancelled,
        moments.GenerationStarted: _generation_started,
        moments.FirstAudio: _first_audio,
        moments.GenerationEnded: _generation_ended,
        moments.UsageReported: _usage_reported,
        moments.Interrupted: _interrupted,
        moments.ErrorReported: _error_reported,
        moments.ConnectionOpened: _connection_opened,
        moments.ConnectionClosed: _connection_closed,
        moments.WireEvent: _wire_event,
    }


def mark_error(span: Span, error: WireError, at: int) -> None:
    """ERROR and an `exception` event, always both: LangSmith's ingest reads the event, everybody else the status.

    `at`: wall clock, nanoseconds.
    """
    span.set_attribute(semconv.ERROR_TYPE, error.type)
    span.add_event(
        semconv.EXCEPTION_EVENT,
        {semconv.EXCEPTION_TYPE: error.type, semconv.EXCEPTION_MESSAGE: error.message},
        at,
    )
    span.set_status(Status(StatusCode.ERROR, error.message))


#: Signs that come when the playback has stopped, so that the time to it can be measured.
_PLAYBACK_STOPPED = frozenset({"output_audio_buffer.cleared", "recorder"})


def _tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A call as the OpenAI chat API writes it, which is what LangSmith renders."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _json_or_text(text: str) -> Any:
    """What a tool got or gave: its JSON object if it is one, else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"text": text} if text else {}
    return value if isinstance(value, dict) else {"value": value}


def _turn_attributes(ended: moments.GenerationEnded) -> dict[str, AttributeValue]:
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


def value_limit(tracer: Tracer) -> int:
    """The SDK's own limit on the length of a value; past it the SDK would cut in the middle of our JSON."""
    limits = getattr(tracer, "_span_limits", None)
    length = getattr(limits, "max_span_attribute_length", None)
    return length if isinstance(length, int) and length > 0 else settings.NO_LIMIT
