"""What may be stored of what crossed the wire, and in which form.

Three things happen to every content before it stands on a span: secrets and audio are taken out, the
texts pass the user's switches and redaction, and what is too long is cut inside its structure, never in
the middle of its JSON.
"""

from __future__ import annotations

import functools
import json
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

from voicespan.content import kinds
from voicespan.content.frame_copy import DEEPEST, FrameCopy, plain, plain_key
from voicespan.content.masking import spellings, without_secrets
from voicespan.protocol.events import WireError
from voicespan.protocol.json_values import encodable
from voicespan.runtime import guard
from voicespan.runtime.settings import NO_LIMIT, TEXT_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicespan.runtime.settings import Redact, Settings

#: What stands where the redaction failed. Where nothing is to be kept, nothing stands.
WITHHELD = "[withheld]"
#: A key that is longer than this names nothing.
_LONGEST_KEY = 256
#: Facts of the wire that are words, however they look.
_WORDS = frozenset({"speaker"})
_MOST_SECRETS = 16
#: An error's message stands on its span twice, beside the content.
_LONGEST_ERROR = 4_000
#: A text that is longer is not looked through to its end.
_LONGEST_TEXT = 500_000
_CUT_STEPS = ((16_000, 200), (4_000, 100), (1_000, 50), (250, 20), (60, 8), (20, 3))


#: Threads, where there is no hook.
_NOBODY: set[int] = set()


class Content:
    """Applies one conversation's settings to what it stores. Several threads may use it at a time.

    The user's hook runs in here, so it can come back into the conversation on the same thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._redact = settings.redact
        #: The threads in which the hook runs.
        self._redacting = _NOBODY if settings.redact is None else set()
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
        """What a frame told beside its texts, as attribute values: names, ids and numbers stay, words do not."""
        return metadata(
            {key: self._name(key, fact) for key, fact in facts.items() if fact is not None}, limit
        )

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
            # The hook itself tells this: metadata is its own words, and it must not be asked for ever.
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


def _dumps(value: Any) -> str | None:
    """Strict JSON; None where there is none of this value."""
    try:
        text = _JSON.encode(value)
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
        messages = isinstance(value[0], dict) and "role" in value[0]
        middle = {"role": "system", "content": mark} if messages else mark
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
