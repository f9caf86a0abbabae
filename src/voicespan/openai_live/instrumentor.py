"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.instrumentor import TracingInstrumentor
from voicespan.openai_live import endpoint, sdk
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from voicespan.instrumentation.handshake import Handshake


class OpenAILiveInstrumentor(TracingInstrumentor):
    """Traces every OpenAI Live session of the process that the `openai` package opens: primary, sideband and fork.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). It
    needs `openai` 3.12 or later; where that is not installed it does nothing. Connections that are open
    already stay untraced; those that are open at `uninstrument()` end with the status `untraced`.

    Example:
        >>> from voicespan.openai_live import OpenAILiveInstrumentor
        >>> OpenAILiveInstrumentor().instrument()
        >>> OpenAILiveInstrumentor().uninstrument()
    """

    modules = sdk.MODULES

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return sdk.patches(module, self._begin)

    @guarded
    def _begin(self, manager: Any) -> Handshake | None:
        return endpoint.handshake(manager, self.tracer_provider, self.clock) if self.is_tracing() else None
