"""Traces the OpenAI Realtime API as the `openai` package speaks it; see `OpenAIRealtimeInstrumentor`."""

from voicespan.openai_realtime.instrumentor import OpenAIRealtimeInstrumentor

__all__ = ["OpenAIRealtimeInstrumentor"]
