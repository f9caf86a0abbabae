"""Cuts what is too long: JSON inside its structure, so that it stays JSON, and texts with a mark where they were cut."""

from __future__ import annotations

import json
import json.encoder
from itertools import islice
from typing import TYPE_CHECKING, Any

from voicespan.content.frame_copy import DEEPEST, plain, plain_key
from voicespan.protocol.json_values import encodable
from voicespan.runtime.settings import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: A longer key is cut.
_LONGEST_KEY = 256
#: Tried one after the other until the JSON fits: characters of a text, members of a list.
_CUT_STEPS = ((16_000, 200), (4_000, 100), (1_000, 50), (250, 20), (60, 8), (20, 3))


def encode(value: Any, limit: int) -> str:
    """JSON of `value` in at most `limit` bytes of UTF-8, cut inside its structure and marked where it was."""
    text = _dumps(value)
    if text is None:
        # Arguments, as a model wrote them, are any JSON: NaN, numbers without an end, as deep as can be.
        value = _Shorter(NO_LIMIT, NO_LIMIT, NO_LIMIT).of(value)
        text = _dumps(value) or "{}"
    size = size_of(text)
    if size <= limit:
        return text
    for longest_text, longest_list in _CUT_STEPS:
        try:
            shorter = _Shorter(min(longest_text, limit), longest_list, limit).of(value)
        except _TooLongError:
            continue
        text = _dumps(shorter) or "{}"
        if size_of(text) <= limit:
            return text
    return json.dumps({"cut": f"{size} bytes"})[: max(limit, 2)]


def cut_text(text: str, limit: int) -> str:
    """`text` in at most `limit` characters (or what the mark itself takes), marked where it was cut."""
    if len(text) <= limit:
        return text
    mark = f"… [{len(text) - limit} characters cut]"
    return text[: max(limit - len(mark), 0)] + mark


#: Made once: to make one takes as long as to encode a message.
_JSON = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    # What holds itself is found out by its depth, and what is cut afterwards by ours.
    check_circular=False,
    separators=(",", ":"),
    default=lambda odd: f"[{type(odd).__name__}]",
)


# What `_JSON.encode` makes for each value anew, which takes longer than to encode a message. None without C.
_make_encoder = getattr(json.encoder, "c_make_encoder", None)
_pieces: Callable[[Any, int], tuple[str, ...]] | None = _make_encoder and _make_encoder(
    None,
    _JSON.default,
    json.encoder.encode_basestring,
    None,
    _JSON.key_separator,
    _JSON.item_separator,
    _JSON.sort_keys,
    _JSON.skipkeys,
    _JSON.allow_nan,
)


def _dumps(value: Any) -> str | None:
    """Strict JSON; None where there is none of this value."""
    try:
        text = _JSON.encode(value) if _pieces is None else "".join(_pieces(value, 0))
    except (ValueError, TypeError, RecursionError):
        return None
    return encodable(text)


def size_of(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class _TooLongError(Exception):
    """What is left cannot fit any more."""


class _Shorter:
    """Makes a copy with shorter texts and lists.

    It gives up as soon as the copy cannot fit: else a structure of many small values would be copied whole for
    each of the steps, while the application waits.
    """

    def __init__(self, longest_text: int, longest_list: int, limit: int) -> None:
        self._longest_text = longest_text
        self._longest_list = longest_list
        #: Characters of JSON that are left, of which every value takes at least one.
        self._room = limit

    def of(self, value: Any, depth: int = 0) -> Any:
        """Raises _TooLongError: the copy has more characters than the limit."""
        if isinstance(value, (dict, list)):
            if depth > DEEPEST:
                return self._text("[deeper]")
            return self._object(value, depth + 1) if isinstance(value, dict) else self._list(value, depth + 1)
        if isinstance(value, str):
            return self._text(value)
        self._take(1)
        return plain(value)

    def _object(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        most = min(2 * self._longest_list, len(value))
        kept = {
            self._text(plain_key(key)): self.of(inner, depth) for key, inner in islice(value.items(), most)
        }
        if most < len(value):
            kept["…"] = f"{len(value) - most} more"
        return kept

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        longest = self._longest_list
        if len(value) <= longest:
            return [self.of(inner, depth) for inner in value]
        head, tail = longest - longest // 2, longest // 2
        mark = f"… [{len(value) - head - tail} of {len(value)} left out]"
        middle = _marked(value[0], mark)
        return [
            *(self.of(inner, depth) for inner in value[:head]),
            middle,
            *(self.of(inner, depth) for inner in value[len(value) - tail :]),
        ]

    def _text(self, text: str) -> str:
        cut = cut_text(text, self._longest_text)
        self._take(len(cut) + 2)
        return cut

    def _take(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            raise _TooLongError


def _marked(first: Any, mark: str) -> Any:
    """What stands for the members of a list that were left out: one like its `first`."""
    if not isinstance(first, dict):
        return mark
    if "role" in first and "parts" in first:
        reason = {"finish_reason": ""} if "finish_reason" in first else {}
        return {"role": "system", "parts": [{"type": "text", "content": mark}], **reason}
    if "role" in first:
        return {"role": "system", "content": mark}
    return {"type": "text", "content": mark} if first.get("type") == "text" else mark


#: One fact is a name, an id, a number; what is longer is content.
_FACT_BYTES = 4_000


def metadata(facts: Mapping[str, Any], limit: int = _FACT_BYTES) -> dict[str, str | bool | int | float]:
    """The facts that are known, as attribute values: scalars typed, structures as JSON, none too long."""
    limit = min(limit, _FACT_BYTES)
    return {
        # Nearly every key is one of ours.
        key if type(key) is str and len(key) <= _LONGEST_KEY and key.isascii() else _key(key): _attribute(
            fact, limit
        )
        for key, fact in facts.items()
        if fact is not None
    }


def _key(key: str) -> str:
    return cut_text(encodable(key), _LONGEST_KEY)


def _attribute(fact: Any, limit: int) -> str | bool | int | float:
    if isinstance(fact, str):
        return cut_text(encodable(fact), limit)
    if isinstance(fact, (bool, int, float)):
        scalar: str | bool | int | float = plain(fact)
        return scalar
    return encode(fact, limit)
