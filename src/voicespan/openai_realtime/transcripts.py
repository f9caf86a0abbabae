"""Transcripts of both sides: when their first fragment came, and their words once they are complete.

One frame has the words of an item when they are complete. Where the connection ends before, the fragments are all
there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values
from voicespan.protocol import events
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicespan.openai_realtime.frames import FrameScanner
    from voicespan.openai_realtime.response_state import ResponseStates
    from voicespan.protocol.events import Event, Role

#: The event type of what no frame said, since the connection ended before.
CONNECTION_CLOSED = "connection_closed"
_NOTHING = object()


class Transcripts:
    """Those of one connection."""

    def __init__(self, states: ResponseStates, scanner: FrameScanner) -> None:
        self._states = states
        self._scanner = scanner
        #: Whether the session transcribes what the user says.
        self.of_user = False
        #: By which model.
        self.model: str | None = None
        self._fragments: dict[str, int] = {}
        #: What the user said so far, by item, where the service sends it again and again.
        self._so_far: dict[str, str] = {}
        #: By the hash of the words: a text can be long, and only a new one is an event again.
        self._complete: dict[str, int | None] = {}

    def is_complete(self, item_id: str, index: int = 0) -> bool:
        """Whether the words of a part of an item have been given out."""
        return _part(item_id, index) in self._complete

    def user_fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """A piece of what the user said: the first is when it began."""
        self._note_fragment(event, at)
        return iter(())

    def user_completed(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """What the user said, or that it could not be transcribed."""
        item_id = values.name(event.get("item_id")) or ""
        index = values.integer(event.get("content_index")) or 0
        self._scanner.transcript_is_over(item_id)
        failed = event["type"].endswith(".failed")
        if event.get("status") == "in_progress":
            # The service is still listening (xAI): the last of these has all the words.
            self._note_fragment(event, at)
            put(self._so_far, item_id, values.text(event.get("transcript")) or "")
            return
        if self._so_far:
            self._so_far.pop(item_id, None)
        text = None if failed else values.text(event.get("transcript")) or ""
        known = None if text is None else hash(text)
        part = _part(item_id, index)
        if self._complete.get(part, _NOTHING) == known:
            return
        put(self._complete, part, known)
        usage = values.as_object(event.get("usage"))
        yield events.TranscriptCompleted(
            at,
            event["type"],
            "user",
            item_id,
            self._fragments.pop(part, at),
            text,
            error=values.wire_error(event.get("error"), "transcription_failed") if failed else None,
            facts={
                "content_index": index,
                "usage_seconds": values.number(usage.get("seconds")),
                "usage_total_tokens": values.integer(usage.get("total_tokens")),
                "usage_input_tokens": values.integer(usage.get("input_tokens")),
                "usage_input_audio_tokens": values.integer(
                    values.as_object(usage.get("input_token_details")).get("audio_tokens")
                ),
                "usage_output_tokens": values.integer(usage.get("output_tokens")),
                "transcription_model": self.model if usage else None,
                "languages": event.get("languages"),
            },
        )

    def fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The same of what the agent says."""
        item_id = values.name(event.get("item_id")) or ""
        self._states.get(self._states.id_in(event, item_id)).had_speech = True
        self._note_fragment(event, at)
        return iter(())

    def completed(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """What the agent said."""
        item_id, index = _item_and_index(event)
        self._scanner.transcript_is_over(item_id)
        part = _part(item_id, index)
        if part in self._complete:
            return
        text = values.text(event.get("transcript")) or ""
        put(self._complete, part, hash(text))
        response_id = self._states.id_in(event, item_id)
        response = self._states.get(response_id)
        # A transcript without words is no sign of speech; audio is one by itself.
        response.had_speech = response.had_speech or bool(text.strip())
        response.add_text(item_id, text)
        yield events.TranscriptCompleted(
            at,
            event["type"],
            "assistant",
            item_id,
            self._fragments.pop(part, at),
            text,
            response_id,
            facts={"content_index": index, "output_index": values.integer(event.get("output_index"))},
            out_of_band=response.out_of_band,
        )

    def cut_off(self, at: int) -> Iterator[Event]:
        """The words that had arrived when the connection ended."""
        yield from self.unfinished(self._scanner.take_words(), CONNECTION_CLOSED, at)
        for item_id, text in self._so_far.items():
            if text and not self.is_complete(item_id):
                yield from self._words_so_far("user", item_id, text, CONNECTION_CLOSED, at)

    def unfinished(self, fragments: list[dict[str, Any]], event_type: str, at: int) -> Iterator[Event]:
        """The words of these fragments, if no frame has them whole."""
        for (role, item_id), text in _joined(fragments).items():
            if not self.is_complete(item_id):
                yield from self._words_so_far(role, item_id, text, event_type, at)

    def _words_so_far(self, role: Role, item_id: str, text: str, event_type: str, at: int) -> Iterator[Event]:
        response_id = self._states.of_item(item_id)
        response = self._states.find(response_id)
        if role == "assistant":
            if response is None or (event_type == CONNECTION_CLOSED and not response.in_progress):
                # They came after the end of their answer, which has its words.
                return
            response.add_text(item_id, text)
        part = _part(item_id, 0)
        if event_type != CONNECTION_CLOSED:
            put(self._complete, part, hash(text))
        yield events.TranscriptCompleted(
            at,
            event_type,
            role,
            item_id,
            self._fragments.pop(part, at),
            text,
            response_id,
            out_of_band=response is not None and response.out_of_band,
        )

    def _note_fragment(self, event: dict[str, Any], at: int) -> None:
        item_id, index = _item_and_index(event)
        part = _part(item_id, index)
        if part not in self._fragments:
            put(self._fragments, part, at)
        if index == 0 and item_id:
            self._scanner.transcript_begins(item_id)


def _item_and_index(event: dict[str, Any]) -> tuple[str, int]:
    return values.name(event.get("item_id")) or "", values.integer(event.get("content_index")) or 0


def _part(item_id: str, index: int) -> str:
    """What a part of an item is remembered by. A tuple of each would be one object more to look through."""
    return f"{index} {item_id}"


def _joined(fragments: Iterable[dict[str, Any]]) -> dict[tuple[Role, str], str]:
    """The words of each item, by who said it and its id, from the fragments in their order."""
    joined: dict[tuple[Role, str], str] = {}
    for event in fragments:
        user = str(event.get("type")).startswith("conversation.item.")
        key: tuple[Role, str] = ("user" if user else "assistant", values.name(event.get("item_id")) or "")
        joined[key] = joined.get(key, "") + (values.text(event.get("delta")) or "")
    return {key: text for key, text in joined.items() if text.strip()}
