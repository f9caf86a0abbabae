"""The copy of a frame that is stored: its shape, without audio, pictures and secrets, every text as it may be kept.

What an application gives can be of any subclass, which may answer as it likes: the methods of the plain
types are asked instead. However large a frame is, the copy is made in bounded time.
"""

from __future__ import annotations

import functools
import math
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from voicespan.content import kinds
from voicespan.content.masking import without_secrets
from voicespan.content.secret_names import MARK, names_secret
from voicespan.protocol.json_values import encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_AUDIO = frozenset({"audio", "delta", "data"})
_AUDIO_MINIMUM = 64
DEEPEST = 24
#: Of one frame so many values are looked at: more do not fit into a span, however small they are.
_MOST_VALUES = 10_000
#: Of an integer that fits into an attribute, beside its sign; and of one that is still worth its digits.
_INTEGER_BITS = 63
_MOST_BITS = 256
_LONGEST_NAME = 1_000
_SCALARS = (bool, int)
_SMALL = 1 << 53
#: Nearly every key and most names are: too short for a secret.
_SHORT = 12
#: Longer ones are not worth the memory.
_LONGEST_KEY = 64
#: Addresses of tool servers: some have the key in their path.
_ADDRESSES = frozenset({"server_url", "serverUrl"})


#: How certain the service is of each piece of a word. The pieces themselves are the text once more, in letters and
#: in the numbers of its bytes, where no redaction would know them.
_LOG_PROBABILITIES = "logprobs"
_MOST_PROBABILITIES = 1_000


class FrameCopy:
    """Makes one copy."""

    def __init__(
        self, stored: Callable[[str, str | None], str], hidden: frozenset[str | None] = frozenset()
    ) -> None:
        """`stored`: what may be kept of a text of a kind (see `voicespan.content.kinds`).

        `hidden`: the kinds of which nothing is, no number either.
        """
        self._stored = stored
        self._hidden = hidden
        self._values_left = _MOST_VALUES

    def of(self, value: Any, *, key: str | None = None, kind: str | None = None, free: bool = False) -> Any:
        """The copy of `value`, which stands under `key`; `free`: all keys in it are somebody's own."""
        if key is not None and names_secret(key) and not _is_empty(value):
            return MARK
        return self._value(value, key, kind, 0, free=free)

    def _value(self, value: Any, key: str | None, kind: str | None, depth: int, *, free: bool) -> Any:
        if isinstance(value, str):
            text = str.__str__(value)
            return self._stored(text, kind) if free else self._text(text, key, kind)
        if isinstance(value, (dict, list, tuple)):
            if key == _LOG_PROBABILITIES and not free:
                return [_probability(each) for each in _members(value, _MOST_PROBABILITIES)[0]]
            if depth >= DEEPEST:
                return "[deeper]"
            # Few objects that hold each other are endlessly many values: each counts as often as it is met.
            room = max(self._values_left, 0)
            members: Any
            if type(value) is dict and len(value) <= room:  # nearly every one
                members, more = value.copy(), 0
            else:
                members, more = _members(value, room)
            self._values_left -= len(members) + more
            if isinstance(value, dict):
                return self._object(dict(members), key, kind, depth + 1, more, free=free)
            copies = [self._value(inner, key, kind, depth + 1, free=free) for inner in members]
            return [*copies, f"… [{more} more]"] if more else copies
        return self._scalar(value, key, kind, free=free)

    def _scalar(self, value: Any, key: str | None, kind: str | None, *, free: bool) -> Any:
        is_content = free or kinds.is_content(key, kind)
        return None if is_content and kind in self._hidden and not isinstance(value, bool) else plain(value)

    def _object(
        self, members: dict[Any, Any], key: str | None, kind: str | None, depth: int, more: int, *, free: bool
    ) -> dict[str, Any]:
        if not free:
            kind = kinds.of_object(members, kind)
        # The parameters of a function can be called `token`, and are no secret.
        are_parameters = key == "properties" and kind == kinds.PROGRAM
        copy: dict[str, Any] = {}
        for given, inner in members.items():
            name = given if type(given) is str and given.isascii() else plain_key(given)
            known, is_secret = _key(name) if len(name) <= _LONGEST_KEY else _key.__wrapped__(name)
            shown = self._stored(name, kind) if free or known is None else known
            if is_secret and not _is_empty(inner) and not (are_parameters and isinstance(inner, dict)):
                copy[shown] = MARK
            elif inner is None or (not self._hidden and type(inner) in _SCALARS and -_SMALL < inner < _SMALL):
                # As `_scalar` would give it: half of all values are such.
                copy[shown] = inner
            elif free:
                copy[shown] = self._value(inner, name, kind, depth, free=True)
            else:
                of, is_free = kinds.of_member(name, inner, kind)
                copy[shown] = (
                    self._text(inner, name, of)
                    if type(inner) is str and not is_free
                    else self._value(inner, name, of, depth, free=is_free)
                )
        if more:
            copy["…"] = f"{more} more"
        return copy

    def _text(self, text: str, key: str | None, kind: str | None) -> str:
        if key in _AUDIO and len(text) >= _AUDIO_MINIMUM and " " not in text and text.isascii():
            return f"[audio, {len(text) * 3 // 4} bytes]"
        if text.startswith("data:") and (comma := text.find(",", 0, 200)) >= 0:
            return f"[{text[5:comma].partition(';')[0]}, {len(text) * 3 // 4} bytes]"
        if key in _ADDRESSES or (key == "url" and kind == kinds.PROGRAM):
            return _origin(text)
        if key is not None and len(text) <= _LONGEST_NAME and kinds.is_name(key, text, kind):
            return text if len(text) <= _SHORT else encodable(without_secrets(text))
        return self._stored(text, kind)


@functools.lru_cache(4_096)
def _key(name: str) -> tuple[str | None, bool]:
    """What is shown of a service's key, None: it is somebody's words; and whether a secret stands under it.

    Asked for each value, while there are some hundred keys.
    """
    shown = None if not kinds.is_key(name) else name if len(name) <= _SHORT else without_secrets(name)
    return shown, names_secret(name)


def _members(structure: dict[Any, Any] | list[Any] | tuple[Any, ...], most: int) -> tuple[list[Any], int]:
    """The first elements, or keys with their values, and how many more there are.

    At once: another thread may be changing them.
    """
    members: Iterable[Any]
    if isinstance(structure, dict):
        members, length = dict.items(structure), dict.__len__(structure)
    elif isinstance(structure, list):
        members, length = list.__iter__(structure), list.__len__(structure)
    else:
        members, length = tuple.__iter__(structure), tuple.__len__(structure)
    first = list(islice(members, most))
    return first, max(length - len(first), 0)


def _is_empty(value: Any) -> bool:
    # Not asked of the value: what an application gives may not like to be compared.
    return value is None or (isinstance(value, str) and not str.__len__(value))


def _probability(entry: Any) -> Any:
    number = dict.get(entry, "logprob") if isinstance(entry, dict) else None
    return plain(number) if isinstance(number, (int, float)) else None


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return MARK
    return f"{parts.scheme}://{parts.hostname or ''}{port}" + (
        "/…" if parts.path.strip("/") or parts.query else ""
    )


def plain_key(name: Any) -> str:
    """An object's key, as JSON can have it."""
    return encodable(str.__str__(name)) if isinstance(name, str) else str(plain(name))


def plain(value: Any) -> Any:
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
