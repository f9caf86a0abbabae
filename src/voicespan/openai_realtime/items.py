"""Items of the conversation, whoever made them: messages, function calls and their answers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import mcp, values
from voicespan.openai_realtime.mcp import McpCalls
from voicespan.openai_realtime.requests import COMMIT, CREATE
from voicespan.openai_realtime.response_state import MOST_ITEMS
from voicespan.protocol import events
from voicespan.protocol.events import Level, ProviderEvent
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_realtime.requests import Request, Requests
    from voicespan.openai_realtime.response_state import ResponseStates
    from voicespan.openai_realtime.transcripts import Transcripts
    from voicespan.protocol.events import Event, WireError


class Items:
    """Those of one connection."""

    def __init__(
        self, level: Level, states: ResponseStates, transcripts: Transcripts, requests: Requests
    ) -> None:
        """`level`: up to which frames under their own name are wanted."""
        self._level = level
        self._states = states
        self._transcripts = transcripts
        self._typed: dict[str, None] = {}
        self._names: dict[str, str] = {}
        self._called: dict[str, None] = {}
        self._answered: dict[str, None] = {}
        #: Calls that the application put back.
        self._history: dict[str, None] = {}
        self._requests = requests
        #: Whether the server shows what it takes.
        self._shows_items = False
        #: Messages since the last response, by item id: what follows can show that they are an earlier history.
        self._since_response: dict[str, tuple[events.Role, str]] = {}
        self._speaking: str | None = None
        self._speech_is_over = False
        #: The item of speech that the application committed before the server heard its end.
        self._committed_while_speaking: str | None = None

    @functools.cached_property
    def mcp(self) -> McpCalls:
        """Those of this connection; few have any."""
        return McpCalls(self._states)

    # What the user says.

    def speech_started(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user began to speak."""
        item_id = values.name(event.get("item_id"))
        self._speaking, self._speech_is_over = item_id, False
        self._states.speech_starts += 1
        yield events.SpeechStarted(at, event["type"], item_id)
        if item_id is not None:
            yield events.MessageAdded(at, event["type"], item_id, "user", given=False)

    def speech_stopped(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user stopped."""
        item_id = values.name(event.get("item_id"))
        if item_id is not None and item_id == self._committed_while_speaking:
            # The application had ended this turn before.
            return
        self._speech_is_over = True
        yield events.SpeechStopped(at, event["type"], item_id, self._silent_at(event, at))

    def _silent_at(self, event: dict[str, Any], at: int) -> int | None:
        """When the user fell silent. The server says `audio_end_ms` when its silence is over, and counts that in.

        Where its count of the audio is not ours, the silence is taken from the time at which its word arrived.
        """
        silence_ms, end_ms = self._states.silence_ms, values.integer(event.get("audio_end_ms"))
        if silence_ms is None or end_ms is None or not 0 <= silence_ms <= end_ms:
            return None
        spoken_at = self._states.microphone.spoken_at(end_ms - silence_ms, end_ms, at)
        return at - silence_ms * 1_000_000 if spoken_at is None else spoken_at

    def committed(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The user's audio became an item."""
        item_id = values.name(event.get("item_id"))
        request = self._requests.accept(COMMIT)
        if request is not None and self._speaking is not None and not self._speech_is_over:
            self._committed_while_speaking = self._speaking
        yield from self._committed_by_client(request)
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
        sent = self._requests.accept_item(item)
        self._shows_items = self._shows_items or sent is not None
        if kind == "message":
            yield from self._message(event, item, at, sent)
        elif kind == "function_call":
            if sent is not None:
                yield from self._call_put_back(event["type"], item, sent.at)
            yield from self._call_item(event, item, at)
        elif kind == "function_call_output":
            yield from self._answer(
                event["type"] if sent is None else CREATE, item, at if sent is None else sent.at
            )
        elif kind in (mcp.CALL, mcp.APPROVAL, mcp.ANSWER):
            yield from self.mcp.item(event["type"], item, at if sent is None else sent.at)
        elif (
            kind.startswith("mcp_")
            and Level.ALL > self._level >= Level.STANDARD
            and event["type"].endswith(".done")
        ):
            # The list of a server's tools is complete only in this frame.
            item_id = values.name(item.get("id")) or ""
            if item_id not in self._typed:
                put(self._typed, item_id, None)
                yield ProviderEvent(
                    at, event["type"], Level.STANDARD, event, error=values.error_in(kind, item)
                )

    def _message(
        self, event: dict[str, Any], item: dict[str, Any], at: int, sent: Request | None
    ) -> Iterator[Event]:
        item_id, role = values.name(item.get("id")) or "", values.name(item.get("role")) or "user"
        after = values.name(event.get("previous_item_id"))
        response_id = self._states.of_item(item_id)
        if response_id is not None and self._states.get(response_id).out_of_band:
            return
        if response_id is not None:
            yield events.MessageAdded(at, event["type"], item_id, "assistant", after)
        elif role == "user" and not values.is_typed(item):
            yield self._user_speech(event, at, item_id)
        elif role == "assistant" and item.get("status") == "in_progress":
            yield events.MessageAdded(at, event["type"], item_id, "assistant", after)
        elif item_id not in self._typed and not (role == "assistant" and sent is None):
            yield from self._text(event["type"], item_id, item, at, after)
            if self._level is Level.STANDARD:
                yield ProviderEvent(at, event["type"], Level.STANDARD, event)

    def _text(
        self, event_type: str, item_id: str, item: dict[str, Any], at: int, after: str | None = None
    ) -> Iterator[Event]:
        """The application put a message there. What stands before an agent's is an earlier history as well."""
        role, text = values.role(values.name(item.get("role"))), values.item_text(item)
        put(self._typed, item_id, None)
        put_back = role == "assistant"
        yield events.MessageText(at, event_type, item_id, role, text, after, seeded=True, put_back=put_back)
        if put_back:
            yield from self._put_back(event_type, at)
        elif role == "user":
            put(self._since_response, item_id, (role, text))

    def _put_back(self, event_type: str, at: int) -> Iterator[Event]:
        earlier, self._since_response = self._since_response, {}
        for item_id, (role, text) in earlier.items():
            yield events.MessageText(at, event_type, item_id, role, text, seeded=True, put_back=True)

    def _call_put_back(self, event_type: str, item: dict[str, Any], at: int) -> Iterator[Event]:
        """A call of an earlier session, put back into the history: nobody makes it now."""
        call_id, name = values.name(item.get("call_id")), values.name(item.get("name"))
        if call_id is None or name is None:
            return
        put(self._names, call_id, name)
        yield events.FunctionCalled(
            at,
            event_type,
            call_id,
            name,
            values.arguments(item.get("arguments")),
            values.name(item.get("id")),
            put_back=True,
        )
        yield from self._put_back(event_type, at)

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
        if response is not None:
            response.calls(at)
            if len(response.call_ids) < MOST_ITEMS:
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

    def _answer(
        self, event_type: str, item: dict[str, Any], at: int, refused: WireError | None = None
    ) -> Iterator[Event]:
        call_id = values.name(item.get("call_id"))
        if call_id is None or call_id in self._answered:
            return
        if refused is None:
            put(self._answered, call_id, None)
        yield events.FunctionAnswered(
            at,
            event_type,
            call_id,
            values.arguments(item.get("output")),
            self._names.get(call_id),
            values.name(item.get("id")),
            refused=refused,
            put_back=call_id in self._history,
        )

    def output_item(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The same for an item of a response."""
        item = values.as_object(event.get("item"))
        item_id, response_id = values.name(item.get("id")), values.name(event.get("response_id"))
        if item_id is not None and response_id is not None:
            self._states.add_item(item_id, response_id)
            response = self._states.find(response_id)
            if response is not None and item.get("status") == "in_progress":
                response.calling_since = at
        yield from self.item(event, at)

    def text_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """What the model wrote."""
        item_id = values.name(event.get("item_id")) or ""
        text = values.text(event.get("text")) or ""
        response = self._states.get(self._states.id_in(event, item_id))
        response.add_text(item_id, text)
        if not response.out_of_band:
            yield events.MessageText(at, event["type"], item_id, "assistant", text)

    def arguments_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The arguments of a call are complete."""
        yield from self.call(event, event, at)

    # What the application sends.

    def create(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The application puts an item into the conversation."""
        self._requests.add(CREATE, event, at)
        item = values.as_object(event.get("item"))
        call_id = values.name(item.get("call_id"))
        if call_id is None:
            return
        if item.get("type") == "function_call":
            put(self._called, call_id, None)
            put(self._history, call_id, None)
        elif call_id in self._called and call_id not in self._answered and call_id not in self._history:
            response = self._states.that_calls(call_id)
            if response is not None and response.answered_at is None:
                response.answered_at = at
            yield events.FunctionAnswerSent(at, event["type"], call_id)

    def refused(self, request: Request, error: WireError) -> Iterator[Event]:
        """The server did not take an item."""
        if request.item_type == "function_call_output":
            yield from self._answer(request.kind, request.item, request.at, error)

    def taken(self, *, everything: bool = False) -> Iterator[Event]:
        """A response begins: where the server shows no items, what was sent before and not refused is part of its input.

        `everything`: the connection is over. What was answered to a function went out all the same.
        """
        for sent in self._requests.waiting(CREATE):
            is_answer = sent.item_type == "function_call_output"
            if (self._shows_items or everything) and not (everything and is_answer):
                continue
            self._requests.accept(CREATE, lambda each, sent=sent: each is sent)  # type: ignore[misc]  # bound now
            if is_answer and values.name(sent.item.get("call_id")) in self._called:
                yield from self._answer(sent.kind, sent.item, sent.at)
            elif sent.item_type == "message":
                yield from self._text(sent.kind, sent.item_id, sent.item, sent.at)
            elif sent.item_type == mcp.ANSWER:
                yield from self.mcp.answer(sent.kind, sent.item, sent.at)
            elif sent.item_type == "function_call":
                yield from self._call_put_back(sent.kind, sent.item, sent.at)
        while (commit := self._requests.accept(COMMIT)) is not None:
            yield from self._committed_by_client(commit)
        self._since_response = {}

    def _committed_by_client(self, request: Request | None) -> Iterator[Event]:
        # Push to talk, or the application knew it before the server: the user's speech ended when it said so.
        if request is not None and not (self._speaking is not None and self._speech_is_over):
            yield events.SpeechStopped(request.at, request.kind, None)
