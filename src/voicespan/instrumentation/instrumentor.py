"""What every instrumentor that traces conversations does alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from voicespan.runtime.clock import SYSTEM
from voicespan.runtime.patching import PatchingInstrumentor
from voicespan.tracing import tracer
from voicespan.tracing.metrics import provider as metrics
from voicespan.tracing.registry import end_open_conversations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Tracer, TracerProvider

    from voicespan.runtime.clock import Clock


class TracingInstrumentor(PatchingInstrumentor):
    """Patches a library so that its conversations are traced, with this tracer provider and clock."""

    tracer_provider: TracerProvider | None = None
    clock: Clock = SYSTEM
    _tracer: tuple[TracerProvider, Tracer] | None = None

    def _configure(self, arguments: Mapping[str, Any]) -> None:
        provider = self.tracer_provider = arguments.get("tracer_provider") or self.tracer_provider
        self.clock = arguments.get("clock", self.clock)
        if provider is not None and tracer.named_provider() is None:
            tracer.name_provider(provider)
        meter_provider = arguments.get("meter_provider")
        if meter_provider is not None and metrics.named_provider() is None:
            metrics.name_provider(meter_provider)

    def tracer(self) -> Tracer | None:
        """What conversations that begin here and now are written with; None: they are not traced.

        Asked for each span that a framework starts, and a provider makes a new tracer each time.
        """
        if not self.is_tracing():
            return None
        provider = self.tracer_provider or tracer.named_provider() or trace.get_tracer_provider()
        if self._tracer is None or self._tracer[0] is not provider:
            self._tracer = (provider, tracer.tracer(self.tracer_provider))
        return self._tracer[1]

    def _stopped(self) -> None:
        if tracer.named_provider() is self.tracer_provider:
            tracer.name_provider(None)
        self.tracer_provider, self.clock, self._tracer = None, SYSTEM, None
        self._end_open()

    def _end_open(self) -> None:
        """End what is being traced."""
        end_open_conversations("untraced")
