"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from typing import ClassVar

from voicespan.instrumentation.framework_instrumentor import FrameworkInstrumentor


class LiveKitInstrumentor(FrameworkInstrumentor):
    """Traces LiveKit Agents 1.1 and later: each `AgentSession` of the process is one conversation.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). Sessions that have
    started already stay untraced; those that are open at `uninstrument()` end with the status `untraced`.

    Example:
        >>> from voicespan.livekit import LiveKitInstrumentor
        >>> LiveKitInstrumentor().instrument()
        >>> LiveKitInstrumentor().uninstrument()
    """

    modules: ClassVar[tuple[str, ...]] = ("livekit.agents",)
    sdk: ClassVar[str] = "voicespan.livekit.sdk"
