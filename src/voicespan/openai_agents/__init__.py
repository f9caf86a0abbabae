"""The realtime sessions of the OpenAI Agents SDK."""

from voicespan.openai_agents.instrumentor import OpenAIAgentsInstrumentor as OpenAIAgentsInstrumentor

__all__ = ["OpenAIAgentsInstrumentor"]
