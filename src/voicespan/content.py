"""What may be stored of what crossed the wire, and in which form.

Three things happen to every content before it stands on a span: secrets and audio are taken out, the
texts pass the user's switches and redaction, and what is too long is cut inside its structure, never in
the middle of its JSON.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from voicespan import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicespan.settings import Settings

WITHHELD = "[withheld]"
_SECRET = "[secret]"  # noqa: S105  what stands in a secret's place

#: Keys whose values are secrets wherever they stand in a session or a tool (MCP servers take headers
#: and tokens, a session carries ephemeral keys, and who has its resumption handle can take it up).
_SECRET_KEY = re.compile(
    r"^(authorization|headers|api[-_]?key|x-api-key|.*secret.*|.*password.*|(access|bearer|auth|refresh|id|ephemeral)?"
    r"[-_]?token|credentials?|.*[-_](api[-_]?key|access[-_]token)|new_?handle)$",
    re.IGNORECASE,
)
#: And values that are secrets wherever they stand.
_SECRET_VALUE = re.compile(
    r"(?:\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\b(?:sk|ek|pk|rk|lsv2_pt|lsv2_sk|xai|gsk)[-_][A-Za-z0-9_-]{16,}"
    r"|\bAIza[0-9A-Za-z_-]{30,}"
    r"|\bauth_tokens/[A-Za-z0-9_-]+"
    r"|\bya29\.[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*)"
)
#: Every secret value above holds one of these, so most texts are let through after a few quick looks.
_SECRET_SIGNS = (
    "earer ",
    "asic ",
    "sk-",
    "sk_",
    "ek_",
    "ek-",
    "pk_",
    "rk_",
    "lsv2_",
    "xai-",
    "gsk_",
    "AIza",
    "auth_tokens/",
    "ya29.",
    "eyJ",
)
#: Where a frame holds names and ids instead of somebody's words. Every other text passes the redaction.
_SHAPE_KEYS = frozenset({
    "type", "id", "object", "status", "role", "model", "voice", "name", "code", "reason", "format", "language", "param",
    "mime_type", "mimeType", "modality", "modalities", "output_modalities", "responseModalities", "tool_choice", "truncation",
    "eagerness", "server_label", "include", "purpose", "required", "max_output_tokens", "max_response_output_tokens",
    "input_audio_format", "output_audio_format", "event", "phase", "effort", "timeLeft", "vadSignalType",
})  # fmt: skip
_AUDIO_KEYS = frozenset({"audio", "delta", "data"})
_AUDIO_MINIMUM = 64
_DEEPEST = 24
_CUT_STEPS = ((16_000, 200), (4_000, 100), (1_000, 50), (250, 20), (60, 8), (20, 3))


def without_secrets(text: str) -> str:
    """`text` with everything that looks like a key or a token replaced."""
    if any(sign in text for sign in _SECRET_SIGNS):
        return _SECRET_VALUE.sub(_SECRET, text)
    return text


class Content:
    """Applies one conversation's settings to what it stores."""

    def __init__(self, settings: Settings) -> None:
        self._redact = settings.redact
        self.captured = settings.capture_content

    def text(self, text: str | None, *, role: str, place: str) -> str | None:
        """What may be stored of one text: "" where content is not captured, None where there is none."""
        if text is None:
            return None
        if not self.captured:
            return ""
        text = without_secrets(text)
        if self._redact is None or not text:
            return text
        try:
            redacted = self._redact(text, role=role, place=place)
        except Exception as error:  # noqa: BLE001  the hook is the user's; what it could not redact is withheld
            guard.report(error, ours=False)
            return WITHHELD
        return redacted if isinstance(redacted, str) else WITHHELD

    def facts(self, facts: Mapping[str, Any], limit: int) -> dict[str, str | bool | int | float]:
        """The application's own metadata, as attribute values: redacted like every text, without secrets."""
        return metadata(
            {key: self._clean({key: fact}, "system", None, 0)[key] for key, fact in facts.items()}, limit
        )

    def frame(self, frame: Any, *, role: str) -> Any:
        """A frame without audio, secrets and what the settings hold back; the shape stays."""
        return self._clean(frame, role, None, 0)

    def _clean(self, value: Any, role: str, key: str | None, depth: int) -> Any:
        if isinstance(value, str):
            return self._clean_text(value, role, key)
        if isinstance(value, (dict, list, tuple)):
            return "[deeper]" if depth >= _DEEPEST else self._clean_structure(value, role, key, depth + 1)
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        return f"[{type(value).__name__}]"

    def _clean_structure(
        self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], role: str, key: str | None, depth: int
    ) -> Any:
        if not isinstance(value, dict):
            return [self._clean(inner, role, key, depth) for inner in value]
        return {
            name: _SECRET
            if inner not in (None, "") and _SECRET_KEY.match(name)
            else self._clean(inner, role, name, depth)
            for name, inner in ((str(name), inner) for name, inner in value.items())
        }

    def _clean_text(self, value: str, role: str, key: str | None) -> str:
        if key in _AUDIO_KEYS and len(value) >= _AUDIO_MINIMUM and " " not in value:
            return f"[audio, {len(value) * 3 // 4} bytes]"
        if key in _SHAPE_KEYS or (key is not None and key.endswith(("_id", "Id"))):
            return cut_text(without_secrets(value), 1_000)
        return self.text(value, role=role, place="event") or ""


