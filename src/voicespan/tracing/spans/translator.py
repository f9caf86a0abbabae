"""Events become spans: one child of the root for each meaningful event, none that did not happen.

Three spans wait before they are written, because what they say arrives later than their end: function
calls (`voicespan.tracing.spans.function_calls`), turns (`voicespan.tracing.spans.turns`) and barge-ins (`voicespan.tracing.spans.barge_ins`).
Whatever waits is written with the times at which it happened, at the latest when the conversation ends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.protocol import events
from voicespan.runtime import settings
from voicespan.runtime.settings import Level
from voicespan.tracing.spans.barge_ins import BargeIns
from voicespan.tracing.spans.current import CurrentSpan
from voicespan.tracing.spans.function_calls import FunctionCalls, call_message
from voicespan.tracing.spans.operations import Operations
from voicespan.tracing.spans.playback import Playback
from voicespan.tracing.spans.stages import Stages
from voicespan.tracing.spans.transcript import Transcript
from voicespan.tracing.spans.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from voicespan.content.policy import Content
    from voicespan.tracing.context import ConversationContext
    from voicespan.tracing.spans.span_writer import SpanWriter


class SpanTranslator:
    """Writes the spans of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    def __init__(
        self,
        writer: SpanWriter,
        content: Content,
        config: settings.Settings,
        conversation_context: ConversationContext,
    ) -> None:
        """`conversation_context` learns which function call is current."""
        self._content = content
        self._events = config.events
        self._now = 0  # of the newest event, in monotonic nanoseconds
        self.transcript = Transcript(settings.ROOT_TRANSCRIPT_CHARACTERS)
        self.counts = writer.counts
        self.playback = Playback()
        self._writer = writer
        current = CurrentSpan(conversation_context)
        self.calls = FunctionCalls(self._writer, current)
        self._operations = Operations(self._writer, content, current, writer.provider)
        self._barge_ins = BargeIns(self._writer, self.transcript, self.counts, self.playback)
        self._turns = Turns(
            self._writer,
            content,
            barge_ins=self._barge_ins,
            playback=self.playback,
            transcript=self.transcript,
        )
        self._stages: Stages | None = None  # it is no cascade

    def raw(self, frame: Any) -> Any:
        """The frame as it is now, where VOICESPAN_RAW_EVENTS asks for it: when it is written it can be another one."""
        return self._writer.raw(frame)

    def record(self, event: events.Event, frame: Any = None) -> None:
        """Write what `event` means. `frame`: the frame that it came in, for VOICESPAN_RAW_EVENTS."""
        self._writer.frame = frame
        self._now = event.at
        if self._barge_ins.hear(event.at):
            self._write_ready()
        self._HANDLERS.get(type(event), SpanTranslator._of_cascade)(self, event)
        if self._barge_ins.awaits_silence or self._turns.is_over_since(event.at):
            self._write_ready()
        if not (self.calls.is_waiting or self._operations.is_waiting):
            self._turns.user.tools_over(event.at)

    def span_of(self, key: object) -> Span | None:
        """The span of a function call or an operation, by its id."""
        found = self.calls.span(key) or self._operations.span(key)
        return self._stages.span(key) if found is None and self._stages is not None else found

    @property
    def is_unanswered(self) -> bool:
        """Whether the user had a turn, and not one of them was answered."""
        return self._turns.is_unanswered

    def finish(self, at: int) -> None:
        """Write everything that waits; the conversation is over."""
        self._writer.frame = None
        self._now = at
        self._barge_ins.hear(at)
        if self._stages is not None:
            self._stages.finish(at)
        self.calls.finish(at)
        self._operations.finish(at)
        self._write_ready(everything=True)

    def _of_cascade(self, event: events.Event) -> None:
        if self._stages is None:
            self._stages = Stages(
                self._writer,
                self._content,
                transcript=self.transcript,
                counts=self.counts,
                calls=self.calls,
                turns=self._turns,
                barge_ins=self._barge_ins,
            )
        self._stages.record(event)

    def _write_ready(self, *, heard_is_final: bool = False, everything: bool = False) -> None:
        """Write what waited and is complete now, or will not become more complete."""
        final = heard_is_final or everything
        self._barge_ins.write_ready(self._now, self._turns.generating, final=final)
        self._turns.write_ready(self._now, final=final, everything=everything)
        if self._stages is not None:
            self._stages.write_ready(final=final)

    # What is said and written.

    def _speech_started(self, event: events.SpeechStarted) -> None:
        self._barge_ins.user_spoke(event.at)
        if self._stages is not None:
            self._stages.gap.user_speaks()
        self._turns.user_speaks(event)
        self._write_ready()

    def _speech_stopped(self, event: events.SpeechStopped) -> None:
        if self._stages is not None:
            # The words say whether that was a turn: what such a detector heard may be noise.
            self._stages.gap.user_silent(event.at)
        else:
            self.counts.figures.turns.add("speech", event.silent_at or event.at, event.item_id)
        self._turns.user_stopped(event)

    def _message_added(self, event: events.MessageAdded) -> None:
        if event.role == "user":
            self._turns.user_acted()
            if event.given:
                self.counts.figures.turns.add("placed", event.at, event.item_id)
        entry = self.transcript.place(event.item_id, event.role, event.after, event.before)
        if event.awaits_transcript and entry.text is None:
            entry.awaits_transcript = True
        if event.given and event.role != "assistant":
            self._turns.give(entry)

    def _message_text(self, event: events.MessageText) -> None:
        entry = self.transcript.place(event.item_id, event.role, event.after)
        if event.role == "user":
            self._turns.user_acted()
            self._turns.user.typed(event.at)
            if not event.put_back:
                self.counts.figures.turns.add("typed", event.at, event.item_id)
            self.counts.text_messages += entry.text is None
        text = self._content.text(event.text, role=event.role, place="transcript")
        self.transcript.write(entry, text if event.text.strip() else None)
        if event.put_back:
            entry.note(put_back=True)
        if event.seeded or event.role != "assistant":
            self._turns.give(entry)

    def _message_removed(self, event: events.MessageRemoved) -> None:
        entry = self.transcript.find(event.item_id)
        if entry is None:
            return
        if entry.given:
            # A place that was kept for words which are not coming.
            entry.awaits_transcript = False
            self._write_ready()
        else:
            self.transcript.remove(event.item_id)
        self.counts.figures.turns.withdraw(event.item_id)

    def _transcript_completed(self, event: events.TranscriptCompleted) -> None:
        text = self._content.text(event.text, role=event.role, place="transcript")
        entry = self.transcript.place(event.item_id, event.role)
        part = event.facts.get("content_index") or 0
        if self.transcript.is_repeated(event.item_id, part, event.text):
            # Another connection of the same session had it as well.
            return
        self.counts.figures.said(event)
        user = event.role == "user"
        if user:
            self._turns.give(entry)
        elif event.text and event.response_id is None:
            self._turns.answered_in_words(event.started_at or event.at)
        if event.role == "assistant" and event.response_id:
            self._barge_ins.spoken_in(event.response_id, event.item_id)
            self._turns.add_words(event.response_id, event.text or "")
        # Silence that was transcribed is no message.
        if event.out_of_band:
            self._turns.spoken_beside(event.response_id, entry, text if event.text else None)
        else:
            self.transcript.write(entry, text if event.text else None, part=part)
        message = {"role": event.role, "content": text or ""}
        ids = {"item_id": event.item_id, "response_id": event.response_id}
        self._writer.write(
            events.INPUT_TRANSCRIPTION if user else events.OUTPUT_TRANSCRIPTION,
            event,
            started_at=event.started_at,
            prompt={"messages": [message]} if user and text is not None else None,
            completion={"messages": [message]} if not user and text is not None else None,
            facts={**ids, **event.facts, **self._turns.gap_of_run(event)},
            error=self._content.error(event.error),
        )
        self._write_ready()

    # Function calls.

    def _function_called(self, event: events.FunctionCalled) -> None:
        if event.put_back:
            self._call_put_back(event)
            return
        if self.calls.is_repeated(event):
            return
        self.counts.function_calls += 1
        self._turns.user.tool_began(event.at)
        arguments = self._content.text(event.arguments, role="assistant", place="arguments") or ""
        entry = self.transcript.place(event.item_id or event.call_id, "assistant")
        self.transcript.call(entry, self.calls.begin(event, arguments, self._operations.span(event.within)))

    def _function_answered(self, event: events.FunctionAnswered) -> None:
        call_id = self.calls.answered_by(event.call_id, event.name)
        event = replace(event, call_id=call_id)
        output = self._content.text(event.output, role="tool", place="result") or ""
        name = event.name or self.calls.name_of(call_id)
        if event.refused is not None:
            self._answer_refused(event, name, output)
            return
        if not event.more and self.calls.is_answered(call_id, output):
            return
        if not event.more:
            self.calls.answer(call_id, event.at, output, self._content.error(event.error), event.facts)
        entry = self.transcript.place(event.item_id or f"answer {call_id}", "tool")
        entry.answers(call_id, name)
        self.transcript.write(entry, output)
        self._turns.give(entry)
        if event.put_back:
            entry.note(put_back=True)
        if event.put_back or event.by_service:
            return
        self._writer.write(
            events.FUNCTION_RESPONSE if name is None else f"{events.FUNCTION_RESPONSE}: {name}",
            event,
            prompt={"messages": [entry.message()]},
            facts={"call_id": call_id, "item_id": event.item_id, **event.facts},
        )

    def _call_put_back(self, event: events.FunctionCalled) -> None:
        arguments = self._content.text(event.arguments, role="assistant", place="arguments") or ""
        entry = self.transcript.place(event.item_id or event.call_id, "assistant")
        self.transcript.call(entry, call_message(event, arguments))
        entry.note(put_back=True)
        self._turns.give(entry)

    def _answer_sent(self, event: events.FunctionAnswerSent) -> None:
        self.calls.answer_sent(event.call_id)

    def _answer_refused(self, event: events.FunctionAnswered, name: str | None, output: str) -> None:
        self.calls.answer_refused(event.call_id)
        message = {"role": "tool", "content": output, "tool_call_id": event.call_id}
        self._writer.write(
            events.FUNCTION_RESPONSE if name is None else f"{events.FUNCTION_RESPONSE}: {name}",
            event,
            prompt={"messages": [message]},
            facts={"call_id": event.call_id, "refused": True, **event.facts},
            error=self._content.error(event.refused),
        )

    def _function_cancelled(self, event: events.FunctionCancelled) -> None:
        self.calls.cancel(event.call_id, event.at)

    def _function_answer_unseen(self, event: events.FunctionAnswerUnseen) -> None:
        self.calls.answer_unseen(event.call_id, event.at)

    # Operations, and what is billed by time.

    def _operation_started(self, started: events.OperationStarted) -> None:
        self._operations.begin(started)
        if self._operations.is_waiting:
            self._turns.user.tool_began(started.at)

    def _operation_ended(self, ended: events.OperationEnded) -> None:
        if ended.usage is not None and self._operations.is_open(ended.key):
            self.counts.add(ended.usage)
        self._operations.end(ended)

    def _seconds_used(self, used: events.SecondsUsed) -> None:
        self.counts.use_seconds(used.session_id, used.seconds)

    # What the model does, and how it is cut off.

    def _generation_started(self, event: events.GenerationStarted) -> None:
        # How much of an earlier answer was heard is known by now, or never.
        self._write_ready(heard_is_final=True)
        self._turns.begin(event)

    def _first_audio(self, event: events.FirstAudio) -> None:
        if not event.beside:
            self._barge_ins.answer_began(event.response_id, event.at)
        self._turns.speak(event)

    def _generation_ended(self, event: events.GenerationEnded) -> None:
        if event.response_id and self._turns.is_over(event.response_id):
            # A proxy repeats it, or another connection of the same session has it as well.
            return
        self.counts.turns += 1
        if event.usage is not None:
            self.counts.add(event.usage)
        self._barge_ins.answer_ended(event.response_id, event.generated_ms)
        outcome = self._turns.end(event, self.calls.messages(event.call_ids))
        if outcome is not None:
            self.counts.add_answer(outcome)
        self._write_ready()

    def _usage_reported(self, event: events.UsageReported) -> None:
        self.counts.add(event.usage)

    def _interrupted(self, event: events.Interrupted) -> None:
        self._barge_ins.add_sign(event)
        self._write_ready()

    # Everything else.

    def _connection(self, event: events.ConnectionOpened | events.ConnectionClosed) -> None:
        opened = isinstance(event, events.ConnectionOpened)
        name = events.CONNECTION_OPENED if opened else events.CONNECTION_CLOSED
        self._writer.write(name, event, facts=event.facts)

    def _error_reported(self, event: events.ErrorReported) -> None:
        self.counts.errors += 1
        error = self._content.error(event.error) or event.error
        self._writer.write(
            events.ERROR,
            event,
            completion={"type": error.type, "message": error.message},
            facts=event.facts,
            error=error,
        )

    def _provider_event(self, event: events.ProviderEvent) -> None:
        if event.level > self._events:
            return
        payload = self._content.frame(event.payload, role="user" if event.from_client else "assistant")
        self._writer.write(
            event.event_type,
            event,
            prompt=payload if event.from_client else None,
            completion=None if event.from_client else payload,
            facts=event.facts,
            error=self._content.error(event.error),
            essential=event.level == Level.ESSENTIAL,
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
        events.ConnectionOpened: _connection,
        events.ConnectionClosed: _connection,
        events.ProviderEvent: _provider_event,
    }
