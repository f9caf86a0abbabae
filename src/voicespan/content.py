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
from voicespan.fields import encodable
from voicespan.settings import NO_LIMIT

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
    # From the beginning of a run only: each other start would read all the rest of it again.
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*)"
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
#: Of one frame so many values are looked at: more do not fit into a span, however small they are.
_MOST_VALUES = 40_000
#: A key that is longer than this names nothing.
_LONGEST_KEY = 256
#: Of an integer that fits into an attribute, beside its sign; and of one that is still worth its digits.
_INTEGER_BITS = 63
_MOST_BITS = 256
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
        self._values_left = 0
        self.captured = settings.capture_content

    def text(self, text: str | None, *, role: str, place: str) -> str | None:
        """What may be stored of one text: "" where content is not captured, None where there is none."""
        if text is None:
            return None
        if not self.captured:
            return ""
        text = without_secrets(text)
        if self._redact is None or not text:
            return encodable(text)
        try:
            redacted = self._redact(text, role=role, place=place)
        except Exception as error:  # noqa: BLE001  the hook is the user's; what it could not redact is withheld
            guard.report(error, ours=False)
            return WITHHELD
        return encodable(redacted) if isinstance(redacted, str) else WITHHELD

    def facts(self, facts: Mapping[str, Any], limit: int) -> dict[str, str | bool | int | float]:
        """The application's own metadata, as attribute values: redacted like every text, without secrets."""
        return metadata({key: self._fact(key, fact) for key, fact in facts.items()}, limit)

    def _fact(self, key: str, fact: Any) -> Any:
        self._values_left = _MOST_VALUES
        return _SECRET if _names_secret(key, fact) else self._clean(fact, "system", key, 1)

    def frame(self, frame: Any, *, role: str) -> Any:
        """A frame without audio, secrets and what the settings hold back; the shape stays."""
        self._values_left = _MOST_VALUES
        return self._clean(frame, role, None, 0)

    def _clean(self, value: Any, role: str, key: str | None, depth: int) -> Any:
        # What an application gives can be of any subclass, which may answer as it likes: the methods of
        # the plain types are asked instead.
        if isinstance(value, str):
            return self._clean_text(str.__str__(value), role, key)
        if isinstance(value, (dict, list, tuple)):
            return "[deeper]" if depth >= _DEEPEST else self._clean_structure(value, role, key, depth + 1)
        return _plain(value)

    def _clean_structure(
        self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], role: str, key: str | None, depth: int
    ) -> Any:
        # Few objects that hold each other are endlessly many values: each counts as often as it is met.
        room = max(self._values_left, 0)
        self._values_left -= len(value)
        if isinstance(value, dict):
            named = ((_key(name), inner) for name, inner in list(dict.items(value))[:room])
            cleaned = {
                name: _SECRET if _names_secret(name, inner) else self._clean(inner, role, name, depth)
                for name, inner in named
            }
            if len(value) > room:
                cleaned["…"] = f"{len(value) - room} more"
            return cleaned
        elements = list(value[:room])
        return [
            *(self._clean(inner, role, key, depth) for inner in elements),
            *([f"… [{len(value) - room} more]"] if len(value) > room else []),
        ]

    def _clean_text(self, value: str, role: str, key: str | None) -> str:
        if key in _AUDIO_KEYS and len(value) >= _AUDIO_MINIMUM and " " not in value:
            return f"[audio, {len(value) * 3 // 4} bytes]"
        if key in _SHAPE_KEYS or (key is not None and key.endswith(("_id", "Id"))):
            return cut_text(without_secrets(value), 1_000)
        return self.text(value, role=role, place="event") or ""


def _names_secret(key: str, value: Any) -> bool:
    # Whether it is empty is not asked of the value: what an application gives may not like to be compared.
    empty = value is None or (isinstance(value, str) and not str.__len__(value))
    return not empty and len(key) <= _LONGEST_KEY and _SECRET_KEY.match(key) is not None


def _key(name: Any) -> str:
    return encodable(str.__str__(name)) if isinstance(name, str) else str(_plain(name))


def _plain(value: Any) -> Any:
    """A value that is no text and no structure, as JSON and attributes can have it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        bits = int.bit_length(value)
        if bits <= _INTEGER_BITS:
            return int.__int__(value)
        return int.__repr__(value) if bits <= _MOST_BITS else f"[integer of {bits} bits]"
    if isinstance(value, float):
        return float.__float__(value) if math.isfinite(value) else float.__repr__(value)
    return f"[{type(value).__name__}]"


def encode(value: Any, limit: int) -> str:
    """JSON of `value` in at most `limit` bytes of UTF-8, cut inside its structure and marked where it was."""
    text = _dumps(value)
    if text is None:
        # Arguments, as a model wrote them, are any JSON: NaN, numbers without an end, as deep as can be.
        value = _shorten(value, NO_LIMIT, NO_LIMIT, 0)
        text = _dumps(value) or "{}"
    size = _size(text)
    if size <= limit:
        return text
    for longest_text, longest_list in _CUT_STEPS:
        text = _dumps(_shorten(value, min(longest_text, limit), longest_list, 0)) or "{}"
        if _size(text) <= limit:
            return text
    return json.dumps({"cut": f"{size} bytes"})[: max(limit, 2)]


def cut_text(text: str, limit: int) -> str:
    """`text` in at most `limit` characters (or what the mark itself takes), marked where it was cut."""
    if len(text) <= limit:
        return text
    mark = f"… [{len(text) - limit} characters cut]"
    return text[: max(limit - len(mark), 0)] + mark


def _dumps(value: Any) -> str | None:
    """Strict JSON; None where there is none of this value."""
    try:
        text = json.dumps(
            value,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
            default=lambda odd: f"[{type(odd).__name__}]",
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return encodable(text)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _shorten(value: Any, longest_text: int, longest_list: int, depth: int) -> Any:
    if isinstance(value, str):
        return cut_text(value, longest_text)
    if isinstance(value, (dict, list)) and depth > _DEEPEST:
        return "[deeper]"
    if isinstance(value, dict):
        items = list(value.items())
        kept = {
            cut_text(_key(key), longest_text): _shorten(inner, longest_text, longest_list, depth + 1)
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
    return _plain(value)


#: One fact is a name, an id, a number; what is longer is content.
_FACT_BYTES = 4_000


def metadata(facts: Mapping[str, Any], limit: int = _FACT_BYTES) -> dict[str, str | bool | int | float]:
    """The facts that are known, as attribute values: scalars typed, structures as JSON, none too long."""
    limit = min(limit, _FACT_BYTES)
    return {
        cut_text(encodable(key), _LONGEST_KEY): _attribute(fact, limit)
        for key, fact in facts.items()
        if fact is not None
    }


def _attribute(fact: Any, limit: int) -> str | bool | int | float:
    if isinstance(fact, str):
        return cut_text(encodable(fact), limit)
    if isinstance(fact, (bool, int, float)):
        plain: str | bool | int | float = _plain(fact)
        return plain
    return encode(fact, limit)
