"""Gemini Live: wire messages in, events out. No clock, no I/O, no OpenTelemetry: time comes with the message.

A message is an object of which every field means something, and any fields can come together. The tables give
for each field from which `VOICESPAN_EVENTS` on it gets a span under its own name, and the function that reads
it. Fields of one message are read in the order of the table, which is the order in which they happened. A field
that is in no table gets a span under its own name; a value of another type than documented is ignored.

Only function calls have ids, and not everywhere. `turn_tracker` says which fragments belong together.

    protocol = Protocol()
    for line in recording:
        read = protocol.receive if line["dir"] == "server" else protocol.send
        events += read(line["event"], at=0)
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from voicespan.gemini_live import client_messages as client
from voicespan.gemini_live import frames, values
from voicespan.gemini_live import server_messages as server
from voicespan.gemini_live.session import Reader, Session
from voicespan.protocol.events import Level, ProviderEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.protocol.events import Event

Table: TypeAlias = dict[str, tuple[Level, Reader | None]]

SERVER: Table = {
    "setupComplete": (Level.ESSENTIAL, server.setup_complete),
    "error": (Level.NEVER, server.error),
    "voiceActivityDetectionSignal": (Level.STANDARD, server.voice_activity),
    "voiceActivity": (Level.STANDARD, server.voice_activity),
    "interimInputTranscription": (Level.ALL, None),
    "inputTranscription": (Level.ALL, server.input_transcription),
    "modelTurn": (Level.NEVER, server.model_turn),
    "outputTranscription": (Level.ALL, server.output_transcription),
    "toolCall": (Level.NEVER, server.tool_call),
    "toolCallCancellation": (Level.STANDARD, server.tool_call_cancellation),
    "groundingMetadata": (Level.STANDARD, None),
    "urlContextMetadata": (Level.STANDARD, None),
    "generationComplete": (Level.STANDARD, server.generation_complete),
    "interrupted": (Level.NEVER, server.interrupted),
    "usageMetadata": (Level.NEVER, server.usage_metadata),
    "turnComplete": (Level.NEVER, server.turn_complete),
    "turnCompleteReason": (Level.NEVER, None),
    "waitingForInput": (Level.ALL, None),
    "interactionStatus": (Level.ALL, None),
    "goAway": (Level.ESSENTIAL, server.go_away),
    "sessionResumptionUpdate": (Level.NEVER, server.resumption_update),
}

CLIENT: Table = {
    "setup": (Level.NEVER, client.setup),
    "clientContent": (Level.STANDARD, client.client_content),
    "text": (Level.STANDARD, client.text),
    "audio": (Level.NEVER, None),
    "media": (Level.NEVER, client.image),
    "mediaChunks": (Level.NEVER, client.image),
    "video": (Level.NEVER, client.image),
    "activityStart": (Level.STANDARD, client.activity_start),
    "activityEnd": (Level.STANDARD, client.activity_end),
    "audioStreamEnd": (Level.ALL, None),
    "toolResponse": (Level.NEVER, client.tool_response),
    "contextUpdate": (Level.STANDARD, None),
}

#: The objects whose fields are read one by one.
_OPENED = ("serverContent", "realtimeInput")
#: Fields whose span has another name: a whole transcript has `inputTranscription`, and `text` is too plain.
_NAMES = {
    "inputTranscription": "input_transcription.fragment",
    "outputTranscription": "output_transcription.fragment",
    "text": "realtime_input",
}
#: So many unknown fields of one message get a span.
_MOST_UNKNOWN = 64


class Protocol:
    """One connection."""

    def __init__(self, level: Level = Level.STANDARD) -> None:
        """`level`: up to which level messages under their own name are wanted."""
        self._session = Session(level)
        self._turns = self._session.turns

    def skip_server_frame(self, frame: Any) -> bool:
        """Count a message that carries only more audio of the turn that is in progress."""
        turn = self._turns.turn
        if turn is None or turn.audio == 0:
            return False
        size = frames.audio_size(frame, turn.mime_type)
        turn.audio += size
        return size > 0

    def skip_client_frame(self, frame: Any, at: int) -> bool:
        """Whether a client's message is microphone audio, which is counted."""
        given = frame.get("realtimeInput") or frame.get("realtime_input") if isinstance(frame, dict) else None
        if not isinstance(given, dict) or len(given) != 1:
            return False
        blob = given.get("audio")
        mime_type = values.mime_type(blob)
        if blob is None:
            # Before there was `audio`, microphone and camera both were media.
            media = given.get("media") or given.get("mediaChunks") or given.get("media_chunks")
            blob = media[0] if isinstance(media, list) and media else media
            mime_type = values.mime_type(blob)
            if not mime_type.startswith("audio/"):
                return False
        self._turns.user_spoke = True
        microphone = self._session.microphone
        if mime_type != microphone.mime_type:
            microphone.change_to(mime_type)
        microphone.add(self._microphone_size(blob), at)
        return True

    def _microphone_size(self, blob: Any) -> int:
        data = blob.get("data") if type(blob) is dict else getattr(blob, "data", None)
        return len(data) if type(data) is bytes else frames.size(data)

    def receive(self, frame: Any, at: int) -> list[Event]:
        """What happened, according to a server's message: the SDK's, its JSON, or the object itself."""
        # Most messages without audio are a piece of a transcript, and to convert one takes longer than all the rest.
        piece = frames.transcript_piece(frame) if self._session.level < Level.ALL else None
        if piece is not None and self._turns.goes_on(values.text(piece[1]) or "", at, users=piece[0]):
            return []
        message = frames.parsed(frame)
        if message is None:
            return [_unreadable(frame, at, from_client=False)]
        return list(self._read(SERVER, message, at, from_client=False))

    def send(self, frame: Any, at: int) -> list[Event]:
        """What happened, according to a client's message."""
        message = frames.parsed(frame)
        if message is None:
            return [_unreadable(frame, at, from_client=True)]
        return list(self._read(CLIENT, frames.wire(message), at, from_client=True))

    def connection_lost(self, at: int) -> list[Event]:
        """What is still open when the connection is over."""
        return [*self._turns.cut_off(at), *self._session.calls.connection_lost()]

    def resumable(self, *, abnormal: bool) -> bool:
        """Whether the application can, and is likely to, resume the session on another connection."""
        # One in which nothing happened yet was closed to be resumed with other settings.
        likely = self._session.going_away or abnormal or self._turns.is_empty
        return self._session.fingerprint is not None and likely

    def _read(self, table: Table, message: dict[str, Any], at: int, *, from_client: bool) -> Iterator[Event]:
        fields, parents = _fields(message)
        for key in _in_order(table, fields):
            value = fields[key]
            if value is None or value is False:
                continue
            level, reader = table.get(key) or (Level.ALL if from_client else Level.STANDARD, None)
            if reader is not None:
                yield from reader(self._session, value, at, fields)
            if level <= self._session.level:
                name = _NAMES.get(key) or values.snake(key)
                payload = {parents[key]: {key: value}} if key in parents else {key: value}
                yield ProviderEvent(at, name, level, frames.without_bytes(payload), from_client)


def _fields(message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """All fields of a message, and of those that were inside another object its name."""
    fields: dict[str, Any] = {}
    parents: dict[str, str] = {}
    for key, value in message.items():
        if key in _OPENED and isinstance(value, dict):
            fields.update(value)
            parents.update(dict.fromkeys(value, key))
        else:
            fields[key] = value
    return fields, parents


def _in_order(table: Table, fields: dict[str, Any]) -> list[str]:
    """The fields as the table has them, then the unknown ones."""
    if len(fields) == 1:
        return list(fields)
    unknown = (key for key in fields if key not in table)
    return [*(key for key in table if key in fields), *islice(unknown, _MOST_UNKNOWN)]


def _unreadable(frame: Any, at: int, *, from_client: bool) -> Event:
    length = len(frame) if isinstance(frame, (bytes, str)) else 0
    return ProviderEvent(at, "unreadable_frame", Level.STANDARD, {"bytes": length}, from_client)
