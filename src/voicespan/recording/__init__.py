"""The recording of a conversation: what was heard, in one stereo file.

It knows nothing about providers or spans: two channels, a clock, a file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# Not lazily, as the function has the name of its module; it needs nothing but the standard library.
from voicespan.recording.repair import repair

if TYPE_CHECKING:
    from voicespan.recording.cut import Cut
    from voicespan.recording.recorder import Recorder

__all__ = ["Cut", "Recorder", "repair"]

_HOMES = {
    "Cut": "voicespan.recording.cut",
    "Recorder": "voicespan.recording.recorder",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
