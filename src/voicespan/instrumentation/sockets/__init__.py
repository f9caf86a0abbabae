"""Sockets that speak a provider's protocol, whichever library opened them."""

from voicespan.instrumentation.sockets.instrumentors import (
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    WebsocketsInstrumentor,
)

__all__ = ["AiohttpInstrumentor", "WebsocketClientInstrumentor", "WebsocketsInstrumentor"]
