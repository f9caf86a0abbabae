"""Finds secrets by the name under which they stand: in JSON, in a header line, in a URL.

Loaded with the first text that may have one, or with what delivers: a process that holds no conversation need not wait
for these patterns, which take milliseconds to compile.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from voicespan.content.secret_names import KEYS, MARK

if TYPE_CHECKING:
    from collections.abc import Callable

_ENDS = rf"""(?:
    authorization | cookies? | auth | api[-_]?key\w{{0,20}} | {KEYS}[-_]?key | token
    | secrets?(?:[-_]?key)? | passw(?:or)?d | passphrase | pwd | credentials? )"""
#: Those of them that nobody writes before a colon but for a value: not `The secret: practise`.
_PLAIN_ENDS = rf"""(?:
    authorization | api[-_\ ]?key | cookie | passw(?:or)?d | (?:{KEYS}|secret)[-_]key
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


def without_named_secrets(text: str, depth: int, clean: Callable[[Any, int], Any]) -> str:
    """`text` with a mark in place of each value that stands under such a name.

    Args:
        text: Any text; one that is JSON as a whole is read as JSON.
        depth: How deep the text lies in other JSON.
        clean: Returns a JSON value that lies so deep without its secrets.
    """
    if text.lstrip()[:1] in ("{", "["):
        # Read, where it can be: what stands under such a name can be an object of any names.
        try:
            value = json.loads(text)
            without = clean(value, depth + 1)
        except (ValueError, RecursionError):
            pass
        else:
            return text if without == value else json.dumps(without, ensure_ascii=False)
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
