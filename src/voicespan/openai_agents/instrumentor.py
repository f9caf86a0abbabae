"""The instrumentor: sets and restores the patches of `sdk`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.instrumentation.instrumentor import TracingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: Loaded when the SDK's realtime part is imported, which in most processes never happens.
_PATCHES = "voicespan.openai_agents.sdk"


class OpenAIAgentsInstrumentor(TracingInstrumentor):
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

    modules: ClassVar[tuple[str, ...]] = ("agents.realtime.session", "agents.realtime.model")
    _sdk: Any = None

    def _patches(self, module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
        if self._sdk is None:
            self._sdk = importlib.import_module(_PATCHES).Patches(self)
        patches: Iterator[tuple[Any, str, Any]] = self._sdk.of(module)
        return patches

    def _end_open(self) -> None:
        if self._sdk is not None:
            self._sdk.end_open()
