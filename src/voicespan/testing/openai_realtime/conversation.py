"""The server's side of one connection: client frames in, events out. No socket, no thread, no clock.

What holds throughout:

- Time is what the user's audio says: positions and pauses are counted in its samples.
- One response of the conversation is in progress at most; out-of-band responses may run beside it.
- Where the user starts to speak while a response is in progress, it is cancelled. Where generation was
  already finished, the server has nothing to stop: the client knows what it has not played yet, and
  says so with `conversation.item.truncate`.
- Whatever a client sends that cannot be taken gets an `error` event that names the frame, and changes
  nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.testing._speech import SpeechDetector, SpeechStarted
from voicespan.testing.openai_realtime.items import Item, Items
from voicespan.testing.openai_realtime.rejected import Rejected, required
from voicespan.testing.openai_realtime.responses import Responses
from voicespan.testing.openai_realtime.session import Session
from voicespan.testing.openai_realtime.transcription import PendingTranscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.testing.openai_realtime.answers import Dialogue
    from voicespan.testing.openai_realtime.dialect import Dialect, Event
    from voicespan.testing.openai_realtime.responses import Hold

# The least the vendor commits.
_SHORTEST_COMMIT_MS = 100

_ITEM_TYPES = ("message", "function_call", "function_call_output")


class RealtimeConversation:
    """One connection's session and conversation.

    Args:
        dialogue: What the model says.
        send: Takes each event as it goes over the wire, encoded.
        next_id: The next id for a prefix: `item_0001`.
        hold: Lets a test's `release()` resume a paused answer.
        dialect: How events are named.
        model: The model's name, from the URL.
        transcribes_only: Whether this is a transcription session.
        on_media_track: Whether the audio runs on a call's media track (`call_id=`): there is no
            `session.created` then and there are no audio deltas, but `output_audio_buffer.*` events.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        send: Callable[[str], None],
        next_id: Callable[[str], str],
        hold: Hold,
        dialect: Dialect,
        model: str,
        transcribes_only: bool = False,
        on_media_track: bool = False,
    ) -> None:
        self.next_id = next_id
        self.chunk_ms = dialogue.chunk_ms
        self.on_media_track = on_media_track
        self._dialogue = dialogue
        self._send = send
        self._dialect = dialect
        self.session = Session(next_id("sess"), model=model, transcribes_only=transcribes_only)
        self.items = Items()
        self._detector = SpeechDetector()
        self._buffered_ms = 0.0
        self._speech_began_ms = 0
        self._speech_item_id: str | None = None
        self.transcription: PendingTranscription | None = None
        self.responses = Responses(self, dialogue, hold)

    def open(self) -> None:
        """Say hello."""
        if not self.on_media_track:
            self.emit("session.created", session=self.session.snapshot)

    def close(self) -> None:
        """The connection is gone: nothing is left to release."""
        self.responses.close()

    def receive(self, frame: str | bytes) -> None:
        """Take in one frame of the client."""
        client_event_id = None
        try:
            event = _event(frame)
            if isinstance(event.get("event_id"), str):
                client_event_id = event["event_id"]
            self._take(self._dialect.incoming(event))
        except Rejected as rejection:
            self.emit("error", error=rejection.error(client_event_id))

    def _take(self, event: Event) -> None:
        take = self.CLIENT_EVENTS.get(required(event, "type", str))
        if take is None:
            known = ", ".join(sorted(self.CLIENT_EVENTS))
            raise Rejected("invalid_value", f"'{event['type']}' is none of {known}", "type")
        take(self, event)

    def hear(self, audio: bytes) -> None:
        """Take in what the user says, in the session's input format."""
        encoding = self.session.input_format
        heard_ms = len(audio) / encoding.bytes_per_ms
        self._buffered_ms += heard_ms
        detection = self.session.turn_detection
        for found in self._detector.feed(audio, encoding, detection):
            if isinstance(found, SpeechStarted):
                self._speech_started(found.ms)
            else:
                self._speech_stopped(found.ms)
        self.responses.keep_pace(heard_ms)

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send an event, in the words of the dialect."""
        event: Event = {"type": kind, "event_id": self.next_id("event"), **fields}
        for sent in self._dialect.outgoing(event):
            self._send(json.dumps(sent, ensure_ascii=False, separators=(",", ":")))
        if kind == self._dialect.rate_limits_after and self._dialogue.rate_limits:
            self.emit("rate_limits.updated", rate_limits=_RATE_LIMITS)

    # The user's speech.

    def _speech_started(self, ms: int) -> None:
        self._speech_item_id = self.next_id("item")
        self._speech_began_ms = ms
        self.emit("input_audio_buffer.speech_started", audio_start_ms=ms, item_id=self._speech_item_id)
        detection = self.session.turn_detection
        in_progress = self.responses.in_progress
        if in_progress is not None and detection is not None and detection.interrupt_response:
            self.responses.cancel(in_progress, "turn_detected")

    def _speech_stopped(self, ms: int) -> None:
        self.emit("input_audio_buffer.speech_stopped", audio_end_ms=ms, item_id=self._speech_item_id)
        detection = self.session.turn_detection
        answers = detection is not None and detection.create_response and not self.session.transcribes_only
        self._commit(ms - self._speech_began_ms, answered=answers)
        if not answers:
            return
        try:
            self.responses.begin({})
        except Rejected as rejection:
            self.emit("error", error=rejection.error(None))

    def _commit(self, audio_ms: float, *, answered: bool) -> None:
        """Make a user item of the audio that was heard, and begin its transcription."""
        item = Item(
            {
                "id": self._speech_item_id or self.next_id("item"),
                "type": "message",
                "status": "completed",
                "role": "user",
                "content": [{"type": "input_audio", "transcript": None}],
            },
            audio_ms=round(audio_ms),
        )
        self._buffered_ms = 0.0
        self._speech_item_id = None
        before = self.items.last_id
        self.emit("input_audio_buffer.committed", previous_item_id=before, item_id=item.id)
        self.items.add(item)
        self._announce(item, before)
        if self.session.transcription is not None:
            self._transcribe(item, answered=answered)

    def _transcribe(self, item: Item, *, answered: bool) -> None:
        self.end_transcription()
        what = self._dialogue.transcription()
        if what.arrives is None:
            what = replace(what, arrives="during" if answered else "early")
        model = str((self.session.transcription or {}).get("model"))
        self.transcription = PendingTranscription(item, what, model, self.emit)
        if what.arrives == "early":
            self.end_transcription()

    def end_transcription(self) -> None:
        """Let the pending transcription arrive, if there is one."""
        if self.transcription is not None:
            self.transcription.end()
            self.transcription = None

    # The client's events.

    def _session_update(self, event: Event) -> None:
        self.session.update(required(event, "session", dict))
        self.emit("session.updated", session=self.session.snapshot)

    def _audio_append(self, event: Event) -> None:
        try:
            audio = base64.b64decode(required(event, "audio", str), validate=True)
        except binascii.Error as error:
            raise Rejected("invalid_value", f"'audio' is not base64: {error}", "audio") from error
        self.hear(audio)

    def _audio_commit(self, _event: Event) -> None:
        if self._buffered_ms < _SHORTEST_COMMIT_MS:
            raise Rejected(
                "input_audio_buffer_commit_empty",
                f"the buffer has {self._buffered_ms:.2f} ms of audio, {_SHORTEST_COMMIT_MS} are needed",
            )
        self._detector.interrupt()
        self._commit(self._buffered_ms, answered=False)

    def _audio_clear(self, _event: Event) -> None:
        self._detector.interrupt()
        self._buffered_ms = 0.0
        self._speech_item_id = None
        self.emit("input_audio_buffer.cleared")

    def _output_clear(self, _event: Event) -> None:
        if not self.on_media_track:
            raise Rejected("invalid_value", "there is no output audio buffer on a WebSocket", "type")
        if self.responses.in_progress is not None:
            self.responses.cancel(self.responses.in_progress, "client_cancelled")

    def _item_create(self, event: Event) -> None:
        given = required(event, "item", dict)
        kind = required(given, "type", str, within="item")
        if kind not in _ITEM_TYPES:
            raise Rejected("invalid_value", f"'item.type' is none of {', '.join(_ITEM_TYPES)}", "item.type")
        fields = {"id": given.get("id") or self.next_id("item"), "type": kind}
        if kind == "message":
            required(given, "role", str, within="item")
            content = required(given, "content", list, within="item")
            if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content):
                message = "'item.content' has to be a list of objects that have a type"
                raise Rejected("invalid_type", message, "item.content")
            fields["status"] = "completed"
        elif kind == "function_call_output":
            call_id = required(given, "call_id", str, within="item")
            required(given, "output", str, within="item")
            if not self.items.has_call(call_id):
                raise Rejected("invalid_tool_call_id", f"no function was called by the id '{call_id}'")
        item = Item({**fields, **{name: value for name, value in given.items() if name not in fields}})
        self._announce(item, self.items.add(item, event.get("previous_item_id")))

    def _announce(self, item: Item, before: str | None) -> None:
        self.emit("conversation.item.added", previous_item_id=before, item=item.fields)
        self.emit("conversation.item.done", previous_item_id=before, item=item.fields)

    def _item(self, event: Event, verb: str) -> Item:
        item_id = required(event, "item_id", str)
        item = self.items.find(item_id)
        if item is None:
            raise Rejected(f"item_{verb}_invalid_item_id", f"there is no item '{item_id}'", "item_id")
        return item

    def _item_delete(self, event: Event) -> None:
        item = self._item(event, "delete")
        self.items.remove(item)
        self.emit("conversation.item.deleted", item_id=item.id)

    def _item_retrieve(self, event: Event) -> None:
        self.emit("conversation.item.retrieved", item=self._item(event, "retrieve").fields)

    def _item_truncate(self, event: Event) -> None:
        item = self._item(event, "truncate")
        end_ms = required(event, "audio_end_ms", int)
        index = required(event, "content_index", int)
        if not item.spoken_answer or index != 0:
            raise Rejected("unsupported_content_type", "only audio of the assistant can be truncated")
        if end_ms > item.audio_ms:
            message = f"the audio has {item.audio_ms} ms, which is less than {end_ms} ms"
            raise Rejected("invalid_value", message, "audio_end_ms")
        item.audio_ms = end_ms
        # What was not heard must not stay in the context, and nobody knows which words that were.
        item.fields["content"][0]["transcript"] = ""
        cut = {"item_id": item.id, "content_index": index, "audio_end_ms": end_ms}
        self.emit("conversation.item.truncated", **cut)

    def _response_create(self, event: Event) -> None:
        request = event.get("response") or {}
        if not isinstance(request, dict):
            raise Rejected("invalid_type", "'response' has to be an object", "response")
        self.responses.begin(request)

    def _response_cancel(self, event: Event) -> None:
        wanted = event.get("response_id")
        generation = self.responses.in_progress if wanted is None else self.responses.find(wanted)
        if generation is None:
            raise Rejected("response_cancel_not_active", "there is no response in progress")
        self.responses.cancel(generation, "client_cancelled")

    CLIENT_EVENTS: ClassVar[dict[str, Callable[[RealtimeConversation, Event], None]]] = {
        "session.update": _session_update,
        "input_audio_buffer.append": _audio_append,
        "input_audio_buffer.commit": _audio_commit,
        "input_audio_buffer.clear": _audio_clear,
        "output_audio_buffer.clear": _output_clear,
        "conversation.item.create": _item_create,
        "conversation.item.delete": _item_delete,
        "conversation.item.retrieve": _item_retrieve,
        "conversation.item.truncate": _item_truncate,
        "response.create": _response_create,
        "response.cancel": _response_cancel,
    }


_RATE_LIMITS = [
    {"name": "requests", "limit": 20000, "remaining": 19999, "reset_seconds": 0.003},
    {"name": "tokens", "limit": 15000000, "remaining": 14995000, "reset_seconds": 0.02},
]


def _event(frame: str | bytes) -> Event:
    try:
        event = json.loads(frame)
    except ValueError as error:
        raise Rejected("invalid_json", f"the frame is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise Rejected("invalid_json", "the frame is not a JSON object")
    return event
