"""What an answer of the audio endpoints says: words, seconds, tokens. As an SDK object, as JSON, or as a stream."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any

from voicespan.protocol.events import Usage

#: A subtitle's number and times stand on lines of their own.
_NO_WORDS = re.compile(r"^(?:\d+|WEBVTT|.*-->.*)$")
_LONGEST = 1_000_000


@dataclass(slots=True)
class Answer:
    """As far as it is known."""

    text: str | None = None
    seconds: float | None = None
    usage: Usage | None = None
    language: str | None = None


def transcription(body: Any) -> Answer:
    """Of the SDK's object, of a text, or of the JSON of one."""
    if isinstance(body, str):
        return Answer(_plain(body))
    usage = _field(body, "usage")
    seconds = _number(_field(body, "duration"))
    tokens = None
    if usage is not None and _field(usage, "type") == "duration":
        seconds = _number(_field(usage, "seconds")) if seconds is None else seconds
    elif usage is not None:
        details = _field(usage, "input_token_details")
        kinds = {
            "audio": _number(_field(details, "audio_tokens")),
            "text": _number(_field(details, "text_tokens")),
        }
        tokens = Usage(
            _number(_field(usage, "input_tokens")),
            _number(_field(usage, "output_tokens")),
            _number(_field(usage, "total_tokens")),
            {kind: count for kind, count in kinds.items() if count},
        )
    text, language = _field(body, "text"), _field(body, "language")
    return Answer(
        text if isinstance(text, str) else None,
        seconds,
        tokens,
        language if isinstance(language, str) else None,
    )


def of_transcription_bytes(content: bytes, compression: str = "") -> tuple[Answer, bool]:
    """Of a body as it came over the wire, and whether it is complete.

    `compression`: its `Content-Encoding`. What Python cannot decompress by itself says nothing.
    """
    if compression:
        try:
            content = zlib.decompressobj(wbits=47).decompress(content, _LONGEST)
        except zlib.error:
            return Answer(), False
    if b"data:" in content[:200]:
        return _of_events(content)
    text = content.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except ValueError:
        # A text, or JSON of which something is missing.
        return (Answer(), False) if text.startswith("{") else (transcription(text), True)
    return transcription(value if isinstance(value, dict) else text), True


def _of_events(content: bytes) -> tuple[Answer, bool]:
    pieces: list[str] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.startswith("data:"):
            continue
        try:
            event = json.loads(line[5:])
        except ValueError:
            continue
        kind = _field(event, "type")
        if kind == "transcript.text.done":
            return transcription(event), True
        delta = _field(event, "delta")
        if kind == "transcript.text.delta" and isinstance(delta, str):
            pieces.append(delta)
    return Answer("".join(pieces) if pieces else None), False


def _plain(text: str) -> str:
    if "-->" not in text:
        return text.strip()
    return " ".join(
        line for line in text[:_LONGEST].splitlines() if line.strip() and not _NO_WORDS.match(line)
    )


def _field(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _number(value: Any) -> Any:
    if isinstance(value, str):
        # Some versions of the API write durations as texts.
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
