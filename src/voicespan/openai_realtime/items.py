"""Items of the conversation, whoever made them: messages, function calls and their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values
from voicespan.openai_realtime.response_state import MOST_ITEMS
from voicespan.protocol import events
from voicespan.protocol.events import Level, LocalId, ProviderEvent
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_realtime.response_state import ResponseStates
    from voicespan.openai_realtime.transcripts import Transcripts
    from voicespan.protocol.events import Event

#: So many sent messages wait: far more than an application sends between two responses.
_MOST_SENT = 256


@dataclass(slots=True)
class Sent:
    """A message that the application sent and the server has not shown yet."""

    at: int
    event_id: str | None
    item: dict[str, Any]
    item_id: str
    text: str


class SentMessages:
    """Those of one connection, in the order in which they were sent.

    Most services show an item that they take, with an id of their own. Some show none, and one that is refused
    was never said.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Sent, ...] = ()

    def add(self, event: dict[str, Any], item: dict[str, Any], at: int) -> None:
        """The application sent `item` in `event`."""
        if len(self._waiting) < _MOST_SENT:
            item_id = values.name(item.get("id")) or LocalId.new("sent")
            sent = Sent(at, values.name(event.get("event_id")), item, item_id, values.item_text(item))
            self._waiting += (sent,)

    def shown(self, item: dict[str, Any]) -> bool:
        """Whether the application sent this message, which the server shows now."""
        item_id, text, role = item.get("id"), values.item_text(item), item.get("role")
        for sent in self._waiting:
            if sent.item_id == item_id or (sent.item.get("role") == role and sent.text == text):
                self._waiting = tuple(other for other in self._waiting if other is not sent)
                return True
        return False

    def refused(self, event_id: str) -> None:
        """The server did not take the event with this id."""
        self._waiting = tuple(sent for sent in self._waiting if sent.event_id != event_id)

    def taken(self) -> tuple[Sent, ...]:
        """All that are neither shown nor refused: a response begins, and they are part of its input."""
        taken, self._waiting = self._waiting, ()
        return taken


