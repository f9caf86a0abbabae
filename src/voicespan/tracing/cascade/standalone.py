"""The call of a model outside of any conversation: one span, where the application's own spans are.

It has the words, the times and the usage that it would have in a conversation, and no root, transcript or recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

from voicespan.content.policy import Content
from voicespan.protocol import stages
from voicespan.runtime.clock import WallClock
from voicespan.runtime.settings import Settings
from voicespan.tracing import tracer
from voicespan.tracing.cascade.pipeline import ModelCalls
from voicespan.tracing.context import NO_CONVERSATION
from voicespan.tracing.sessions import Sessions
from voicespan.tracing.spans.span_writer import SpanWriter
from voicespan.tracing.spans.stage_span import StageSpan, completion_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from voicespan.protocol.events import Event
    from voicespan.runtime.clock import Clock


class StandaloneCalls(ModelCalls):
    """Takes what happens in one call."""

    context = NO_CONVERSATION
    is_cascade = False

    def __init__(self, tracer_provider: TracerProvider | None, clock: Clock, settings: Settings) -> None:
        self.recording = settings.enabled
        self._clock = clock
        self._content = Content(settings)
        self._writer: SpanWriter | None = None
        self._settings = settings
        self._tracer_provider = tracer_provider
        self._open: StageSpan | None = None

    def monotonic_ns(self) -> int:
        """Now."""
        return self._clock.monotonic_ns()

    def report_started(self, started: stages.StageStarted) -> None:
        """The model is called."""
        wall = WallClock(self._clock, started.at)
        self._writer = SpanWriter(
            tracer.tracer(self._tracer_provider),
            otel_context.get_current(),
            self._content,
            self._settings,
            sessions=Sessions(self._content, wall, keeps_request=False),
            wall=wall,
        )
        started.parent = None
        self._open = StageSpan.begin(self._writer, self._content, started)

    def report(self, event: Event) -> None:
        """Something happened in it."""
        found = self._open
        if found is None or self._writer is None:
            return
        if isinstance(event, stages.StageFirstOutput):
            found.first_at = found.first_at or event.at
        elif isinstance(event, stages.StageEnded):
            self._open = None
            found.end(self._writer, self._content, event, completion_of(event, self._content), {})

    def begins_answer(self, answer: str | None) -> bool:  # noqa: ARG002  a conversation's signature
        """Nobody asked anything."""
        return False

    def look_inside(self, span: Span) -> None:
        """Nobody makes a block outside of a conversation."""

    def looked_inside(self, span: Span, ended: stages.StageEnded) -> None:
        """As above."""

    def span_of_stage(self, key: str) -> Span | None:  # noqa: ARG002  as above
        """The span of the call."""
        return None if self._open is None else self._open.span


def standalone(tracer_provider: TracerProvider | None, clock: Clock) -> StandaloneCalls:
    """For one call."""
    settings: Any = Settings.from_environment()
    return StandaloneCalls(tracer_provider, clock, settings)
