"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

from typing import ClassVar

from voicespan.instrumentation.framework_instrumentor import FrameworkInstrumentor


class OpenAIAgentsInstrumentor(FrameworkInstrumentor):
    """Traces the OpenAI Agents SDK 0.2 and later: each `RealtimeSession` of the process is one conversation.

    What crosses the session's socket is seen by `voicespan.instrumentation.sockets.WebsocketsInstrumentor`; this one
    adds what only the SDK knows: the session, its agents and handoffs, its guardrails, and what was played. The SDK's
    own tracing goes on as it is.

    `instrument(tracer_provider=...)` takes the provider for the spans (default: the global one). Sessions that are
    open already stay untraced; those that are open at `uninstrument()` end with the status `untraced`.

    Example:
        >>> from voicespan.openai_agents import OpenAIAgentsInstrumentor
        >>> OpenAIAgentsInstrumentor().instrument()
        >>> OpenAIAgentsInstrumentor().uninstrument()
    """

    modules: ClassVar[tuple[str, ...]] = (
        "agents.realtime.session",
        "agents.realtime.model",
        "agents.tool_guardrails",
    )
    sdk: ClassVar[str] = "voicespan.openai_agents.sdk"
