"""The instrumentor: sets and restores the seams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import endpoint, sdk
from voicespan.instrumentation.instrumentor import SeamInstrumentor
from voicespan.runtime.guard import guarded
from voicespan.tracing.registry import end_open_conversations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType


class GeminiLiveInstrumentor(SeamInstrumentor):
    """Traces every Gemini Live session of the process, on the Gemini API and on Vertex AI.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). It
    needs `google-genai` 1.9 or later; where that is not installed it does nothing. Frameworks that open
    their sessions with `client.aio.live.connect` (Google's ADK, LiveKit, Pipecat, pydantic-ai) are traced
    as well. Sessions that are open already stay untraced; those that are open at `uninstrument()` end
    with the status `untraced`.

    Example:
        >>> from voicespan.gemini_live import GeminiLiveInstrumentor
        >>> GeminiLiveInstrumentor().instrument()
        >>> GeminiLiveInstrumentor().uninstrument()
    """

    modules = sdk.MODULES

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return sdk.patches(module, self._begin)

    @guarded
    def _begin(self, live: Any, arguments: Mapping[str, Any]) -> endpoint.Handshake | None:
        if not self.is_tracing():
            return None
        return endpoint.Handshake(live, arguments, self.tracer_provider, self.clock)

    def _end_open(self) -> None:
        end_open_conversations("untraced")
