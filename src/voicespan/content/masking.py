"""Keys and tokens in texts: what looks like one, what stands where one does, and those that we know.

A text can quote anything: an error the header that was refused, a function's arguments a whole request. So
every text that is stored passes `without_secrets`, which looks for four things:

1. secrets that this process was given (`know`, and what a conversation keeps of its client);
2. what has the shape of one: `sk-…`, `Bearer …`, a private key;
3. the value under a name that says so, in JSON, in JSON inside of JSON, in a header line, in a URL;
4. the user and password of a URL.

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

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What stands in a secret's place.
MARK = "[secret]"

#: Which keys are secrets: not those that a list is sorted by.
_KEYS = "(?:access|private|service|subscription|account|signing|encryption|master|ephemeral)"
_NAMES_SECRET = re.compile(
    rf"""(?ix)^(?:
        .*authorization | .*headers | .*auth[-_]?header | .*cookies? | .*api[-_]?key.* | .*{_KEYS}[-_]?key | .*token
        | .*secret(?:s|[-_]?key|[-_].*)? | .*passw(?:or)?d.* | passphrase | pwd | .*credentials? | jwt | bearer
        | .*(?:access|refresh|auth|session)[-_]?tokens | .*connection[-_]?string
        | (?:api_?)?auth(?:_?config)? | (?:.*_)?sdp
        | (?:new|previous|resumption)_?handle
    )$"""
)
_LONGEST_NAME = 64

#: Each secret that is told by its looks has one of these. Each begins with a letter of its own, by which `re` finds
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
#: And each that is told by its name one of these.
_NAME_SIGN = re.compile(
    r"""(?x)(?:
        authorization | headers | cookies? | key | api[-_]?key\w{0,20} | token | secrets? | passw(?:or)?d | passphrase
        | credentials? | sdp | auth_?config | sig | signature | code | auth | pass | pwd | jwt
    )(?:\\{0,7}["'])?\s{0,8}[:=,] | :// | headers\( | --[\w-]{0,30}?(?:key|token|secret|passw)"""
)
_ENDS = rf"""(?:
    authorization | cookies? | auth | api[-_]?key\w{{0,20}} | {_KEYS}[-_]?key | token
    | secrets?(?:[-_]?key)? | passw(?:or)?d | passphrase | pwd | credentials? )"""
#: Those of them that nobody writes before a colon but for a value: not `The secret: practise`.
_PLAIN_ENDS = rf"""(?:
    authorization | api[-_\ ]?key | cookie | passw(?:or)?d | (?:{_KEYS}|secret)[-_]key
    | (?:access|client|refresh|auth|session|id|api|bearer|webhook)[-_](?:token|secret) )"""
#: A look ahead, which most words do not stand.
_NAMES_SOMETHING = r"(?=[\w-]{1,64}(?:\ key)?\s?[:=])"
_NAME = rf"[\w-]{{0,30}}? {_ENDS}"
#: What stands in one pair of brackets, and in others inside.
_IN_BRACES = r"\{(?:[^{}]|\{[^{}]*\})*(?:\}|\Z)"
_IN_BRACKETS = r"\[(?:[^\[\]]|\[[^\[\]]*\])*(?:\]|\Z)"
_IN_PARENTHESES = r"\((?:[^()]|\([^()]*\))*(?:\)|\Z)"
#: What Python writes before a text: `b'...'`, `SecretStr('...')`.
_PREFIX = r"""(?:[bru]{1,2}(?=\\{0,7}["'])|\w{1,20}\((?=\\{0,7}["']))"""
#: A text in quotes (of which JSON inside of JSON escapes each one), or a word, with the scheme before it.
_VALUE = r"""(?:{prefix})? (?: "(?:[^"\\]|\\.)*(?:"|\Z) | '(?:[^'\\]|\\.)*(?:'|\Z)
    | (?P<d{n}>\\{{1,7}}["'])(?:(?!(?P=d{n})).)*(?:(?P=d{n})|\Z)
    | (?:(?:Bearer|Basic|Token|Digest)\s+)? [^\s"',;&(){{}}\[\]\\]+ )"""
#: `"name": value`, also where the quotes are escaped, in JSON and in what Python prints.
_QUOTED = re.compile(
    rf"""(?isx)(?P<before>(?P<q>\\{{0,7}}["']){_NAME}(?P=q)\s{{0,8}}(?:[:=]>?|,)\s{{0,8}})
    (?: {_IN_BRACES} | {_IN_BRACKETS} | {_VALUE.format(n=1, prefix=_PREFIX)} )"""
)
#: `name=value`, and a header's line. A colon alone is what people write as well: `The secret: practise`.
_BARE = re.compile(
    rf"""(?isx)(?P<before>(?<![\w-])(?:
        {_NAMES_SOMETHING} [\w-]{{0,30}}? (?: {_ENDS} \s?(?:=>?|:=)\s? | {_PLAIN_ENDS} \s?:\s? )
        | x-[\w-]{{0,30}}(?:key|token|secret) \s?:\s?
        | --[\w-]{{0,30}}?(?:key|token|secret|passw(?:or)?d) \s (?=\S{{8}})
        | (?<=[?&;])(?:key|[\w-]{{0,20}}sig(?:nature)?|code|auth|pass|jwt)=
    )){_VALUE.format(n=2, prefix=_PREFIX)}"""
)
#: Headers of which all that follows on the line is meant.
_LINE = re.compile(
    rf"""(?ix)(?P<before>(?<![\w-]) {_NAMES_SOMETHING}
        (?: (?:set-)?cookie\s?:\s? | [\w-]{{0,30}}?authorization\s?:\s?(?=digest|aws4|hmac|signature|oauth) )
    ) [^\r\n]+?(?=\\[rn]|[\r\n]|\Z)"""
)
#: `headers={...}` outside of JSON that can be read.
_HEADERS = re.compile(
    rf"""(?isx)(?P<before>(?<![A-Za-z0-9])[\w-]{{0,30}}?headers
        (?: \\{{0,7}}["']?\s{{0,8}}[:=]\s{{0,8}} (?:\w{{0,20}}\()? | \( )
    ) (?: {_IN_BRACES} | {_IN_BRACKETS} | {_IN_PARENTHESES} )"""
)
_OPENING = re.compile(rf"(?i)(?:{_PREFIX})?(\\{{0,7}}[\"'])")
# Up to the last `@`: a password can have one.
_USER_INFO = re.compile(r"(?<=://)[^\s/?#\"'\\]*@")

#: Names of headers, and how long a value is that no name tells of.
_SIGNING = re.compile(r"(?i)auth|key|token|secret|cookie|passw|credential|signature")
_NO_WORD = 24

_DEEPEST = 40
#: Shorter ones are words of every day.
_SHORTEST = 8
_MOST_KNOWN = 64

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


@functools.lru_cache(4_096)
def _is_secret_name(name: str) -> bool:
    return _NAMES_SECRET.match(name) is not None


def names_secret(name: str) -> bool:
    """Whether what stands under this name in an object is a secret."""
    # Longer ones are somebody's words, and not worth the memory.
    return len(name) <= _LONGEST_NAME and _is_secret_name(name)


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
    return _without_strange_secrets(text, 0)


def _without_strange_secrets(text: str, depth: int) -> str:
    # Most of what people say has neither.
    if (
        ":" in text or "=" in text or '",' in text or "'," in text or "eaders(" in text or "--" in text
    ) and _NAME_SIGN.search(text.lower()):
        text = _without_named_secrets(text, depth)
    if any(map(text.__contains__, _HINTS)) and _SIGN.search(text):
        if "PRIVATE KEY-----" in text:
            text = _PRIVATE_KEY.sub(MARK, text)
        text = _SHAPE.sub(MARK, text)
    return text


def _without_named_secrets(text: str, depth: int) -> str:
    if text.lstrip()[:1] in ("{", "["):
        # Read, where it can be: what stands under such a name can be an object of any names.
        try:
            value = json.loads(text)
            cleaned = _cleaned(value, depth + 1)
        except (ValueError, RecursionError):
            pass
        else:
            return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)
    if "://" in text:
        text = _USER_INFO.sub(f"{MARK}@", text)
    lowered = text.lower()
    if "cookie" in lowered or "authorization" in lowered:
        text = _LINE.sub(_marked, text)
    for pattern in (_HEADERS, _QUOTED, _BARE):
        text = pattern.sub(_marked, text)
    return text


def _marked(found: re.Match[str]) -> str:
    before, value = found["before"], found[0][len(found["before"]) :]
    opening = _OPENING.match(value)
    # The text around it stays readable, as JSON too.
    quotes = opening[1] if opening else ""
    return f"{before}{quotes}{MARK}{quotes}"


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _without_strange_secrets(value, depth) if depth < _DEEPEST else MARK
    if depth >= _DEEPEST and isinstance(value, (dict, list)):
        return MARK
    if isinstance(value, dict):
        return {
            _without_strange_secrets(name, depth): MARK
            if inner not in (None, "") and names_secret(name)
            else _cleaned(inner, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(inner, depth + 1) for inner in value]
    return value
