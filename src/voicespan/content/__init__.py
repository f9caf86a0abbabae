"""What may be stored of what crossed the wire, and in which form.

Three things happen to every content before it stands on a span: secrets and audio are taken out, the
texts pass the user's switches and redaction, and what is too long is cut inside its structure, never in
the middle of its JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan import guard
from voicespan.content import kinds
from voicespan.content.frame_copy import DEEPEST, FrameCopy, plain, plain_key
from voicespan.content.masking import spellings, without_secrets
from voicespan.fields import encodable
from voicespan.moments import WireError
from voicespan.settings import NO_LIMIT, TEXT_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicespan.settings import Redact, Settings

#: What stands where the redaction failed. Where nothing is to be kept, nothing stands.
WITHHELD = "[withheld]"
#: A key that is longer than this names nothing.
_LONGEST_KEY = 256
#: Facts of the wire that are words, however they look.
_WORDS = frozenset({"speaker"})
_MOST_SECRETS = 16
#: A text that is longer is not looked through to its end.
_LONGEST_TEXT = 500_000
_CUT_STEPS = ((16_000, 200), (4_000, 100), (1_000, 50), (250, 20), (60, 8), (20, 3))


class Content:
    """Applies one conversation's settings to what it stores. The conversation's lock is held.

    The user's hook runs in here, so it can come back into the conversation on the same thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._redact = settings.redact
        self._is_redacting = False
        #: Kinds of text of which nothing is kept; None: those of which it is not known whose they are.
        self._hidden: frozenset[str | None] = _hidden(settings)
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
        return WireError(error.type, self._stored(error.message, None, "system", "error") or error.type)

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
        return FrameCopy(lambda text, kind: self._stored(text, kind, role, "event")).of(frame)

    def _name(self, key: str, fact: Any) -> Any:
        if isinstance(fact, str):
            text = str.__str__(fact)
            if " " not in text and text.isascii() and key not in _WORDS:
                return without_secrets(text, self._secrets)
            return self._stored(text, None, "system", "event") or None
        if isinstance(fact, (dict, list, tuple)):
            free = key.endswith("metadata")
            kind = kinds.PROGRAM if free else None
            copy = FrameCopy(lambda text, kind: self._stored(text, kind, "system", "event"))
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
        if self._is_redacting:
            # The hook itself tells this: metadata is its own words, and it must not be asked for ever.
            return text if kind == kinds.METADATA else WITHHELD
        self._is_redacting = True
        try:
            return _text(redact(text, role=role, place=place))
        except Exception as error:  # noqa: BLE001  the hook is the user's; what it could not redact is withheld
            guard.report(error, ours=False)
            return WITHHELD
        finally:
            self._is_redacting = False


def _hidden(settings: Settings) -> frozenset[str | None]:
    if not settings.capture_content:
        return frozenset({*TEXT_KINDS, kinds.PROGRAM, None})
    hidden: frozenset[str | None] = settings.hide & TEXT_KINDS
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


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _shorten(value: Any, longest_text: int, longest_list: int, depth: int) -> Any:
    if isinstance(value, str):
        return cut_text(value, longest_text)
    if isinstance(value, (dict, list)) and depth > DEEPEST:
        return "[deeper]"
    if isinstance(value, dict):
        items = list(value.items())
        kept = {
            cut_text(plain_key(key), longest_text): _shorten(inner, longest_text, longest_list, depth + 1)
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
    return plain(value)


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
