"""Readers of values that may be missing or of another type than documented: those count as missing."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from voicespan.runtime import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Ids and names longer than any real one are cut.
_LONGEST_NAME = 512
_LONGEST_FRAME = 8_000_000
_read = json.JSONDecoder().raw_decode
#: Of an integer that is worth its digits.
_MOST_BITS = 256
#: Of a list this much is read: each element can become a span.
_MOST_ELEMENTS = 256


def encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and no exporter can encode."""
    if type(text) is not str:
        text = str.__str__(text)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Pairs that arrived in two pieces become what they stand for, all others U+FFFD.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def parsed(frame: bytes | str) -> Any:
    """The JSON in a frame; None: there is none, or so much that it would hold up the application."""
    if len(frame) > _LONGEST_FRAME:
        return None
    try:
        # Nearly every one: `json.loads` takes as long to find out which encoding that is, and whether there is space
        # around it, as to read 200 bytes.
        if type(frame) is bytes and frame.startswith(b'{"'):
            frame = frame.decode("utf-8", "surrogatepass")
            value, end = _read(frame, 0)
            if end == len(frame):
                return value
        return json.loads(frame)
    except (ValueError, RecursionError):
        return None


def event_object(frame: Any) -> dict[str, Any] | None:
    """The event in a frame: its JSON, the dict that the application gave, or the SDK's model of it; else None."""
    if isinstance(frame, (bytes, str)):
        frame = parsed(frame)
    elif hasattr(frame, "model_dump"):
        try:
            frame = frame.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
        except (ValueError, TypeError, RecursionError):
            return None
    return frame if isinstance(frame, dict) else None


def json_text(value: Any) -> str:
    """JSON of what a model or an application gave; only its type where it has none."""
    try:
        return json.dumps(value, ensure_ascii=False, default=safe_str)
    except (ValueError, TypeError, RecursionError):
        # It holds itself, or is nested deeper than can be followed.
        return json.dumps({"unreadable": type(value).__name__})


def safe_str(odd: Any) -> str:
    """What an object of the application's says of itself; of those that hold others only the type."""
    if isinstance(odd, str):
        return encodable(str.__str__(odd))
    if isinstance(odd, int) and type(odd).__str__ is int.__str__:
        return int.__repr__(odd) if int.bit_length(odd) <= _MOST_BITS else "[int]"
    if isinstance(odd, (Collection, int)):
        # Few objects that hold each other can be endlessly long.
        return f"[{type(odd).__name__}]"
    try:
        return encodable(str(odd))
    except Exception as error:  # noqa: BLE001  the application's own method, which may do anything
        guard.report(error, ours=False)
        return f"[{type(odd).__name__}]"


def as_object(value: Any) -> dict[str, Any]:
    """The value, if it is an object."""
    return value if isinstance(value, dict) else {}


def elements(value: Any) -> Sequence[Any]:
    """The beginning of the value, if it is a list."""
    return value[:_MOST_ELEMENTS] if isinstance(value, list) else []


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Every object in the value, if it is a list."""
    return [each for each in elements(value) if isinstance(each, dict)]


def texts(value: Any) -> list[str]:
    """Every text in the value, if it is a list."""
    return [encodable(str.__str__(each)) for each in elements(value) if isinstance(each, str)]


def text(value: Any, longest: int | None = None) -> str | None:
    """The value, if it is a text; a plain one also where the SDK has made an enumeration of it."""
    return encodable(str.__str__(value)[:longest]) if isinstance(value, str) else None


def name(value: Any) -> str | None:
    """The value, if it is an id or a name."""
    if type(value) is str and len(value) <= _LONGEST_NAME and value.isascii():
        # Nearly every one.
        return value
    return text(value, _LONGEST_NAME)


def integer(value: Any) -> int | None:
    """The value, if it is a whole number that JSON can carry."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53 else None


def number(value: Any) -> float | None:
    """The value, if it is a number."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
