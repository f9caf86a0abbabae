"""Traces the OpenAI Live API as the `openai` package speaks it; see `OpenAILiveInstrumentor`."""

from voicespan.openai_live.instrumentor import OpenAILiveInstrumentor

__all__ = ["OpenAILiveInstrumentor"]
