"""Removes secrets from what the doctor prints.

No check puts a secret into its findings on purpose. This goes over every text once more: a key may have been pasted
into the wrong variable, or a server may have sent it back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from voicespan.content.masking import without_secrets
from voicespan.delivery.destination.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Variables whose names say that they hold one.
_NAMED = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)", re.IGNORECASE
)
_HEADERS = re.compile(r"_HEADERS$")
_USER_INFO = re.compile(r"//([^/@\s]+)@")
#: Also those of LangSmith, OpenAI and Google that are shorter than any real one: cut off, or made up.
_KEYS = re.compile(r"\b(?:lsv2_|ls__|sk-|AIza)[\w-]{6,}")
#: A shorter secret would be found in ordinary words.
_SHORTEST = 6
_LONGEST_TEXT = 600
_HIDDEN = "[secret]"


class SecretMask:
    """Takes out of a text what must not be shown, and what would not stay on one line."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._secrets = {secret.strip() for secret in _secrets(environ)}

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = without_secrets(_USER_INFO.sub("//", without(self._secrets, text)))
        text = _KEYS.sub(_HIDDEN, text)
        shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        return shown if len(shown) <= _LONGEST_TEXT else f"{shown[:_LONGEST_TEXT]}..."


def without(secrets: Iterable[str], text: str) -> str:
    """The text without these."""
    # The longest first: one may be part of another.
    for secret in sorted((each for each in secrets if len(each) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def public_url(url: str) -> str:
    """A URL without user, password, query and fragment."""
    return _USER_INFO.sub("//", re.split(r"[?#]", url, maxsplit=1)[0])


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if _NAMED.search(name):
            yield value
            yield value.strip().strip("\"'")
        if _HEADERS.search(name):
            yield from (unquote(pair.partition("=")[2]) for pair in value.split(","))
            yield from (pair.partition("=")[2] for pair in value.split(","))
        if "://" in value:
            yield from _of_url(value)
    yield from _of_profile(environ)


def _of_url(url: str) -> Iterator[str]:
    for login in _USER_INFO.findall(url):
        yield login
        yield from (unquote(part) for part in login.split(":")[1:])
    try:
        query = urlsplit(url).query
    except ValueError:
        return
    yield query


def _of_profile(environ: Mapping[str, str]) -> Iterator[str]:
    try:
        settings = Profile.load(environ).settings
    except (AttributeError, TypeError):  # a file that somebody else wrote
        return
    login = settings.get("oauth")
    held = [settings.get("api_key"), *(login.values() if isinstance(login, dict) else ())]
    yield from (value for value in held if isinstance(value, str))
