"""An OpenAI Realtime server for tests, and what is put into it.

`OpenAIRealtimeServer` is where to begin.
"""

from voicespan.testing._connection import Connection, Refuse
from voicespan.testing.openai_realtime.answers import Answer, Dialogue, FunctionCall, Transcription, Turn
from voicespan.testing.openai_realtime.server import OpenAIRealtimeServer
from voicespan.testing.script import Close, Drop, Expect, Hold, Script, Send

__all__ = [
    "Answer",
    "Close",
    "Connection",
    "Dialogue",
    "Drop",
    "Expect",
    "FunctionCall",
    "Hold",
    "OpenAIRealtimeServer",
    "Refuse",
    "Script",
    "Send",
    "Transcription",
    "Turn",
]
