"""Every instrumentor that traces conversations: a provider's, a socket library's, a framework's."""

from __future__ import annotations

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.instrumentation.sockets import (
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    WebsocketsInstrumentor,
)
from voicespan.livekit import LiveKitInstrumentor
from voicespan.openai_agents import OpenAIAgentsInstrumentor
from voicespan.openai_audio import OpenAIAudioInstrumentor
from voicespan.openai_live import OpenAILiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.pipecat import PipecatInstrumentor

INSTRUMENTORS = (
    GeminiLiveInstrumentor,
    OpenAIAudioInstrumentor,
    OpenAILiveInstrumentor,
    OpenAIRealtimeInstrumentor,
    WebsocketsInstrumentor,
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    LiveKitInstrumentor,
    PipecatInstrumentor,
    OpenAIAgentsInstrumentor,
)
