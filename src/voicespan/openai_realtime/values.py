"""Readers of what stands in an event of OpenAI Realtime."""

from __future__ import annotations

from typing import Any

from voicespan.protocol import events
from voicespan.protocol.events import WireError
from voicespan.protocol.json_values import as_object, elements, integer, json_text, name, number, text

__all__ = [
    "arguments",
    "as_object",
    "bytes_per_ms",
    "elements",
    "error_in",
    "format_name",
    "integer",
    "is_typed",
    "item_text",
    "name",
    "name_or_named",
    "number",
    "role",
    "sample_rate",
    "text",
    "usage_of",
    "wire_error",
]  # fmt: skip

#: Bytes of audio per millisecond, by GA and beta names of the formats.
_G711 = 8
_BYTES_PER_MS = {
    **dict.fromkeys(("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw"), _G711),
    "pcm16": 48,
}
#: Of the kinds of tokens there are five.
_MOST_DETAILS = 6
_TYPED_PARTS = frozenset({"input_text", "text", "output_text", "input_image"})


def arguments(value: Any) -> str:
    """JSON text as the model wrote it; some services give the object itself."""
    written = text(value)
    if written is not None:
        return written
    return "" if value is None else json_text(value)


def role(value: str | None) -> events.Role:
    """Whose message it is; the user's where that is not known."""
    if value in ("assistant", "system", "developer", "tool"):
        return value  # type: ignore[return-value]  # checked in the line above
    return "user"


def is_typed(item: dict[str, Any]) -> bool:
    """Whether somebody wrote this message, instead of speaking it."""
    return any(name(as_object(part).get("type")) in _TYPED_PARTS for part in elements(item.get("content")))


def item_text(item: dict[str, Any]) -> str:
    """The words of a message: typed parts, and transcripts where a history was put back."""
    words = []
    for part in map(as_object, elements(item.get("content"))):
        if part.get("type") == "input_image":
            words.append("[image]")
        else:
            words.append(text(part.get("text")) or text(part.get("transcript")) or "")
    return " ".join(word for word in words if word)


def name_or_named(value: Any) -> str | None:
    """A name; Voice Live gives `{"name": ..., "type": ...}`."""
    return name(value.get("name")) if isinstance(value, dict) else name(value)


def format_name(value: Any) -> str | None:
    """`audio/pcm@24000`, or the beta API's bare name."""
    if isinstance(value, dict):
        kind, rate = name(value.get("type")), integer(value.get("rate"))
        return kind if rate is None or kind is None else f"{kind}@{rate}"
    return name(value)


def bytes_per_ms(value: Any) -> float:
    """How much audio of a format makes a millisecond."""
    if isinstance(value, dict):
        kind = name(value.get("type")) or ""
        return float(_BYTES_PER_MS.get(kind, (integer(value.get("rate")) or 24_000) * 2 / 1000)) or 48.0
    return float(_BYTES_PER_MS.get(value, 48)) if isinstance(value, str) else 48.0


def sample_rate(value: Any) -> int:
    """Of a format, in Hz."""
    bytes_a_ms = bytes_per_ms(value)
    # One byte a sample is G.711, else it is PCM16.
    return round(bytes_a_ms * (1_000 if bytes_a_ms == _G711 else 500))


def wire_error(value: Any, fallback: str) -> WireError:
    """An error, by its code, else its type, else `fallback`."""
    if isinstance(value, dict):
        kind = name(value.get("code")) or name(value.get("type")) or fallback
        message = text(value.get("message"), 4_000) or kind
        return WireError(fallback if kind == "error" else kind, message)
    return WireError(fallback, text(value, 4_000) or fallback)


def error_in(kind: str, event: dict[str, Any]) -> WireError | None:
    """The error of an event that keeps its own name: a failed MCP call or tool listing."""
    error = event.get("error")
    if kind.endswith(".failed") or (kind.startswith("mcp_") and error):
        return wire_error(error, kind)
    return None


def usage_of(given: dict[str, Any]) -> events.Usage | None:
    """Tokens as the server counted them; None where it did not."""
    if not given:
        return None
    into = as_object(given.get("input_token_details") or given.get("input_tokens_details"))
    out = as_object(given.get("output_token_details") or given.get("output_tokens_details"))
    details = {
        **_token_details(into),
        "cache_read": integer(into.get("cached_tokens")),
        "cache_creation": integer(into.get("cache_write_tokens")),
        **{
            f"cache_read_{detail}": tokens
            for detail, tokens in _token_details(as_object(into.get("cached_tokens_details"))).items()
        },
    }
    return events.Usage(
        integer(given.get("input_tokens")),
        integer(given.get("output_tokens")),
        integer(given.get("total_tokens")),
        {detail: tokens for detail, tokens in details.items() if tokens is not None},
        {detail: tokens for detail, tokens in _token_details(out).items() if tokens is not None},
    )


def _token_details(given: dict[str, Any]) -> dict[str, int | None]:
    """`{"audio_tokens": 3, ...}` as `{"audio": 3, ...}`, whatever kinds there are."""
    return {
        (name(detail) or "").removesuffix("_tokens"): integer(tokens)
        for detail, tokens in list(given.items())[: _MOST_DETAILS + 2]
        if detail.endswith("_tokens") and detail not in ("cached_tokens", "cache_write_tokens")
    }
