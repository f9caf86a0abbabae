"""The instrumentor: sets and restores the seams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.instrumentation.instrumentor import SeamInstrumentor
from voicespan.openai_realtime import endpoint, sdk
from voicespan.runtime.guard import guarded
from voicespan.tracing.registry import end_open_conversations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


class OpenAIRealtimeInstrumentor(SeamInstrumentor):
    """Traces every OpenAI Realtime connection of the process, whichever client made it.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). It
    needs `openai` 1.107 or later; where that is not installed it does nothing. Connections that are open
    already stay untraced; those that are open at `uninstrument()` end with the status `untraced`.

    Example:
        >>> from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
        >>> OpenAIRealtimeInstrumentor().instrument()
        >>> OpenAIRealtimeInstrumentor().uninstrument()
    """

    modules = sdk.MODULES

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return sdk.patches(module, self._begin)

    @guarded
    def _begin(self, manager: Any) -> endpoint.Handshake | None:
        return endpoint.Handshake(manager, self.tracer_provider, self.clock) if self.is_tracing() else None

    def _end_open(self) -> None:
        end_open_conversations("untraced")
