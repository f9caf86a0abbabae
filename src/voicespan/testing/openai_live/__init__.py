"""An OpenAI Live server for tests, and what is put into it.

`OpenAILiveServer` is where to begin.
"""

from voicespan.testing._connection import Connection, Refuse
from voicespan.testing.openai_live.answers import FunctionCall, LiveDialogue, Reply, Words
from voicespan.testing.openai_live.server import OpenAILiveServer
from voicespan.testing.script import Close, Drop, Expect, Hold, Script, Send

__all__ = [
    "Close",
    "Connection",
    "Drop",
    "Expect",
    "FunctionCall",
    "Hold",
    "LiveDialogue",
    "OpenAILiveServer",
    "Refuse",
    "Reply",
    "Script",
    "Send",
    "Words",
]
