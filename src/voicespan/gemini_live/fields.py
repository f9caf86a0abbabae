"""Readers of values that may be missing or of another type than documented: those are taken as not told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Ids and names longer than any real one are cut.
_LONGEST_NAME = 512


def members(value: Any) -> dict[str, Any]:
    """The value, if it is an object."""
    return value if isinstance(value, dict) else {}


def elements(value: Any) -> Sequence[Any]:
    """The value, if it is a list."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[dict[str, Any]]:
    """Every object in the value, if it is a list."""
    return [each for each in elements(value) if isinstance(each, dict)]


def texts(value: Any) -> list[str]:
    """Every text in the value, if it is a list."""
    return [str.__str__(each) for each in elements(value) if isinstance(each, str)]


def text(value: Any, longest: int | None = None) -> str | None:
    """The value, if it is a text; a plain one also where the SDK has made an enumeration of it."""
    return str.__str__(value)[:longest] if isinstance(value, str) else None


def name(value: Any) -> str | None:
    """The value, if it is an id or a name."""
    return text(value, _LONGEST_NAME)


def integer(value: Any) -> int | None:
    """The value, if it is a whole number that JSON can carry."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53 else None


def mime_type(blob: Any) -> str:
    """Of a blob, as the wire, the SDK or the application writes it; empty where there is none."""
    if isinstance(blob, dict):
        found = blob.get("mimeType") or blob.get("mime_type")
    else:
        found = getattr(blob, "mime_type", None)
    return found if isinstance(found, str) else ""


def snake(key: str) -> str:
    """`toolCall` as `tool_call`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()
