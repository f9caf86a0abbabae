"""The server's side of one session: client frames in, events out. No socket, no thread, no clock.

What holds throughout:

- Time is what the user's audio says. Where none comes the time line stands still, and what was appended
  is not placed.
- There are no turns: words of both sides come as fragments with their times, and the model's track never ends.
- A command that cannot be taken gets an `error` event with its `client_event_id`, and changes nothing.
- After `session.closed` nothing comes, and the connection is dropped without a close frame.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.testing.openai_live.answers import Reply
from voicespan.testing.openai_live.backend import ResponsesBackend, decision_event
from voicespan.testing.openai_live.timeline import Timeline
from voicespan.testing.openai_live.user import User
from voicespan.testing.openai_live.wire import decoded, encoded, encoding, parsed
from voicespan.testing.openai_realtime.rejected import Rejected, required
from voicespan.testing.openai_realtime.session import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.testing.openai_live.answers import LiveDialogue

#: A far one instead of one computed from the clock: every run of a test sees the same frames.
_EXPIRES_AT = 4_102_444_800
_LONGEST_FIXTURE_MS = 30_000
_FIXTURE_BYTES_PER_MS = 48
_MOST_WORDS = 500
#: What may be changed after the start.
_MUTABLE = frozenset({"delegation", "triggers"})


class LiveSession:
    """One session, with its primary connection and those that watch it.

    Args:
        session_id: `live_0001`.
        dialogue: What is said and done.
        send: Takes each event of the primary connection, encoded.
        next_id: The next id for a prefix: `event_0001`.
        drop: Ends the connections, without a close frame.
        stored: The session that this one is a fork of.
    """

    def __init__(
        self,
        session_id: str,
        dialogue: LiveDialogue,
        *,
        send: Callable[[str], None],
        next_id: Callable[[str], str],
        drop: Callable[[], None],
        stored: dict[str, Any] | None = None,
    ) -> None:
        self.id = session_id
        #: As `session.started` had it; empty before that.
        self.fields: dict[str, Any] = {}
        self.closed = False
        #: Of both ways.
        self.encoding = FORMATS["audio/pcm"]
        #: What was said, as it would stand in the service's own recording: user left, agent right.
        self.user_track, self.agent_track = bytearray(), bytearray()
        self._dialogue = dialogue
        self._send = send
        self._next_id = next_id
        self._drop = drop
        self._stored = stored
        self._watchers: list[Callable[[str], None]] = []
        self._timeline = Timeline(self.encoding, self._play, self._agent_word)
        self._user = User(dialogue, self._emit, self._reply)
        self._muted = False
        self._fixture = False
        self._usage_sent = 0
        self._appends: list[tuple[str, str | None]] = []
        self._decisions: set[str] = set()
        self._delegations: set[str] = set()
        self._backend = ResponsesBackend(self._emit, next_id, self._say)

    def watch(self, send: Callable[[str], None]) -> None:
        """A sideband connection joins."""
        self._watchers.append(send)
        started = {"type": "session.started", "event_id": self._next_id("event"), "session": self.fields}
        send(encoded(started))

    def leave(self, send: Callable[[str], None]) -> None:
        """It is gone."""
        self._watchers.remove(send)

    def close(self) -> None:
        """The primary connection is gone."""

    def receive(self, frame: str | bytes, *, sideband: bool = False) -> None:
        """A client's frame."""
        if self.closed:
            return
        event = parsed(frame)
        event_id = event.get("event_id") if event else None
        try:
            self._command(event, sideband=sideband)
        except Rejected as rejected:
            error = {**rejected.error(None), "client_event_id": event_id}
            del error["event_id"]
            self._emit({"type": "error", "error": error, "client_event_id": event_id})

    def end(self, reason: str = "close_requested") -> None:
        """The session is over."""
        for _, event_id in self._appends:
            error = {
                "type": "invalid_request_error",
                "code": "context_injection_incomplete",
                "message": "The session closed before the context was placed.",
                "client_event_id": event_id,
            }
            self._emit({"type": "error", "error": error, "client_event_id": event_id})
        usage = {"seconds": self._seconds}
        self._emit({"type": "session.closed", "reason": reason, "usage": usage, "session": self.fields})
        self.closed = True
        self._drop()

    @property
    def _seconds(self) -> float:
        return self._timeline.ms / 1000

    # Commands.

    def _command(self, event: dict[str, Any] | None, *, sideband: bool) -> None:
        if event is None:
            raise Rejected("invalid_json", "The frame is no JSON object.")
        kind = str(event.get("type"))
        if kind == "session.start":
            if sideband:
                raise Rejected("invalid_event", "A sideband cannot start a session.", "type")
            self._start(event)
            return
        if not self.fields:
            raise Rejected("session_not_started", "Send session.start first.", "type")
        if kind == "session.input_audio.append":
            self._hear(event)
            return
        command = self._COMMANDS.get(kind)
        if command is None:
            raise Rejected("unknown_parameter", f"Unknown event type: '{kind}'.", "type")
        command(self, event)

    def _start(self, event: dict[str, Any]) -> None:
        if self.fields:
            raise Rejected("session_already_started", "The session was started already.", "type")
        given = required(event, "session", dict)
        if self._stored is not None:
            if "model" in given:
                raise Rejected(
                    "immutable_field_update", "A fork keeps the stored session's model.", "session.model"
                )
            given = {**self._stored, **given}
        else:
            required(given, "model", str, within="session")
        audio = given.get("audio") or {}
        self.encoding = encoding(audio.get("format"))
        self._timeline = Timeline(self.encoding, self._play, self._agent_word)
        self.fields = {
            "id": self.id,
            "object": "live.session",
            "status": "active",
            "expires_at": _EXPIRES_AT,
            "instructions": None,
            "delegation": None,
            "input": [],
            "store": False,
            "triggers": [],
            **{
                key: value
                for key, value in given.items()
                if key not in ("id", "object", "status", "expires_at")
            },
            "audio": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "output": {"voice": "marin"},
                **audio,
            },
        }
        self._emit({"type": "session.started", "session": self.fields}, event)

    def _update(self, event: dict[str, Any]) -> None:
        given = required(event, "session", dict)
        for key in given:
            if key not in _MUTABLE:
                raise Rejected("immutable_field_update", f"'{key}' cannot change.", f"session.{key}")
        self.fields.update(given)
        self._emit({"type": "session.updated", "session": self.fields}, event)

    def _close(self, _event: dict[str, Any]) -> None:
        self.end()

    def _mute(self, event: dict[str, Any]) -> None:
        self._muted = event["type"].endswith(".mute")
        self._emit({"type": f"{event['type']}d"}, event)

    def _append(self, event: dict[str, Any]) -> None:
        content = required(event, "content", str)
        if "delegation_id" not in event:
            raise Rejected("missing_required_parameter", "'delegation_id' is required", "delegation_id")
        if len(content.split()) > _MOST_WORDS:
            raise Rejected("string_above_max_length", "The content is too long.", "content")
        delegation_id = event["delegation_id"]
        if delegation_id is not None and delegation_id not in self._delegations:
            raise Rejected("invalid_delegation_id", f"No client delegation {delegation_id}.", "delegation_id")
        waiting = (event["type"], event.get("event_id"))
        self._appends.append(waiting)

        def place() -> None:
            self._appends.remove(waiting)
            times = {"start_ms": self._timeline.ms, "end_ms": self._timeline.ms}
            self._emit({"type": f"{event['type']}ed", **times}, event)
            if event["type"] == "session.commentary.append":
                self._say(content)

        self._timeline.at(self._timeline.ms, place)

    def _play_fixture(self, event: dict[str, Any]) -> None:
        audio = decoded(event)
        if self._fixture:
            raise Rejected("fixture_already_active", "A fixture is being played.", "audio")
        if len(audio) > _LONGEST_FIXTURE_MS * _FIXTURE_BYTES_PER_MS:
            raise Rejected("fixture_too_long", "A fixture has at most 30 seconds.", "audio")
        self._fixture = True
        self._timeline.stop()
        self._emit({"type": "session.output_audio.fixture.playing"}, event)
        length = len(audio) // _FIXTURE_BYTES_PER_MS
        self._timeline.say("", self.encoding.silence * (length * self.encoding.bytes_per_ms), yields=False)

        def played() -> None:
            self._fixture = False
            self._emit({"type": "session.output_audio.fixture.played"}, event)

        self._timeline.at(self._timeline.ms + length, played)

    def _add_item(self, event: dict[str, Any]) -> None:
        self._require_responses()
        self._backend.add_item(event.get("item"))

    def _create_response(self, _event: dict[str, Any]) -> None:
        self._require_responses()
        self._backend.create()

    def _require_responses(self) -> None:
        if self._target != "responses":
            raise Rejected("unsupported_delegation", "The session has no Responses delegation.", "type")

    def _create_decision(self, event: dict[str, Any]) -> None:
        event_id = required(event, "event_id", str)
        if event_id in self._decisions:
            raise Rejected("duplicate_event_id", f"'{event_id}' was used already.", "event_id")
        self._decisions.add(event_id)
        self._decide(None, self._dialogue.reply(self._user.utterances - 1) or Reply())

    def _decision_item(self, event: dict[str, Any]) -> None:
        if event["type"].endswith(".create"):
            item = {"id": self._next_id("item"), **required(event, "item", dict)}
            self._emit({"type": "decision.item.created", "item": item}, event)
        else:
            item_id = required(event, "item_id", str)
            self._emit({"type": "decision.item.deleted", "item_id": item_id}, event)

    def _dtmf(self, event: dict[str, Any]) -> None:
        sent = {"type": "transport.dtmf.sent", "event": required(event, "event", str)}
        self._emit(sent, event, watchers_only=True)

    # What the user says.

    def _hear(self, event: dict[str, Any]) -> None:
        audio = decoded(event)
        for send in list(self._watchers):
            send(encoded({"type": "session.input_audio.append", "audio": event["audio"]}))
        self.user_track += audio
        heard = self.encoding.silence * len(audio) if self._muted or self._fixture else audio
        self._user.hear(heard, self.encoding, self._timeline)
        self._timeline.advance(len(audio))

    # What the model does.

    @property
    def _target(self) -> str:
        return str((self.fields.get("delegation") or {}).get("type") or "client")

    def _reply(self, reply: Reply) -> None:
        if reply.text:
            self._say(reply.text, reply)
        if reply.delegates:
            self._delegate(reply)

    def _say(self, text: str, reply: Reply | None = None) -> None:
        reply = reply or Reply(text)
        audio = reply.spoken(text, self.encoding.bytes_per_ms, self.encoding.silence)
        self._timeline.say(text, audio, yields=reply.yields)

    def _delegate(self, reply: Reply) -> None:
        target = self._target
        delegation: dict[str, Any] = {"id": self._next_id("item"), "type": "delegation", "target": target}
        if target == "responses":
            delegation["response_id"] = self._next_id("resp")
        created = {"type": "session.delegation.created", "offset_ms": self._timeline.ms}
        self._emit({**created, "delegation": delegation})
        if target == "responses":
            model = str(((self.fields["delegation"] or {}).get("responses") or {}).get("model") or "")
            self._backend.delegate(delegation["id"], delegation["response_id"], reply, model)
        elif target == "decisions":
            self._decide(delegation["id"], reply)
        else:
            self._delegations.add(delegation["id"])

    def _decide(self, delegation_id: str | None, reply: Reply) -> None:
        model = str(((self.fields.get("delegation") or {}).get("decisions") or {}).get("model") or "decider")
        event = decision_event(model, reply, self._next_id("decision"))
        outer = {"delegation_id": delegation_id, "trigger_id": None, "source_event_id": None}
        self._emit({"type": "decision.event", **outer, "event": event})

    def _agent_word(self, text: str, start: int, end: int) -> None:
        times = {"start_ms": start, "end_ms": end}
        self._emit({"type": "session.output_transcript.delta", "delta": text, **times})

    def _play(self, audio: bytes, start: int, end: int) -> None:
        self.agent_track += audio
        event = {"type": "session.output_audio.delta", "delta": base64.b64encode(audio).decode()}
        self._send(encoded(event))
        for send in list(self._watchers):
            send(encoded({**event, "start_ms": start, "end_ms": end}))
        if end - self._usage_sent >= self._dialogue.usage_every_ms:
            self._usage_sent = end
            usage = {"type": "session.usage.updated", "usage": {"seconds": self._seconds}}
            self._emit({**usage, "context_window": {"usage_ratio": 0.01}})

    def _emit(
        self,
        event: dict[str, Any],
        command: dict[str, Any] | None = None,
        *,
        watchers_only: bool = False,
    ) -> None:
        """Send an event to everybody, or to sidebands; `command`: which it answers."""
        whole = {"type": event["type"], "event_id": self._next_id("event"), **event}
        if command is not None and command.get("event_id") is not None:
            whole["client_event_id"] = command["event_id"]
        frame = encoded(whole)
        if not watchers_only:
            self._send(frame)
        for send in list(self._watchers):
            send(frame)

    _COMMANDS: ClassVar[dict[str, Callable[[LiveSession, dict[str, Any]], None]]] = {
        "session.update": _update,
        "session.close": _close,
        "session.input_audio.mute": _mute,
        "session.input_audio.unmute": _mute,
        "session.instructions.append": _append,
        "session.thinking.append": _append,
        "session.commentary.append": _append,
        "session.output_audio.fixture.play": _play_fixture,
        "response.item.create": _add_item,
        "response.create": _create_response,
        "decision.create": _create_decision,
        "decision.item.create": _decision_item,
        "decision.item.delete": _decision_item,
        "transport.dtmf.send": _dtmf,
    }


class Sideband:
    """A connection that watches a session and may steer it."""

    def __init__(self, session: LiveSession, send: Callable[[str], None]) -> None:
        self._session = session
        self._send = send
        session.watch(send)

    def receive(self, frame: str | bytes) -> None:
        """A frame of its client."""
        self._session.receive(frame, sideband=True)

    def close(self) -> None:
        """It is gone."""
        self._session.leave(self._send)
