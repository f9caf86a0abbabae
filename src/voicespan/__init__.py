"""OpenTelemetry tracing for voice agents.

One conversation is one trace: a root span `conversation`, one child span per meaningful event that
crossed the socket, and the recording of what was heard.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from voicespan.runtime.version import __version__
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.scope import conversation, current_conversation

if TYPE_CHECKING:
    from voicespan.delivery import FolderSpanProcessor, LangSmithSpanProcessor
    from voicespan.distro.configure import configure
    from voicespan.recording import Recorder

__all__ = [
    "Conversation",
    "FolderSpanProcessor",
    "LangSmithSpanProcessor",
    "Recorder",
    "__version__",
    "configure",
    "conversation",
    "current_conversation",
]

#: Loaded when first asked for: they bring HTTP, numpy and the encoders along.
_LAZY = {
    "FolderSpanProcessor": "voicespan.delivery",
    "LangSmithSpanProcessor": "voicespan.delivery",
    "Recorder": "voicespan.recording",
    "configure": "voicespan.distro.configure",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
