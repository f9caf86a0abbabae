"""The services of a cascade on 127.0.0.1: transcription, chat completions and speech, as OpenAI offers them."""

from __future__ import annotations

from voicespan.testing.cascade.answers import Completion, CompletionRequest, Speech, Transcript
from voicespan.testing.cascade.connections import ServedRequest
from voicespan.testing.cascade.server import CascadeServer
from voicespan.testing.openai_realtime.answers import FunctionCall

__all__ = [
    "CascadeServer",
    "Completion",
    "CompletionRequest",
    "FunctionCall",
    "ServedRequest",
    "Speech",
    "Transcript",
]
