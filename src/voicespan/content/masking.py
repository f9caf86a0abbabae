"""Removes keys and tokens from texts: by their shape, by the name before them, and those that are known.

A text can quote anything: an error message the header that was refused, a function's arguments a whole request. So
every text that is stored passes `without_secrets`, which looks for four things:

1. secrets that this process was given (`know`, and what a conversation keeps of its client);
2. what has the shape of one: `sk-…`, `Bearer …`, a private key;
3. the value under a name that says so, in JSON, in JSON inside of JSON, in a header line, in a URL;
4. the user and password of a URL (both in `named_secrets.py`).

A few plain searches let most texts through before any pattern is tried, and every pattern takes time
that grows no faster than the text.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from voicespan.content.secret_names import MARK, names_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Each secret that is known by its looks has one of these. Each begins with a letter of its own, by which `re` finds
#: the few places where one could be.
_SIGN = re.compile(
    r"earer(?:\s|%20)|EARER(?:\s|%20)|asic |sk[-_]|ek[-_]|rk[-_]|pk[-_]|lsv2_|ls__|xai[-_]|gsk[-_]|AIza|auth_tokens|ya29\.|AQ\.|GOCSPX-|eyJ"
    r"|gh[pousr]_|github_pat_|glpat-|xox|xapp-|hooks\.slack|A[KS]IA|hf_|SK[0-9a-f]|SG\.|whsec_|pplx-|nvapi-|r8_|tvly-"
    r"|npm_|pypi-|dop_v1_|PRIVATE KEY-----|c2st|QUl6Y|bHN2Ml|QmVhcmVy"
)
#: And each sign that matters one of these. One after the other they take less than half
#: of the time that the pattern takes, of whose beginnings half of all letters are one.
_HINTS = (
    "-", "_", "earer", "EARER", "asic ", "hooks.slack", "AIza", "ya29.", "AQ.", "eyJ", "AKIA", "ASIA", "SK", "SG.",
    "c2st", "QUl6Y", "bHN2Ml", "QmVhcmVy",
)  # fmt: skip
_SHAPE = re.compile(
    r"""(?xs)
    # Also behind what JSON and URLs write for a line break or a space.
    (?: (?<![A-Za-z0-9]) | (?<=\\[nrtbf]) | (?<=\\u[0-9a-fA-F]{4}) | (?<=%[0-9a-fA-F]{2}) )
    (?:
        (?:Bearer|BEARER) (?:\s|%20)+ [A-Za-z0-9._~+/=-]{8,}
        | bearer (?:\s|%20)+ (?=[A-Za-z._~+/=-]*[0-9]) [A-Za-z0-9._~+/=-]{8,}
        # Not `Basic understanding`.
        | [Bb]asic\s+ (?= [A-Za-z]*[0-9=+/] | [A-Za-z]*[a-z][A-Z]) [A-Za-z0-9+/=]{8,}
        | (?:sk|ek|pk|rk|lsv2_pt|lsv2_sk|ls_|xai|gsk|whsec|pplx|nvapi|tvly|npm|pypi|dop_v1)[-_][A-Za-z0-9_-]{16,}
        | AIza[0-9A-Za-z_-]{30,} | ya29\.[A-Za-z0-9._-]{20,} | AQ\.[A-Za-z0-9_-]{30,} | GOCSPX-[A-Za-z0-9_-]{16,}
        | auth_tokens(?:\\?/|%2F)[A-Za-z0-9_-]+
        # From the beginning of a run only: each other start would read all the rest of it again.
        | (?<![_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*
        | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
        | xox[abeoprs]-[A-Za-z0-9-]{10,} | xapp-[A-Za-z0-9-]{10,}
        | hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]+ | r8_[A-Za-z0-9]{24,}
        | (?:AKIA|ASIA)[A-Z0-9]{16} | hf_[A-Za-z0-9]{20,} | SK[0-9a-f]{32} | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]+
        # `sk-`, `AIza`, `lsv2_` and `Bearer` in base64.
        | (?:c2st|QUl6Y|bHN2Ml|QmVhcmVy)[A-Za-z0-9+/_-]{16,}={0,2}
    )"""
)

_PRIVATE_KEY = re.compile(
    r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)"
)
#: And each that is known by its name has one of these.
_NAME_SIGN = re.compile(
    r"""(?x)(?:
        authorization | headers | cookies? | key | api[-_]?key\w{0,20} | token | secrets? | passw(?:or)?d | passphrase
        | credentials? | sdp | auth_?config | sig | signature | code | auth | pass | pwd | jwt
    )(?:\\{0,7}["'])?\s{0,8}[:=,] | :// | headers\( | --[\w-]{0,30}?(?:key|token|secret|passw)"""
)
#: Names of headers, and how long a value has to be to count where the name does not say.
_SIGNING = re.compile(r"(?i)auth|key|token|secret|cookie|passw|credential|signature")
_NO_WORD = 24

_DEEPEST = 40
#: Shorter ones are words of every day.
_SHORTEST = 8
_MOST_KNOWN = 64
#: Names and ids that are remembered are no longer.
_LONGEST_NAME = 64

_known: dict[str, tuple[str, ...]] = {}


def know(secrets: Iterable[str]) -> None:
    """Keep these out of every text of this process: its own keys, of no known shape."""
    for secret in secrets:
        if len(secret) >= _SHORTEST and len(_known) < _MOST_KNOWN:
            _known[secret] = spellings(secret)


def spellings(secret: str) -> tuple[str, ...]:
    """How a secret can stand in a text: as it is, in a URL, in JSON, in base64. None if it is a short word."""
    if len(secret) < _SHORTEST:
        return ()
    encoded = base64.b64encode(secret.encode("utf-8", "replace")).decode().rstrip("=")
    written = (secret, quote(secret, safe="", errors="replace"), json.dumps(secret)[1:-1], encoded)
    return tuple(dict.fromkeys(written))


def signing(headers: object) -> list[str]:
    """The secrets among HTTP headers: what stands under such a name, and what is too long to be a word."""
    found = []
    for name, value in dict.items(headers) if isinstance(headers, dict) else ():
        if (
            isinstance(name, str)
            and isinstance(value, str)
            and (_SIGNING.search(name) or len(value) >= _NO_WORD)
        ):
            # Without its scheme: `Bearer`.
            found += [value, value.rpartition(" ")[2]]
    return found


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """`text` with a mark in the place of every secret; `known`: the spellings of more that are known."""
    for written in known:
        if written in text:
            text = text.replace(written, MARK)
    for each in _known.values() if _known else ():
        for written in each:
            if written in text:
                text = text.replace(written, MARK)
    # Names and ids come again and again; a space is in what people say.
    if len(text) <= _LONGEST_NAME and " " not in text:
        return _name_without_secrets(text)
    return _without_strange_secrets(text, 0)


@functools.lru_cache(2_048)
def _name_without_secrets(name: str) -> str:
    return _without_strange_secrets(name, 0)


def _without_strange_secrets(text: str, depth: int) -> str:
    # Most of what people say has neither.
    if (
        ":" in text or "=" in text or '",' in text or "'," in text or "eaders(" in text or "--" in text
    ) and _NAME_SIGN.search(text.lower()):
        # Its patterns take milliseconds to compile, so it is loaded with the first text that needs them.
        from voicespan.content.named_secrets import without_named_secrets  # noqa: PLC0415  as said above

        text = without_named_secrets(text, depth, cleaned)
    if any(map(text.__contains__, _HINTS)) and _SIGN.search(text):
        if "PRIVATE KEY-----" in text:
            text = _PRIVATE_KEY.sub(MARK, text)
        text = _SHAPE.sub(MARK, text)
    return text


def cleaned(value: Any, depth: int) -> Any:
    """A JSON value without secrets; `depth`: how deep it lies in other JSON."""
    if isinstance(value, str):
        return _without_strange_secrets(value, depth) if depth < _DEEPEST else MARK
    if depth >= _DEEPEST and isinstance(value, (dict, list)):
        return MARK
    if isinstance(value, dict):
        return {
            _without_strange_secrets(name, depth): MARK
            if inner not in (None, "") and names_secret(name)
            else cleaned(inner, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [cleaned(inner, depth + 1) for inner in value]
    return value
