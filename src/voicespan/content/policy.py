"""Which content of a conversation may be stored, by the user's settings.

Before content is set on a span, secrets and audio are removed, and each text passes the user's switches and the
`redact` hook. What is too long is cut by `truncation`.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from voicespan.content import kinds
from voicespan.content.frame_copy import FrameCopy
from voicespan.content.masking import spellings, without_secrets
from voicespan.content.truncation import cut_text, metadata
from voicespan.protocol.events import WireError
from voicespan.protocol.json_values import encodable
from voicespan.runtime import guard
from voicespan.runtime.settings import TEXT_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicespan.runtime.settings import Redact, Settings

#: Stored in place of a text whose redaction failed. A hidden text becomes "".
WITHHELD = "[withheld]"
#: Values under these keys are people's words even where they look like an identifier.
_WORDS = frozenset({"speaker"})
_MOST_SECRETS = 16
#: Numbers and texts that are not looked at for their size.
_SMALL = 1 << 53
_SHORT = 64
#: An error's message stands on its span twice, beside the content.
_LONGEST_ERROR = 4_000
#: A text that is longer is not looked through to its end.
_LONGEST_TEXT = 500_000


#: Shared by all conversations without a hook: nothing is ever added to it.
_NO_THREADS: set[int] = set()


class Content:
    """Applies one conversation's settings to what it stores. Several threads may use it at a time.

    The user's hook runs in here, so it can come back into the conversation on the same thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._redact = settings.redact
        #: The threads in which the hook runs.
        self._redacting = _NO_THREADS if settings.redact is None else set()
        #: Kinds of text of which nothing is kept; None: those of which it is not known whose they are.
        self._hidden = _hidden(settings.capture_content, settings.hide)
        #: The client's own keys, in every spelling.
        self._secrets: tuple[str, ...] = ()

    def keep_secrets(self, secrets: Iterable[str]) -> None:
        """From now on none of these gets into a text: what the client signs its requests with."""
        for secret in secrets:
            written = spellings(secret)
            if not set(written) <= set(self._secrets) and len(self._secrets) < 4 * _MOST_SECRETS:
                self._secrets += written

    def text(self, text: str | None, *, role: str, place: str) -> str | None:
        """What may be stored of one text: "" where nothing is to be kept, None where there is none."""
        return None if text is None else self._stored(text, kinds.of_text(role, place), role, place)

    def error(self, error: WireError | None) -> WireError | None:
        """An error with what may be stored of its message; where that is nothing, with its type."""
        if error is None:
            return None
        # A hook can return more than it was given.
        message = cut_text(self._stored(error.message, None, "system", "error"), _LONGEST_ERROR)
        return WireError(error.type, message or error.type)

    def facts(self, facts: Mapping[str, Any], limit: int) -> dict[str, str | bool | int | float]:
        """The application's own metadata, as attribute values: redacted like every text, without secrets."""
        copy = FrameCopy(lambda text, kind: self._stored(text, kind, "system", "metadata"))
        return metadata(
            {key: copy.of(fact, key=key, kind=kinds.METADATA, free=True) for key, fact in facts.items()},
            limit,
        )

    def names(self, facts: Mapping[str, Any], limit: int) -> dict[str, str | bool | int | float]:
        """What a frame says beside its texts, as attribute values: names, ids and numbers stay, words do not."""
        names: dict[str, str | bool | int | float] = {}
        for key, fact in facts.items():
            kind: Any = type(fact) if key.isascii() else None
            # Nearly every fact is a number or an id: what `metadata` would make of it.
            if kind is bool or (kind is int and -_SMALL < fact < _SMALL):
                names[key] = fact
            elif (
                kind is str
                and len(fact) <= min(_SHORT, limit)
                and " " not in fact
                and fact.isascii()
                and key not in _WORDS
            ):
                names[key] = without_secrets(fact, self._secrets)
            elif fact is not None:
                names.update(metadata({key: self._name(key, fact)}, limit))
        return names

    def frame(self, frame: Any, *, role: str) -> Any:
        """A frame without audio, secrets and what the settings hold back; the shape stays."""
        return FrameCopy(lambda text, kind: self._stored(text, kind, role, "event"), self._hidden).of(frame)

    def _name(self, key: str, fact: Any) -> Any:
        if isinstance(fact, str):
            text = str.__str__(fact)
            if " " not in text and text.isascii() and key not in _WORDS:
                return without_secrets(text, self._secrets)
            return self._stored(text, None, "system", "event") or None
        if isinstance(fact, (dict, list, tuple)):
            free = key.endswith("metadata")
            kind = kinds.PROGRAM if free else None
            copy = FrameCopy(lambda text, kind: self._stored(text, kind, "system", "event"), self._hidden)
            return copy.of(fact, key=key, kind=kind, free=free)
        return fact

    def _stored(self, text: str, kind: str | None, role: str, place: str) -> str:
        if kind in self._hidden or not text:
            return ""
        # First: twice as long as anything is shown, so that no half of a secret is.
        text = without_secrets(cut_text(text, _LONGEST_TEXT), self._secrets)
        if self._redact is not None:
            if place == "event" and kind is not None:
                role = kinds.ROLES[kind]
            text = self._redacted(self._redact, text, kind, role=role, place=place)
        return encodable(text)

    def _redacted(self, redact: Redact, text: str, kind: str | None, *, role: str, place: str) -> str:
        thread = threading.get_ident()
        if thread in self._redacting:
            # The hook itself set this metadata: to ask it about its own words would never end.
            return text if kind == kinds.METADATA else WITHHELD
        self._redacting.add(thread)
        try:
            return _text(redact(text, role=role, place=place))
        except Exception as error:  # noqa: BLE001  the hook is the user's; what it could not redact is withheld
            guard.report(error, ours=False)
            return WITHHELD
        finally:
            self._redacting.discard(thread)


@functools.cache
def _hidden(capture_content: bool, hide: frozenset[str]) -> frozenset[str | None]:
    if not capture_content:
        return frozenset({*TEXT_KINDS, kinds.PROGRAM, None})
    hidden: frozenset[str | None] = hide & TEXT_KINDS
    return hidden | {None} if hidden else hidden


def _text(redacted: object) -> str:
    if not isinstance(redacted, str):
        raise TypeError(f"redact returned {type(redacted).__name__} instead of a text")
    return str.__str__(redacted)
