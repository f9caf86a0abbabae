"""What a block of a cascade asks of its conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from voicespan.protocol.events import Event
    from voicespan.protocol.stages import StageStarted
    from voicespan.tracing.context import ConversationContext


class StageSink(Protocol):
    """Takes what happens in a cascade: a conversation."""

    context: ConversationContext
    recording: bool
    #: A model was called.
    is_cascade: bool

    def monotonic_ns(self) -> int:
        """Now, by the conversation's clock."""
        ...

    def report(self, event: Event) -> None:
        """Something happened."""

    def report_started(self, started: StageStarted) -> None:
        """A model is called."""

    def begins_answer(self, answer: str | None) -> bool:
        """Whether nothing of this answer was audible before; asked when something is."""
        ...

    def span_of_stage(self, key: str) -> Span | None:
        """The span of a call of a model or of a function, open or just over."""
        ...
