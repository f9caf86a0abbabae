"""Moments become spans: one child of the root for each meaningful event, none that did not happen.

Three spans wait before they are written, because what they tell arrives later than their end: function
calls (`voicespan.tracing.spans.function_calls`), turns (`voicespan.tracing.spans.turns`) and barge-ins (`voicespan.tracing.spans.barge_ins`).
Whatever waits is written with the times at which it happened, at the latest when the conversation ends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.protocol import events
from voicespan.runtime import settings
from voicespan.runtime.bounded import put
from voicespan.runtime.settings import Level
from voicespan.tracing.spans.barge_ins import BargeIns
from voicespan.tracing.spans.current import CurrentSpan
from voicespan.tracing.spans.function_calls import FunctionCalls, call_message
from voicespan.tracing.spans.operations import Operations
from voicespan.tracing.spans.playback import Playback
from voicespan.tracing.spans.span_writer import SpanWriter
from voicespan.tracing.spans.transcript import Transcript
from voicespan.tracing.spans.turns import Turns
from voicespan.tracing.spans.usage import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.tracing.context import ConversationContext


class SpanTranslator:
    """Writes the spans of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self,
        tracer: Tracer,
        context: Context,
        content: Content,
        config: settings.Settings,
        *,
        common: Mapping[str, AttributeValue],
        provider: Mapping[str, AttributeValue],
        wall: Callable[[int], int],
        conversation_context: ConversationContext,
    ) -> None:
        """`context`: the root is current in it.

        `common` stands on every span, `provider` gives the model's facts for llm spans, `wall` maps
        monotonic nanoseconds to the wall clock, `conversation_context` is told which function call is current.
        """
        self._content = content
        self._events = config.events
        self.transcript = Transcript(settings.ROOT_TRANSCRIPT_CHARACTERS)
        self.counts = Counters()
        #: A hash of what was transcribed last, by item and part.
        self._said: dict[str, int] = {}
        self.playback = Playback()
        self._writer = SpanWriter(tracer, context, content, config, self.counts, common=common, wall=wall)
        current = CurrentSpan(conversation_context)
        self.calls = FunctionCalls(self._writer, current)
        self._operations = Operations(self._writer, content, current, provider)
        self._barge_ins = BargeIns(self._writer, self.transcript, self.counts, self.playback)
        self._turns = Turns(
            self._writer,
            content,
            barge_ins=self._barge_ins,
            heard=self.playback,
            transcript=self.transcript,
            provider=provider,
        )

    def record(self, moment: events.Event, frame: Any = None) -> None:
        """Write what `moment` tells. `frame`: the frame that told it, for VOICESPAN_RAW_EVENTS."""
        self._writer.frame = frame
        if self._barge_ins.hear(moment.at):
            self._write_ready()
        self._HANDLERS[type(moment)](self, moment)

    def span_of(self, key: object) -> Span | None:
        """The span of a function call or an operation, by its id."""
        return self.calls.span(key) or self._operations.span(key)

    def finish(self, at: int) -> None:
        """Write everything that waits; the conversation is over."""
        self._writer.frame = None
        self._barge_ins.hear(at)
        self.calls.finish(at)
        self._operations.finish(at)
        self._write_ready(everything=True)

    def _write_ready(self, *, heard_is_final: bool = False, everything: bool = False) -> None:
        """Write what waited and is complete now, or will not become more complete."""
        final = heard_is_final or everything
        self._barge_ins.write_ready(self._turns.generating, final=final)
        self._turns.write_ready(final=final, everything=everything)

    # What is said and written.

    def _speech_started(self, moment: events.SpeechStarted) -> None:
        self._barge_ins.user_spoke(moment.at)
        self._turns.user_spoke()
        self._turns.user_acted()
        self._write_ready()

    def _speech_stopped(self, moment: events.SpeechStopped) -> None:
        self._turns.user_asked(moment.at)

    def _message_added(self, moment: events.MessageAdded) -> None:
        if moment.role == "user":
            self._turns.user_acted()
        entry = self.transcript.place(moment.item_id, moment.role, moment.after, moment.before)
        if moment.awaits_transcript and entry.text is None:
            entry.awaits_transcript = True
        if moment.given and moment.role != "assistant":
            self._turns.give(entry)

    def _message_text(self, moment: events.MessageText) -> None:
        entry = self.transcript.place(moment.item_id, moment.role, moment.after)
        if moment.role == "user":
            self._turns.user_acted()
            self.counts.text_messages += entry.text is None
        text = self._content.text(moment.text, role=moment.role, place="transcript")
        self.transcript.write(entry, text if moment.text.strip() else None)
        if moment.put_back:
            entry.note(put_back=True)
        if moment.seeded or moment.role != "assistant":
            self._turns.give(entry)

    def _message_removed(self, moment: events.MessageRemoved) -> None:
        entry = self.transcript.find(moment.item_id)
        if entry is None:
            return
        if entry.given:
            # A place that was kept for words which are not coming.
            entry.awaits_transcript = False
            self._write_ready()
        else:
            self.transcript.remove(moment.item_id)

    def _transcript_completed(self, moment: events.TranscriptCompleted) -> None:
        text = self._content.text(moment.text, role=moment.role, place="transcript")
        entry = self.transcript.place(moment.item_id, moment.role)
        part = moment.facts.get("content_index") or 0
        said, key = hash(moment.text), f"{part} {moment.item_id}"
        if self._said.get(key) == said:
            # Another connection of the same session had it as well.
            return
        put(self._said, key, said)
        user = moment.role == "user"
        if user:
            self._turns.give(entry)
        if moment.role == "assistant" and moment.response_id:
            self._barge_ins.spoken_in(moment.response_id, moment.item_id)
            self._turns.add_words(moment.response_id, moment.text or "")
        # Silence that was transcribed is no message.
        if moment.out_of_band:
            self._turns.spoken_beside(moment.response_id, entry, text if moment.text else None)
        else:
            self.transcript.write(entry, text if moment.text else None, part=part)
        message = {"role": moment.role, "content": text or ""}
        self._writer.write(
            events.INPUT_TRANSCRIPTION if user else events.OUTPUT_TRANSCRIPTION,
            moment,
            started_at=moment.started_at,
            prompt={"messages": [message]} if user and text is not None else None,
            completion={"messages": [message]} if not user and text is not None else None,
            facts={"item_id": moment.item_id, "response_id": moment.response_id, **moment.facts},
            error=self._content.error(moment.error),
        )
        self._write_ready()

    # Function calls.

    def _function_called(self, moment: events.FunctionCalled) -> None:
        if moment.put_back:
            self._call_put_back(moment)
            return
        if self.calls.is_repeated(moment):
            return
        self.counts.function_calls += 1
        arguments = self._content.text(moment.arguments, role="assistant", place="arguments") or ""
        entry = self.transcript.place(moment.item_id or moment.call_id, "assistant")
        self.transcript.call(entry, self.calls.begin(moment, arguments, self._operations.span(moment.within)))

    def _function_answered(self, moment: events.FunctionAnswered) -> None:
        call_id = self.calls.answered_by(moment.call_id, moment.name)
        if call_id != moment.call_id:
            moment = replace(moment, call_id=call_id)
        output = self._content.text(moment.output, role="tool", place="result") or ""
        name = moment.name or self.calls.name_of(call_id)
        if moment.refused is not None:
            self._answer_refused(moment, name, output)
            return
        if not moment.more and self.calls.is_answered(call_id, output):
            return
        if not moment.more:
            self.calls.answer(call_id, moment.at, output, self._content.error(moment.error), moment.facts)
        entry = self.transcript.place(moment.item_id or f"answer {call_id}", "tool")
        entry.answers(call_id, name)
        self.transcript.write(entry, output)
        self._turns.give(entry, moment.response_id)
        if moment.put_back:
            entry.note(put_back=True)
        if moment.put_back or moment.by_service:
            return
        self._writer.write(
            events.FUNCTION_RESPONSE if name is None else f"{events.FUNCTION_RESPONSE}: {name}",
            moment,
            prompt={"messages": [entry.message()]},
            facts={"call_id": call_id, "item_id": moment.item_id, **moment.facts},
        )

    def _call_put_back(self, moment: events.FunctionCalled) -> None:
        arguments = self._content.text(moment.arguments, role="assistant", place="arguments") or ""
        entry = self.transcript.place(moment.item_id or moment.call_id, "assistant")
        self.transcript.call(entry, call_message(moment, arguments))
        entry.note(put_back=True)
        self._turns.give(entry)

    def _answer_sent(self, moment: events.FunctionAnswerSent) -> None:
        self.calls.answer_sent(moment.call_id)

    def _answer_refused(self, moment: events.FunctionAnswered, name: str | None, output: str) -> None:
        self.calls.answer_refused(moment.call_id)
        message = {"role": "tool", "content": output, "tool_call_id": moment.call_id}
        self._writer.write(
            events.FUNCTION_RESPONSE if name is None else f"{events.FUNCTION_RESPONSE}: {name}",
            moment,
            prompt={"messages": [message]},
            facts={"call_id": moment.call_id, "refused": True, **moment.facts},
            error=self._content.error(moment.refused),
        )

    def _function_cancelled(self, moment: events.FunctionCancelled) -> None:
        self.calls.cancel(moment.call_id, moment.at)

    def _function_answer_unseen(self, moment: events.FunctionAnswerUnseen) -> None:
        self.calls.answer_unseen(moment.call_id, moment.at)

    # Operations, and what is billed by time.

    def _operation_started(self, started: events.OperationStarted) -> None:
        self._operations.begin(started)

    def _operation_ended(self, ended: events.OperationEnded) -> None:
        if ended.usage is not None and self._operations.is_open(ended.key):
            self.counts.add(ended.usage)
        self._operations.end(ended)

    def _seconds_used(self, used: events.SecondsUsed) -> None:
        put(self.counts.seconds, used.session_id, used.seconds)

    # What the model does, and how it is cut off.

    def _generation_started(self, moment: events.GenerationStarted) -> None:
        # How much of an earlier answer was heard is told by now, or never.
        self._write_ready(heard_is_final=True)
        self._turns.begin(moment)

    def _first_audio(self, moment: events.FirstAudio) -> None:
        self._barge_ins.answer_began(moment.response_id, moment.at)
        self._turns.speak(moment.response_id, moment.at)

    def _generation_ended(self, moment: events.GenerationEnded) -> None:
        if moment.response_id and self._turns.is_over(moment.response_id):
            # A proxy repeats it, or another connection of the same session has it as well.
            return
        self.counts.turns += 1
        if moment.usage is not None:
            self.counts.add(moment.usage)
        self._barge_ins.answer_ended(moment.response_id, moment.generated_ms)
        self._turns.end(moment, self.calls.messages(moment.call_ids))
        self._write_ready()

    def _usage_reported(self, moment: events.UsageReported) -> None:
        self.counts.add(moment.usage)

    def _interrupted(self, moment: events.Interrupted) -> None:
        self._barge_ins.tell(moment)
        self._write_ready()

    # Everything else.

    def _connection_opened(self, moment: events.ConnectionOpened) -> None:
        self._writer.write(events.CONNECTION_OPENED, moment, facts=moment.facts)

    def _connection_closed(self, moment: events.ConnectionClosed) -> None:
        self._writer.write(events.CONNECTION_CLOSED, moment, facts=moment.facts)

    def _error_reported(self, moment: events.ErrorReported) -> None:
        self.counts.errors += 1
        error = self._content.error(moment.error) or moment.error
        self._writer.write(
            events.ERROR,
            moment,
            completion={"type": error.type, "message": error.message},
            facts=moment.facts,
            error=error,
        )

    def _provider_event(self, moment: events.ProviderEvent) -> None:
        if moment.level > self._events:
            return
        payload = self._content.frame(moment.payload, role="user" if moment.from_client else "assistant")
        self._writer.write(
            moment.event_type,
            moment,
            prompt=payload if moment.from_client else None,
            completion=None if moment.from_client else payload,
            facts=moment.facts,
            error=self._content.error(moment.error),
            essential=moment.level == Level.ESSENTIAL,
            raw=False,
        )

    _HANDLERS: ClassVar[dict[type[events.Event], Callable[[SpanTranslator, Any], None]]] = {
        events.SpeechStarted: _speech_started,
        events.SpeechStopped: _speech_stopped,
        events.MessageAdded: _message_added,
        events.MessageText: _message_text,
        events.MessageRemoved: _message_removed,
        events.TranscriptCompleted: _transcript_completed,
        events.FunctionCalled: _function_called,
        events.FunctionAnswerSent: _answer_sent,
        events.FunctionAnswered: _function_answered,
        events.FunctionCancelled: _function_cancelled,
        events.OperationStarted: _operation_started,
        events.OperationEnded: _operation_ended,
        events.SecondsUsed: _seconds_used,
        events.FunctionAnswerUnseen: _function_answer_unseen,
        events.GenerationStarted: _generation_started,
        events.FirstAudio: _first_audio,
        events.GenerationEnded: _generation_ended,
        events.UsageReported: _usage_reported,
        events.Interrupted: _interrupted,
        events.ErrorReported: _error_reported,
        events.ConnectionOpened: _connection_opened,
        events.ConnectionClosed: _connection_closed,
        events.ProviderEvent: _provider_event,
    }
