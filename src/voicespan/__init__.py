"""OpenTelemetry tracing for speech-to-speech voice agents.

One conversation is one trace: a root span `conversation`, one child span per meaningful event that
crossed the socket, and the recording of what was heard.
"""

from voicespan.conversation import Conversation, conversation, current_conversation
from voicespan.version import VERSION as __version__

__all__ = ["Conversation", "__version__", "conversation", "current_conversation"]
