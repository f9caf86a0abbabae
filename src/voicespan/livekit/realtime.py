"""Realtime models that no socket of ours shows: what they do is told by LiveKit's own events.

Every realtime model of LiveKit says when it begins to answer, what the user said, and what an answer took. Where its
frames are seen (OpenAI's, Google's) those tell more, and these are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.livekit.chat import text_of
from voicespan.livekit.names import model_of, provider_of
from voicespan.protocol import events
from voicespan.protocol.events import LocalId, Usage, WireError
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from voicespan.instrumentation.framework_session import FrameworkSession


#: Functions that one answer asks for.
_MOST_CALLS = 64


class RealtimeAnswers:
    """Of one session. Used on the session's event loop only."""

    def __init__(self, trace: FrameworkSession) -> None:
        """It has answered nothing yet."""
        self._trace = trace
        #: Of the answer that the model is at; None: it is at none.
        self._open: str | None = None
        #: Of the newest one; None: there was none.
        self._newest: str | None = None
        self._calls: list[str] = []
        #: How it ended and what it took, while it is not known what it asked for.
        self._ended: tuple[str, Usage | None] | None = None
        self._first_audio_at: int | None = None

    @property
    def is_used(self) -> bool:
        """Whether such a model answers in this session."""
        return self._newest is not None and not self._trace.has_wire

    @guarded
    def created(self, event: Any, model: Any) -> None:
        """The model begins to answer; `event`: a `GenerationCreatedEvent`."""
        if self._trace.has_wire:
            return
        self.over()
        if self._newest is None:
            facts = {semconv.PROVIDER: provider_of(model), semconv.REQUEST_MODEL: model_of(model)}
            self._trace.conversation.lifecycle.root.describe(
                {name: fact for name, fact in facts.items() if fact is not None}
            )
        self._open = self._newest = getattr(event, "response_id", None) or LocalId.new("answer")
        self._calls, self._first_audio_at = [], None
        self._trace.report(events.GenerationStarted(self._trace.now(), "generation_created", self._open))

    def audible(self) -> None:
        """Its first audio is given to the output."""
        if self._open is not None and self._first_audio_at is None and self.is_used:
            self._first_audio_at = self._trace.now()
            self._trace.report(
                events.FirstAudio(self._first_audio_at, "generation_created", self._newest or "")
            )

    def called(self, call: Any) -> None:
        """It asks for a function, which is about to run; `call`: a `FunctionCall`."""
        if len(self._calls) < _MOST_CALLS:
            self._calls.append(call.call_id)
        self._trace.report(
            events.FunctionCalled(
                self._trace.now(),
                "function_call",
                call.call_id,
                call.name,
                call.arguments or "",
                response_id=self._newest,
            )
        )

    def answered(self, output: Any, error: WireError | None) -> None:
        """The function has run; `output`: a `FunctionCallOutput`."""
        if self._ended is not None:
            self.over()
        self._trace.report(
            events.FunctionAnswered(
                self._trace.now(), "function_tool", output.call_id, output.output, error=error
            )
        )

    @guarded
    def transcribed(self, event: Any, began_at: int | None) -> bool:
        """What the user said; `event`: an `InputTranscriptionCompleted`. Whether that is in the transcript now."""
        if self._trace.has_wire or not event.is_final or not event.transcript:
            return False
        now = self._trace.now()
        since = getattr(event, "turn_started_at", None)
        started_at = self._trace.at(since) if since is not None else began_at or now
        self._trace.report(
            events.TranscriptCompleted(
                now,
                "input_audio_transcription_completed",
                "user",
                event.item_id,
                started_at,
                event.transcript,
            )
        )
        return True

    def said(self, item: Any) -> None:
        """The agent has said this, as far as it was heard; `item`: a `ChatMessage`."""
        if self._ended is not None:
            self.over()
        now = self._trace.now()
        self._trace.report(
            events.TranscriptCompleted(
                now,
                "conversation_item_added",
                "assistant",
                item.id,
                self._first_audio_at or now,
                text_of(item),
                response_id=self._newest,
            )
        )

    @guarded
    def measured(self, metrics: Any) -> None:
        """What an answer took; `metrics`: any of LiveKit's, `RealtimeModelMetrics` among them."""
        if getattr(metrics, "type", None) != "realtime_model_metrics" or not metrics.request_id:
            return
        self._ended = "cancelled" if metrics.cancelled else "completed", _usage_of(metrics)
        # The functions that it asks for begin to run a moment later, if it says nothing.
        if self._first_audio_at is not None:
            self.over()

    def over(self) -> None:
        """The model is through with its answer."""
        response_id, self._open = self._open, None
        # Not every model says how.
        (status, usage), self._ended = self._ended or ("", None), None
        if response_id is None or self._trace.has_wire:
            return
        self._trace.report(
            events.GenerationEnded(
                self._trace.now(),
                "generation_created",
                response_id,
                status,
                None,
                None,
                tuple(self._calls),
                usage,
                None,
                had_speech=self._first_audio_at is not None,
                awaits_words=self._first_audio_at is not None,
            )
        )


def _usage_of(metrics: Any) -> Usage | None:
    if not metrics.total_tokens:
        return None
    given, made = metrics.input_token_details, metrics.output_token_details
    return Usage(
        metrics.input_tokens,
        metrics.output_tokens,
        metrics.total_tokens,
        input_details=_known(
            text=given.text_tokens, audio=given.audio_tokens, cache_read=given.cached_tokens
        ),
        output_details=_known(text=made.text_tokens, audio=made.audio_tokens),
    )


def _known(**details: int) -> dict[str, int]:
    return {name: count for name, count in details.items() if count}
