"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from voicespan.instrumentation.openai_package.instrumentor import OpenAIPackageInstrumentor
from voicespan.openai_realtime import endpoint, sdk


class OpenAIRealtimeInstrumentor(OpenAIPackageInstrumentor):
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
    _sdk_patches = staticmethod(sdk.patches)
    _handshake = staticmethod(endpoint.handshake)