class Items:
    """Those of one connection."""

    def __init__(self, level: Level, states: ResponseStates, transcripts: Transcripts) -> None:
        """`level`: up to which frames under their own name are wanted."""
        self._level = level
        self._states = states
        self._transcripts = transcripts
        self._typed: dict[str, None] = {}
        self._names: dict[str, str] = {}
        self._called: dict[str, None] = {}
        self._answered: dict[str, None] = {}
        self.sent = SentMessages()
        self._speaking: str | None = None

    # What the user says.

    def speech_started(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user began to speak."""
        item_id = values.name(event.get("item_id"))
        self._speaking = item_id
        yield events.SpeechStarted(at, event["type"], item_id)
        if item_id is not None:
            yield events.MessageAdded(at, event["type"], item_id, "user", given=False)

    def speech_stopped(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user stopped."""
        yield events.SpeechStopped(at, event["type"], values.name(event.get("item_id")))

    def committed(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user's audio became an item."""
        item_id = values.name(event.get("item_id"))
        if item_id is not None:
            self._speaking = None
            yield self._user_speech(event, at, item_id)

    def audio_cleared(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user's audio was thrown away, and what had begun in it."""
        if self._speaking is not None:
            yield events.MessageRemoved(at, event["type"], self._speaking)
            self._speaking = None

    def _user_speech(self, event: dict[str, Any], at: int, item_id: str) -> Event:
        awaited = self._transcripts.of_user and not self._transcripts.is_complete(item_id)
        return events.MessageAdded(
            at,
            event["type"],
            item_id,
            "user",
            values.name(event.get("previous_item_id")),
            awaits_transcript=awaited,
        )

    # Items.

    def item(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """An item was added, or is complete."""
        item = values.as_object(event.get("item"))
        kind = values.name(item.get("type")) or "message"
        if kind == "message":
            yield from self._message(event, item, at)
        elif kind == "function_call":
            yield from self._call_item(event, item, at)
        elif kind == "function_call_output":
            yield from self._answer(event, item, at)
        elif (
            kind.startswith("mcp_")
            and Level.ALL > self._level >= Level.STANDARD
            and event["type"].endswith(".done")
        ):
            # An MCP item is complete only in this frame, and no other event carries its result.
            item_id = values.name(item.get("id")) or ""
            if item_id not in self._typed:
                put(self._typed, item_id, None)
                yield ProviderEvent(
                    at, event["type"], Level.STANDARD, event, error=values.error_in(kind, item)
                )

    def _message(self, event: dict[str, Any], item: dict[str, Any], at: int) -> Iterator[Event]:
        item_id, role = values.name(item.get("id")) or "", values.name(item.get("role")) or "user"
        after = values.name(event.get("previous_item_id"))
        if self._states.of_item(item_id) is not None:
            yield events.MessageAdded(at, event["type"], item_id, "assistant", after)
        elif role == "user" and not values.is_typed(item):
            yield self._user_speech(event, at, item_id)
        elif role == "assistant" and item.get("status") == "in_progress":
            yield events.MessageAdded(at, event["type"], item_id, "assistant", after)
        elif item_id not in self._typed and not (role == "assistant" and not self.sent.shown(item)):
            put(self._typed, item_id, None)
            if role != "assistant":
                self.sent.shown(item)
            yield events.MessageText(
                at, event["type"], item_id, values.role(role), values.item_text(item), after, seeded=True
            )
            if self._level is Level.STANDARD:
                yield ProviderEvent(at, event["type"], Level.STANDARD, event)

    def _call_item(self, event: dict[str, Any], item: dict[str, Any], at: int) -> Iterator[Event]:
        call_id, name = values.name(item.get("call_id")), values.name(item.get("name"))
        if call_id is not None and name is not None:
            put(self._names, call_id, name)
        if item.get("status") in ("completed", None) and not event["type"].endswith(".added"):
            yield from self.call(event, item, at)

    def call(self, event: dict[str, Any], item: dict[str, Any], at: int) -> Iterator[Event]:
        """The model's call, as soon as its name and arguments are known."""
        call_id = values.name(item.get("call_id")) or values.name(item.get("id"))
        if call_id is None or call_id in self._called:
            return
        name = values.name(item.get("name")) or self._names.get(call_id)
        if name is None:
            # Early versions leave the name out of the arguments' frame; the item follows with it.
            return
        put(self._called, call_id, None)
        item_id = values.name(item.get("item_id")) or values.name(item.get("id"))
        response_id = values.name(event.get("response_id")) or self._states.of_item(item_id)
        response = self._states.find(response_id)
        if response is not None and len(response.call_ids) < MOST_ITEMS:
            response.call_ids += (call_id,)
        yield events.FunctionCalled(
            at,
            event["type"],
            call_id,
            name,
            values.arguments(item.get("arguments")),
            item_id,
            response_id,
        )

    def _answer(self, event: dict[str, Any], item: dict[str, Any], at: int) -> Iterator[Event]:
        call_id = values.name(item.get("call_id"))
        if call_id is None or call_id in self._answered:
            return
        put(self._answered, call_id, None)
        yield events.FunctionAnswered(
            at,
            event["type"],
            call_id,
            values.arguments(item.get("output")),
            self._names.get(call_id),
            values.name(item.get("id")),
        )

    def output_item(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The same for an item of a response."""
        item = values.as_object(event.get("item"))
        item_id, response_id = values.name(item.get("id")), values.name(event.get("response_id"))
        if item_id is not None and response_id is not None:
            self._states.add_item(item_id, response_id)
        yield from self.item(event, at)

    def text_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """What the model wrote."""
        item_id = values.name(event.get("item_id")) or ""
        text = values.text(event.get("text")) or ""
        self._states.get(self._states.id_in(event, item_id)).add_text(item_id, text)
        yield events.MessageText(at, event["type"], item_id, "assistant", text)

    def arguments_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The arguments of a call are complete."""
        yield from self.call(event, event, at)

    # What the application sends.

    def taken(self) -> Iterator[Event]:
        """What was sent before a response and neither shown nor refused is part of its input.

        Not every service shows the items that it takes.
        """
        for sent in self.sent.taken():
            role = values.role(values.name(sent.item.get("role")))
            put(self._typed, sent.item_id, None)
            yield events.MessageText(
                sent.at,
                "conversation.item.create",
                sent.item_id,
                role,
                values.item_text(sent.item),
                seeded=True,
            )

    def create(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The application puts an item into the conversation."""
        item = values.as_object(event.get("item"))
        kind = values.name(item.get("type")) or "message"
        if kind == "function_call_output":
            yield from self._answer(event, item, at)
            return
        if kind == "function_call" and (call_id := values.name(item.get("call_id"))) is not None:
            # A call of an earlier session, put back into the history: nobody makes it now.
            put(self._called, call_id, None)
            put(self._answered, call_id, None)
        elif kind == "message":
            self.sent.add(event, item, at)

    def commit(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The application ends the user's turn."""
        # Push to talk: nothing else says when the user's speech ended.
        if self._speaking is None:
            yield events.SpeechStopped(at, event["type"], None)
