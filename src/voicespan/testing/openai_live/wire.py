"""What crosses the wire: JSON, base64 and the audio formats."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from voicespan.testing._speech import Format
from voicespan.testing.openai_realtime.rejected import Rejected, required
from voicespan.testing.openai_realtime.session import FORMATS

_PCM_16K = Format("pcm16", 32, b"\0")


def parsed(frame: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(frame)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def encoded(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def decoded(event: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(required(event, "audio", str), validate=True)
    except binascii.Error:
        raise Rejected("invalid_value", "'audio' is no base64", "audio") from None


def encoding(given: Any) -> Format:
    """Rate and encoding of both ways."""
    named = given if isinstance(given, dict) else {}
    kind, rate = named.get("type", "audio/pcm"), named.get("rate", 24000)
    if kind not in FORMATS or (kind == "audio/pcm" and rate not in (16000, 24000)):
        raise Rejected("invalid_value", f"There is no format {kind} at {rate} Hz.", "session.audio.format")
    return _PCM_16K if kind == "audio/pcm" and rate == 16000 else FORMATS[kind]  # noqa: PLR2004
