"""Delivery to LangSmith: processor, spool, export.

Knows nothing about providers. A conversation's spans are copied, written to a folder of the spool while
it is open, and sent when it is complete.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.delivery.destination.variables import DeliverySettingsError
    from voicespan.delivery.folder_processor import FolderSpanProcessor
    from voicespan.delivery.processor import LangSmithSpanProcessor

__all__ = ["DeliverySettingsError", "FolderSpanProcessor", "LangSmithSpanProcessor"]

_HOMES = {
    "DeliverySettingsError": "voicespan.delivery.destination.variables",
    "FolderSpanProcessor": "voicespan.delivery.folder_processor",
    "LangSmithSpanProcessor": "voicespan.delivery.processor",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
