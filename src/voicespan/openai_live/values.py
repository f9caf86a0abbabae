"""Readers of what stands in a frame of OpenAI Live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Usage, WireError
from voicespan.protocol.json_values import (
    as_object,
    as_objects,
    integer,
    json_text,
    name,
    number,
    text,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "as_object",
    "as_objects",
    "integer",
    "json_text",
    "milliseconds",
    "name",
    "number",
    "output",
    "text",
    "texts",
    "usage",
    "wire_error",
    "words",
]

_LONGEST_ERROR = 4_000
_LATEST_MS = 1 << 40


def milliseconds(value: Any) -> int | None:
    """A position on the session's time line; None where it is missing or cannot be one."""
    found = number(value)
    return round(found) if found is not None and 0 <= found < _LATEST_MS else None


def wire_error(value: Any) -> WireError:
    """An error object, however much of it is there."""
    error = as_object(value)
    kind = name(error.get("code")) or name(error.get("type")) or "error"
    return WireError(kind, text(error.get("message"), _LONGEST_ERROR) or text(value, _LONGEST_ERROR) or kind)


def usage(value: Any) -> Usage | None:
    """The tokens of a response or a decision."""
    counted = as_object(value)
    totals = {key: integer(counted.get(key)) for key in ("input_tokens", "output_tokens", "total_tokens")}
    if all(tokens is None for tokens in totals.values()):
        return None
    cached = integer(as_object(counted.get("input_tokens_details")).get("cached_tokens"))
    reasoning = integer(as_object(counted.get("output_tokens_details")).get("reasoning_tokens"))
    return Usage(
        totals["input_tokens"],
        totals["output_tokens"],
        totals["total_tokens"],
        {} if cached is None else {"cache_read": cached},
        {} if reasoning is None else {"reasoning": reasoning},
    )


def words(content: Any) -> str:
    """The texts in a message's content, which may be a text itself."""
    given = text(content)
    return given if given is not None else "".join(_pieces(content))


def output(value: Any) -> str:
    """What a function gave back, as text."""
    given = text(value)
    return given if given is not None else json_text(value)


def _pieces(content: Any) -> Iterator[str]:
    for part in as_objects(content):
        piece = text(part.get("text")) or text(part.get("refusal"))
        if piece is not None:
            yield piece
