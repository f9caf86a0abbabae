"""What the instrumentors of the `openai` package's connections share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.instrumentor import TracingInstrumentor
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from opentelemetry.trace import TracerProvider

    from voicespan.instrumentation.handshake import Handshake
    from voicespan.instrumentation.openai_package.patches import Begin
    from voicespan.runtime.clock import Clock


class OpenAIPackageInstrumentor(TracingInstrumentor):
    """Sets and restores the patches that a provider's `sdk` names; each connection begins with its handshake."""

    _sdk_patches: Callable[[ModuleType, Begin], Iterator[tuple[type, str, Any]]]
    #: From the package's connection manager, the tracer provider (None: the global one) and the clock.
    _handshake: Callable[[Any, TracerProvider | None, Clock], Handshake]

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return self._sdk_patches(module, self._begin)

    @guarded
    def _begin(self, manager: Any) -> Handshake | None:
        return self._handshake(manager, self.tracer_provider, self.clock) if self.is_tracing() else None
