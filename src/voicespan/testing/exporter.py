"""An exporter that keeps spans in memory, for tests that look at a conversation while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from voicespan.tracing import registry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class UpToDateSpanExporter(InMemorySpanExporter):
    """Has the spans of what happened until it is asked; an open conversation writes them some milliseconds later."""

    def get_finished_spans(self) -> tuple[ReadableSpan, ...]:
        """Those that have ended and were exported, in that order."""
        registry.flush()
        return super().get_finished_spans()
