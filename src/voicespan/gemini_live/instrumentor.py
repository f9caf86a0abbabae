"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import endpoint, sdk
from voicespan.instrumentation.instrumentor import TracingInstrumentor
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType


class GeminiLiveInstrumentor(TracingInstrumentor):
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
    def _begin(self, live: Any, arguments: Mapping[str, Any]) -> endpoint.SessionHandshake | None:
        if not self.is_tracing():
            return None
        return endpoint.SessionHandshake(live, arguments, self.tracer_provider, self.clock)
