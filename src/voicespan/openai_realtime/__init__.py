"""Traces the OpenAI Realtime API as the `openai` package speaks it.

    from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

    OpenAIRealtimeInstrumentor().instrument()
"""

from voicespan.openai_realtime.instrumentor import OpenAIRealtimeInstrumentor

__all__ = ["OpenAIRealtimeInstrumentor"]
