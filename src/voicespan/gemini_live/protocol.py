"""Gemini Live: wire messages in, moments out. No clock, no I/O, no OpenTelemetry: time comes with the message.

A message is an object whose every field tells something, and any fields can come together. The tables say
of each field at which `VOICESPAN_EVENTS` it gets a span under its own name, and which method reads what it
means; the order of a table is the order in which the fields of one message happened. A field that is in
no table passes under its own name; what is of another type than documented is taken as not told.

Nothing has an id here except function calls, and not everywhere those. A turn of the model begins with its
first sign and ends with `turnComplete`; fragments of a transcript belong together until something ends them.

    protocol = Protocol()
    for line in recording:
        read = protocol.receive if line["dir"] == "server" else protocol.send
        moments += read(line["event"], at=0)
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from voicespan.gemini_live import frames, turn_tracker, values
from voicespan.gemini_live import usage as tokens
from voicespan.gemini_live.functions import Functions
from voicespan.gemini_live.turn_tracker import TurnTracker
from voicespan.protocol import events as moments
from voicespan.protocol.events import Event, Level, LocalId, ProviderEvent, WireError
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from voicespan.gemini_live.turns import Turn

    _Reader: TypeAlias = Callable[["Protocol", Any, int, dict[str, Any]], Iterable[Event]]

#: Of one message's unknown fields so many are told.
_MOST_UNKNOWN = 64
#: The objects whose fields are told apart, in the server's and the client's messages.
_OPENED = ("serverContent", "realtimeInput")
#: What has another name than its field: the whole of a transcript has that, and a text has too plain a one.
_NAMES = {
    "inputTranscription": "input_transcription.fragment",
    "outputTranscription": "output_transcription.fragment",
    "text": "realtime_input",
}


#: Of the agent's audio, in Hz: the service speaks at no other.
_AUDIO_RATE = 24_000


class Protocol:
    """The state of one connection."""

    def __init__(self, events: Level = Level.STANDARD) -> None:
        """`events`: up to which level messages under their own name are wanted."""
        self._events = events
        #: Of the newest resumption handle, as long as it is good.
        self.fingerprint: str | None = None
        #: The server said that it is about to close the connection.
        self.going_away = False
        self._exchange = TurnTracker()
        self._functions = Functions()
        self._updates: dict[tuple[str | None, bool], None] = {}

    def skip_server_frame(self, frame: Any) -> bool:
        """Count a message that carries only more audio of the turn that is in progress."""
        turn = self._exchange.turn
        if turn is None or turn.audio == 0:
            return False
        size = frames.audio_size(frame, turn.mime_type)
        turn.audio += size
        return size > 0

    def skip_client_frame(self, frame: Any) -> bool:
        """Whether a client's message is microphone audio, which tells nothing but that it was sent."""
        given = frame.get("realtimeInput") or frame.get("realtime_input") if isinstance(frame, dict) else None
        if not isinstance(given, dict) or len(given) != 1:
            return False
        if given.get("audio") is None:
            # Before there was `audio`, microphone and camera both were media.
            media = given.get("media") or given.get("mediaChunks") or given.get("media_chunks")
            blob = media[0] if isinstance(media, list) and media else media
            if not values.mime_type(blob).startswith("audio/"):
                return False
        self._exchange.user_spoke = True
        return True

    def receive(self, frame: Any, at: int) -> list[Event]:
        """What a server's message (the SDK's, its JSON as text or bytes, or the object itself) tells."""
        # Most messages without audio are a piece of a transcript, and to convert one takes longer than all the rest.
        piece = frames.transcript_piece(frame) if self._events < Level.ALL else None
        if piece is not None and self._exchange.goes_on(values.text(piece[1]) or "", at, users=piece[0]):
            return []
        message = frames.parsed(frame)
        if message is None:
            return [_unreadable(frame, at, from_client=False)]
        return list(self._read(_SERVER, message, at, from_client=False))

    def send(self, frame: Any, at: int) -> list[Event]:
        """What a client's message tells."""
        message = frames.parsed(frame)
        if message is None:
            return [_unreadable(frame, at, from_client=True)]
        return list(self._read(_CLIENT, frames.wire(message), at, from_client=True))

    def connection_lost(self, at: int) -> list[Event]:
        """What is still open when the connection is over."""
        return list(self._exchange.cut_off(at))

    def resumable(self, *, abnormal: bool) -> bool:
        """Whether the application can, and is likely to, take up the session on another connection."""
        return self.fingerprint is not None and (self.going_away or abnormal)

    def _read(
        self,
        table: dict[str, tuple[Level, _Reader | None]],
        message: dict[str, Any],
        at: int,
        *,
        from_client: bool,
    ) -> Iterator[Event]:
        told: dict[str, Any] = {}
        inside: dict[str, str] = {}
        for key, value in message.items():
            if key in _OPENED and isinstance(value, dict):
                told.update(value)
                inside.update(dict.fromkeys(value, key))
            else:
                told[key] = value
        for key in (
            told
            if len(told) == 1
            else [
                *(k for k in table if k in told),
                *islice((k for k in told if k not in table), _MOST_UNKNOWN),
            ]
        ):
            value = told[key]
            if value is None or value is False:
                continue
            level, reader = table.get(key) or (Level.ALL if from_client else Level.STANDARD, None)
            if reader is not None:
                yield from reader(self, value, at, told)
            if level <= self._events:
                name = _NAMES.get(key) or values.snake(key)
                payload = {inside[key]: {key: value}} if key in inside else {key: value}
                yield ProviderEvent(at, name, level, frames.without_bytes(payload), from_client)

    # The session.

    def _setup(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        setup = values.as_object(value)
        generation = values.as_object(setup.get("generationConfig"))
        speech = values.as_object(generation.get("speechConfig"))
        voice = values.as_object(values.as_object(speech.get("voiceConfig")).get("prebuiltVoiceConfig"))
        realtime = values.as_object(setup.get("realtimeInputConfig"))
        detection = values.as_object(realtime.get("automaticActivityDetection"))
        self._exchange.transcribes = setup.get("inputAudioTranscription") is not None
        yield moments.SessionDescribed(
            at,
            "setup",
            None,
            frames.model_name(setup.get("model")),
            {
                "response_modalities": ",".join(values.texts(generation.get("responseModalities"))) or None,
                "voice": values.name(voice.get("voiceName")),
                "language": values.name(speech.get("languageCode")),
                "transcribes_input": self._exchange.transcribes,
                "transcribes_output": setup.get("outputAudioTranscription") is not None,
                "turn_detection": "manual" if detection.get("disabled") is True else "automatic",
                "resumed": bool(values.as_object(setup.get("sessionResumption")).get("handle")) or None,
            },
            _AUDIO_RATE,
        )
        if self._events >= Level.ALL:
            yield ProviderEvent(at, "setup", Level.ALL, {"setup": _without_handle(setup)}, from_client=True)

    def _setup_complete(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        session_id = values.name(values.as_object(value).get("sessionId"))
        yield moments.SessionDescribed(at, "setup_complete", session_id, None)

    def _resumption(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        update = values.as_object(value)
        fingerprint = frames.fingerprint(update.get("newHandle"))
        resumable = update.get("resumable") is True
        self.fingerprint = fingerprint if resumable else None
        if self.fingerprint is not None:
            yield moments.ResumptionOffered(at, "session_resumption_update", self.fingerprint)
        if (fingerprint, resumable) not in self._updates:
            put(self._updates, (fingerprint, resumable), None)
            payload = {"sessionResumptionUpdate": _without_handle(update)}
            yield ProviderEvent(at, "session_resumption_update", Level.ESSENTIAL, payload)

    def _go_away(self, *_: Any) -> Iterable[Event]:
        self.going_away = True
        return ()

    def _error(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        error = values.as_object(value)
        kind = values.name(error.get("status")) or "error"
        message = values.text(error.get("message"), 4_000) or values.text(value, 4_000) or kind
        yield moments.ErrorReported(
            at, "error", WireError(kind, message), {"code": values.integer(error.get("code"))}
        )

    # What the user says.

    def _voice_activity(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        told = values.as_object(value)
        # The SDK and the wire have different names for it, and there are two generations of the message.
        kinds = (told.get(key) for key in ("voiceActivityType", "type", "vadSignalType"))
        kind = next((kind for kind in map(values.name, kinds) if kind is not None), "")
        if kind.endswith(("ACTIVITY_START", "_SOS")):
            yield moments.SpeechStarted(at, "voice_activity", None)
        elif kind.endswith(("ACTIVITY_END", "_EOS")):
            yield moments.SpeechStopped(at, "voice_activity", None)

    def _activity_start(self, _value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        yield moments.SpeechStarted(at, "activity_start", None)

    def _activity_end(self, _value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        yield moments.SpeechStopped(at, "activity_end", None)

    # Who says what: see `exchange`.

    def _user_fragment(self, value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
        return self._exchange.heard(values.as_object(value), at)

    def _model_fragment(self, value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
        return self._exchange.said(values.as_object(value), at)

    def _model_turn(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        has_audio = False
        for part in values.as_objects(values.as_object(value).get("parts")):
            if any(part.values()):
                turn = yield from self._exchange.begin(at, "model_turn")
                yield from self._exchange.part(turn, part, at)
                yield from self._other_part(turn, part, at)
                has_audio = has_audio or turn_tracker.is_audio(part)
        if self._events >= Level.ALL and not has_audio:
            payload = {"serverContent": {"modelTurn": frames.without_bytes(value)}}
            yield ProviderEvent(at, "model_turn", Level.ALL, payload)

    def _other_part(self, turn: Turn, part: dict[str, Any], at: int) -> Iterator[Event]:
        call = part.get("functionCall")
        if isinstance(call, dict):
            yield from self._functions.called(turn, [call], at, "model_turn")
        if self._events >= Level.STANDARD:
            for key in ("executableCode", "codeExecutionResult"):
                if part.get(key):
                    yield ProviderEvent(at, values.snake(key), Level.STANDARD, {key: part[key]})

    def _interrupted(self, _value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
        return self._exchange.interrupted(at)

    def _usage(self, value: Any, at: int, beside: dict[str, Any]) -> Iterator[Event]:
        told = tokens.usage(value)
        if told is None:
            return
        if self._exchange.turn is not None or beside.get("turnComplete") is True:
            turn = yield from self._exchange.begin(at, "turn_complete")
            turn.usage = tokens.together(turn.usage, told)
            return
        yield moments.UsageReported(at, "usage_metadata", told)
        if self._events >= Level.STANDARD:
            yield ProviderEvent(at, "usage_metadata", Level.STANDARD, {"usageMetadata": value})

    def _turn_complete(self, _value: Any, at: int, beside: dict[str, Any]) -> Iterable[Event]:
        reason = values.name(beside.get("turnCompleteReason"))
        return self._exchange.complete(at, reason, tokens.facts(beside.get("usageMetadata")))

    # Functions.

    def _tool_call(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        calls = values.as_objects(values.as_object(value).get("functionCalls"))
        if calls:
            turn = yield from self._exchange.begin(at, "tool_call")
            yield from self._functions.called(turn, calls, at)

    def _tool_call_cancelled(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        yield from self._functions.cancelled(values.texts(values.as_object(value).get("ids")), at)

    def _tool_response(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        for answer in values.as_objects(values.as_object(value).get("functionResponses")):
            yield from self._functions.answered(self._exchange.turn, answer, at)

    # What the application types and shows.

    def _client_content(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        turns = values.as_object(value).get("turns")
        for turn in values.as_objects(turns if isinstance(turns, list) else [turns]):
            given = turn.get("parts")
            parts = values.as_objects(given if isinstance(given, list) else [given])
            for part in parts:
                if isinstance(part.get("functionResponse"), dict):
                    answer = part["functionResponse"]
                    yield from self._functions.answered(self._exchange.turn, answer, at, "client_content")
            text = " ".join(filter(None, map(_part_text, parts)))
            if text:
                role: moments.Role = "assistant" if turn.get("role") == "model" else "user"
                yield moments.MessageText(at, "client_content", LocalId.new("typed"), role, text, seeded=True)

    def _typed(self, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
        text = values.text(value)
        if text:
            yield moments.MessageText(at, "realtime_input", LocalId.new("typed"), "user", text, seeded=True)

    def _image(self, value: Any, at: int, beside: dict[str, Any]) -> Iterator[Event]:
        """A picture, or a frame of a video: of those only the first before each answer is told."""
        if self._exchange.showed_image and self._events < Level.ALL:
            return
        if not self._exchange.showed_image:
            self._exchange.showed_image = True
            blob = value[0] if isinstance(value, list) and value else value
            text = f"[{values.mime_type(blob) or 'image'}]"
            yield moments.MessageText(at, "realtime_input", LocalId.new("image"), "user", text, seeded=True)
        if self._events >= Level.STANDARD:
            payload = {"realtimeInput": frames.without_bytes(beside)}
            yield ProviderEvent(at, "realtime_input", Level.STANDARD, payload, from_client=True)

    # The tables.

    SERVER: ClassVar[dict[str, tuple[Level, _Reader | None]]] = {
        "setupComplete": (Level.ESSENTIAL, _setup_complete),
        "error": (Level.NEVER, _error),
        "voiceActivityDetectionSignal": (Level.STANDARD, _voice_activity),
        "voiceActivity": (Level.STANDARD, _voice_activity),
        "interimInputTranscription": (Level.ALL, None),
        "inputTranscription": (Level.ALL, _user_fragment),
        "modelTurn": (Level.NEVER, _model_turn),
        "outputTranscription": (Level.ALL, _model_fragment),
        "toolCall": (Level.NEVER, _tool_call),
        "toolCallCancellation": (Level.STANDARD, _tool_call_cancelled),
        "groundingMetadata": (Level.STANDARD, None),
        "urlContextMetadata": (Level.STANDARD, None),
        "generationComplete": (Level.STANDARD, None),
        "interrupted": (Level.NEVER, _interrupted),
        "usageMetadata": (Level.NEVER, _usage),
        "turnComplete": (Level.NEVER, _turn_complete),
        "turnCompleteReason": (Level.NEVER, None),
        "waitingForInput": (Level.ALL, None),
        "interactionStatus": (Level.ALL, None),
        "goAway": (Level.ESSENTIAL, _go_away),
        "sessionResumptionUpdate": (Level.NEVER, _resumption),
    }

    CLIENT: ClassVar[dict[str, tuple[Level, _Reader | None]]] = {
        "setup": (Level.NEVER, _setup),
        "clientContent": (Level.STANDARD, _client_content),
        "text": (Level.STANDARD, _typed),
        "audio": (Level.NEVER, None),
        "media": (Level.NEVER, _image),
        "mediaChunks": (Level.NEVER, _image),
        "video": (Level.NEVER, _image),
        "activityStart": (Level.STANDARD, _activity_start),
        "activityEnd": (Level.STANDARD, _activity_end),
        "audioStreamEnd": (Level.ALL, None),
        "toolResponse": (Level.NEVER, _tool_response),
        "contextUpdate": (Level.STANDARD, None),
    }


_SERVER = Protocol.SERVER
_CLIENT = Protocol.CLIENT


def _unreadable(frame: Any, at: int, *, from_client: bool) -> Event:
    length = len(frame) if isinstance(frame, (bytes, str)) else 0
    return ProviderEvent(at, "unreadable_frame", Level.STANDARD, {"bytes": length}, from_client)


def _without_handle(told: dict[str, Any]) -> dict[str, Any]:
    """A setup, or an update of its resumption, with only a short hash of each handle."""
    kept: dict[str, Any] = {}
    for key, value in told.items():
        if key in ("newHandle", "handle"):
            kept["handleSha256"] = (frames.fingerprint(value) or "")[:12]
        elif key == "sessionResumption" and isinstance(value, dict):
            kept[key] = _without_handle(value)
        else:
            kept[key] = value
    return kept


def _part_text(part: dict[str, Any]) -> str | None:
    for key in ("inlineData", "fileData"):
        if isinstance(part.get(key), dict):
            return f"[{values.mime_type(part[key]) or 'attachment'}]"
    return values.text(part.get("text"))
