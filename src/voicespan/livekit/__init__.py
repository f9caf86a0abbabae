"""LiveKit Agents: an `AgentSession` is one conversation."""

from voicespan.livekit.instrumentor import LiveKitInstrumentor as LiveKitInstrumentor

__all__ = ["LiveKitInstrumentor"]
