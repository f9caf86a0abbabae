"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from voicespan.instrumentation.openai_package.instrumentor import OpenAIPackageInstrumentor
from voicespan.openai_live import endpoint, sdk


class OpenAILiveInstrumentor(OpenAIPackageInstrumentor):
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
    _sdk_patches = staticmethod(sdk.patches)
    _handshake = staticmethod(endpoint.handshake)
