"""OpenAI's endpoints for audio, which a cascade calls: transcriptions, translations and speech."""

from __future__ import annotations

from voicespan.openai_audio.instrumentor import OpenAIAudioInstrumentor

__all__ = ["OpenAIAudioInstrumentor"]
