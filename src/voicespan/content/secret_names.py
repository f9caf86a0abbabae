"""Names under which secrets stand: `api_key`, `Authorization`, `password`."""

from __future__ import annotations

import functools
import re

#: What stands in a secret's place.
MARK = "[secret]"

#: Which keys are secrets: not those that a list is sorted by.
KEYS = "(?:access|private|service|subscription|account|signing|encryption|master|ephemeral)"
_NAMES_SECRET = re.compile(
    rf"""(?ix)^(?:
        .*authorization | .*headers | .*auth[-_]?header | .*cookies? | .*api[-_]?key.* | .*{KEYS}[-_]?key | .*token
        | .*secret(?:s|[-_]?key|[-_].*)? | .*passw(?:or)?d.* | passphrase | pwd | .*credentials? | jwt | bearer
        | .*(?:access|refresh|auth|session)[-_]?tokens | .*connection[-_]?string
        | (?:api_?)?auth(?:_?config)? | (?:.*_)?sdp
        | (?:new|previous|resumption)_?handle
    )$"""
)
_LONGEST_NAME = 64


@functools.lru_cache(4_096)
def _is_secret_name(name: str) -> bool:
    return _NAMES_SECRET.match(name) is not None


def names_secret(name: str) -> bool:
    """Whether what stands under this name in an object is a secret."""
    # Longer ones are somebody's words, and not worth the memory.
    return len(name) <= _LONGEST_NAME and _is_secret_name(name)
