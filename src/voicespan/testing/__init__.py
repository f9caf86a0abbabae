"""What voicespan's own tests are built with, for users' tests as well.

Real servers on 127.0.0.1 that speak the providers' protocols, a clock that a test moves by hand, and
ids that are the same in every run. Nothing here is imported before it is asked for, so a test pays
only for what it uses.

The pytest fixtures are switched on with `pytest_plugins = ["voicespan.testing.fixtures"]`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.testing.cascade import CascadeServer
    from voicespan.testing.clock import FakeClock
    from voicespan.testing.gemini_live import GeminiLiveServer
    from voicespan.testing.ids import SequentialIds
    from voicespan.testing.langsmith import Attachment, Dropped, LangSmithServer, Request, Run, render
    from voicespan.testing.openai_live import OpenAILiveServer
    from voicespan.testing.openai_realtime import OpenAIRealtimeServer

__all__ = [
    "Attachment",
    "CascadeServer",
    "Dropped",
    "FakeClock",
    "GeminiLiveServer",
    "LangSmithServer",
    "OpenAILiveServer",
    "OpenAIRealtimeServer",
    "Request",
    "Run",
    "SequentialIds",
    "render",
]

_HOMES = {
    "CascadeServer": "voicespan.testing.cascade",
    "FakeClock": "voicespan.testing.clock",
    "SequentialIds": "voicespan.testing.ids",
    "Attachment": "voicespan.testing.langsmith",
    "Dropped": "voicespan.testing.langsmith",
    "LangSmithServer": "voicespan.testing.langsmith",
    "Request": "voicespan.testing.langsmith",
    "Run": "voicespan.testing.langsmith",
    "render": "voicespan.testing.langsmith",
    "OpenAIRealtimeServer": "voicespan.testing.openai_realtime",
    "GeminiLiveServer": "voicespan.testing.gemini_live",
    "OpenAILiveServer": "voicespan.testing.openai_live",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
