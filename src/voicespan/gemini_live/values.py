"""Readers of what stands in a message of Gemini Live."""

from __future__ import annotations

import functools
import re
from typing import Any

from voicespan.protocol.json_values import as_object, as_objects, elements, integer, name, text, texts

__all__ = ["as_object", "as_objects", "elements", "integer", "mime_type", "name", "snake", "text", "texts"]


def mime_type(blob: Any) -> str:
    """Of a blob, as the wire, the SDK or the application writes it; empty where there is none."""
    if isinstance(blob, dict):
        found = blob.get("mimeType") or blob.get("mime_type")
    else:
        found = getattr(blob, "mime_type", None)
    return found if isinstance(found, str) else ""


def snake(key: str) -> str:
    """`toolCall` as `tool_call`."""
    return _snake(name(key) or "unknown")


@functools.lru_cache(256)
def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
