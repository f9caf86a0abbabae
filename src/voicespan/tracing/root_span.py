"""What the root tells beside its times: the application's metadata and tags, the sessions, the transcript."""

from __future__ import annotations

import json
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

from voicespan.content.truncation import cut_text, encode, metadata, size_of
from voicespan.protocol.json_values import safe_str
from voicespan.runtime.settings import ROOT_TRANSCRIPT_BYTES
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content
    from voicespan.protocol.events import SessionDescribed
    from voicespan.tracing.spans.transcript import Transcript

_logger = logging.getLogger("voicespan")

_MOST_METADATA = 40
_MOST_TAGS = 40
#: And of so many it is asked which those are: some may be the same, or empty.
_MOST_TAGS_GIVEN = 1_000
_LONGEST_TAG = 200
_MOST_SESSIONS = 40
#: Metadata keys that LangSmith would take for the thread before `thread_id`.
_THREAD_RIVALS = ("session_id", "conversation_id")

_warned_rivals: set[str] = set()


class RootSpan:
    """Collected while the conversation is open. Not thread-safe: the conversation's lock is held."""

    def __init__(self, content: Content, value_limit: int) -> None:
        """`value_limit`: how long an attribute's value may be, in characters."""
        self._content = content
        self._value_limit = value_limit
        self._metadata: dict[str, AttributeValue] = {}
        self._tags: tuple[str, ...] = ()
        self._session_ids: tuple[str, ...] = ()
        self._session: dict[str, AttributeValue] = {}

    def set_metadata(self, facts: Mapping[Any, Any]) -> None:
        """The application's own, up to the most that are kept."""
        # One more than are kept, so that it is said that some are not.
        given = dict.items(facts) if isinstance(facts, dict) else facts.items()
        some = {safe_str(key): fact for key, fact in islice(given, _MOST_METADATA + 1)}
        for key, fact in self._content.facts(some, self._value_limit).items():
            if key in _THREAD_RIVALS:
                _warn_of_rival(key)
            if key not in self._metadata and len(self._metadata) >= _MOST_METADATA:
                _logger.warning("voicespan keeps %d metadata keys a conversation", _MOST_METADATA)
                break
            self._metadata[key] = fact

    def add_tags(self, tags: Iterable[object]) -> None:
        """More of them, while there is room."""
        for tag in islice(tags, _MOST_TAGS_GIVEN):
            if len(self._tags) >= _MOST_TAGS:
                return
            self._add_tag(tag)

    def _add_tag(self, tag: object) -> None:
        text = self._content.text(safe_str(tag), role="system", place="metadata") or ""
        # LangSmith takes one comma-separated string.
        name = cut_text(text.replace(",", " "), _LONGEST_TAG)
        if name and name not in self._tags:
            self._tags += (name,)

    def describe_session(self, moment: SessionDescribed) -> None:
        """What the service says of a session; the newest word on each fact counts."""
        known = self._session_ids
        if moment.session_id is not None and moment.session_id not in known and len(known) < _MOST_SESSIONS:
            self._session_ids += (moment.session_id,)
        self._session.update(self._content.names(moment.facts, self._value_limit))

    def attributes(self, facts: Mapping[str, Any], transcript: Transcript) -> dict[str, AttributeValue]:
        """All of it but the messages, as attributes, with further `facts` as metadata."""
        told = {
            **self._session,
            # Not `session_id`: LangSmith would take it for the thread.
            "realtime_session_id": ",".join(self._session_ids) or None,
            **facts,
            "transcript_omitted": transcript.omitted or None,
        }
        known = {**metadata(told, self._value_limit), **self._metadata}
        attributes = {semconv.METADATA + key: fact for key, fact in known.items()}
        if self._tags:
            attributes[semconv.SPAN_TAGS] = ",".join(self._tags)
        return attributes

    def conversation(self, messages: list[tuple[str, str]]) -> dict[str, AttributeValue]:
        """Inputs: up to the user's first words; outputs: the rest. Together in spoken order, each text once.

        `messages`: the role and the JSON of each.
        """
        first = next((index for index, (role, _) in enumerate(messages) if role == "user"), -1) + 1
        attributes: dict[str, AttributeValue] = {}
        if messages[:first]:
            attributes[semconv.PROMPT] = self._joined(messages[:first])
        if messages[first:]:
            attributes[semconv.COMPLETION] = self._joined(messages[first:])
        return attributes

    def _joined(self, messages: list[tuple[str, str]]) -> str:
        limit = min(ROOT_TRANSCRIPT_BYTES, self._value_limit)
        text = f'{{"messages":[{",".join(message for _, message in messages)}]}}'
        if size_of(text) <= limit:
            return text
        return encode({"messages": [json.loads(message) for _, message in messages]}, limit)


def _warn_of_rival(key: str) -> None:
    if key not in _warned_rivals:
        _warned_rivals.add(key)
        _logger.warning(
            "LangSmith groups by the metadata %r before thread_id; this conversation may be grouped by it",
            key,
        )