def encode(value: Any, limit: int) -> str:
    """JSON of `value` in at most `limit` bytes of UTF-8, cut inside its structure and marked where it was."""
    text = _dumps(value)
    if _size(text) <= limit:
        return text
    for longest_text, longest_list in _CUT_STEPS:
        text = _dumps(_shorten(value, min(longest_text, limit), longest_list, 0))
        if _size(text) <= limit:
            return text
    return _dumps({"cut": f"{_size(_dumps(value))} bytes"})[: max(limit, 2)]


def cut_text(text: str, limit: int) -> str:
    """`text` in at most `limit` characters (or what the mark itself takes), marked where it was cut."""
    if len(text) <= limit:
        return text
    mark = f"… [{len(text) - limit} characters cut]"
    return text[: max(limit - len(mark), 0)] + mark


def _dumps(value: Any) -> str:
    text = json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), default=lambda odd: f"[{type(odd).__name__}]"
    )
    # A lone surrogate is legal JSON when escaped but cannot be encoded as UTF-8.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return json.dumps(value, separators=(",", ":"), default=lambda odd: f"[{type(odd).__name__}]")
    return text


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _shorten(value: Any, longest_text: int, longest_list: int, depth: int) -> Any:
    if isinstance(value, str):
        return cut_text(value, longest_text)
    if isinstance(value, dict):
        items = list(value.items())
        kept = {
            cut_text(str(key), longest_text): _shorten(inner, longest_text, longest_list, depth + 1)
            for key, inner in items[: 2 * longest_list]
        }
        if len(items) > 2 * longest_list:
            kept["…"] = f"{len(items) - 2 * longest_list} more"
        return kept
    if isinstance(value, list):
        if len(value) <= longest_list:
            return [_shorten(inner, longest_text, longest_list, depth + 1) for inner in value]
        head, tail = longest_list - longest_list // 2, longest_list // 2
        mark = f"… [{len(value) - head - tail} of {len(value)} left out]"
        messages = isinstance(value[0], dict) and "role" in value[0]
        middle = {"role": "system", "content": mark} if messages else mark
        return [
            *(_shorten(inner, longest_text, longest_list, depth + 1) for inner in value[:head]),
            middle,
            *(_shorten(inner, longest_text, longest_list, depth + 1) for inner in value[len(value) - tail :]),
        ]
    return value


#: One fact is a name, an id, a number; what is longer is content.
_FACT_BYTES = 4_000


def metadata(facts: Mapping[str, Any], limit: int = _FACT_BYTES) -> dict[str, str | bool | int | float]:
    """The facts that are known, as attribute values: scalars typed, structures as JSON, none too long."""
    limit = min(limit, _FACT_BYTES)
    return {key: _attribute(fact, limit) for key, fact in facts.items() if fact is not None}


def _attribute(fact: Any, limit: int) -> str | bool | int | float:
    if isinstance(fact, str):
        return cut_text(_encodable(fact), limit)
    if isinstance(fact, (bool, int)):
        return fact
    if isinstance(fact, float):
        return fact if math.isfinite(fact) else str(fact)
    return encode(fact, limit)


def _encodable(text: str) -> str:
    """Without lone surrogates, which no exporter can encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
