"""Sockets that speak a provider's protocol, whichever library opened them."""

from voicespan.instrumentation.sockets.instrumentors import WebsocketsInstrumentor

__all__ = ["WebsocketsInstrumentor"]
