"""A Gemini Live server for tests, and what is put into it.

`GeminiLiveServer` is where to begin.
"""

from voicespan.testing._connection import Connection, Refuse
from voicespan.testing.gemini_live.answers import Answer, Dialogue, FunctionCall, Transcription, Turn
from voicespan.testing.gemini_live.server import GeminiLiveServer
from voicespan.testing.script import Close, Drop, Expect, Hold, Script, Send

__all__ = [
    "Answer",
    "Close",
    "Connection",
    "Dialogue",
    "Drop",
    "Expect",
    "FunctionCall",
    "GeminiLiveServer",
    "Hold",
    "Refuse",
    "Script",
    "Send",
    "Transcription",
    "Turn",
]
