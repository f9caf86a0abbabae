"""OpenAI Realtime: wire frames in, events out. No clock, no I/O, no OpenTelemetry: time comes with the frame.

Two tables say what each event is: at which `VOICESPAN_EVENTS` it gets a span under its own name, and which
method reads what it means. GA and beta names stand side by side. What is not in a table passes under its
own name; what is missing or of another type than documented is taken as not known.

The Azure, Voice Live and xAI services speak this protocol with small differences (usage beside the
response instead of inside, a status detail that is a string); the readers allow for them.

    protocol = Protocol()
    for line in recording:
        read = protocol.receive if line["dir"] == "server" else protocol.send
        events += read(line["event"], at=0)
"""

from __future__ import annotations

import functools
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from voicespan.openai_realtime import requests, values
from voicespan.openai_realtime.frames import FrameScanner
from voicespan.openai_realtime.items import Items
from voicespan.openai_realtime.mcp import McpCalls
from voicespan.openai_realtime.requests import Requests
from voicespan.openai_realtime.response_state import ResponseStates
from voicespan.openai_realtime.responses import Responses
from voicespan.openai_realtime.transcripts import Transcripts
from voicespan.protocol import events
from voicespan.protocol.events import Event, Level, ProviderEvent
from voicespan.protocol.json_values import event_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Part = TypeVar("_Part")
    #: Of one of the parts of a protocol.
    _Method: TypeAlias = Callable[[_Part, dict[str, Any], int], Iterator[Event]]
    #: The same of a protocol's own part.
    _Reader: TypeAlias = Callable[["Protocol"], Callable[[dict[str, Any], int], Iterator[Event]]]


# Which part of a protocol reads an event, by that part's method: one call of C for each frame, where a function of
# ours would be two.


def _transcripts(read: _Method[Transcripts]) -> _Reader:
    return attrgetter(f"_transcripts.{read.__name__}")


def _items(read: _Method[Items]) -> _Reader:
    return attrgetter(f"_items.{read.__name__}")


def _mcp(read: _Method[McpCalls]) -> _Reader:
    return attrgetter(f"_items.mcp.{read.__name__}")


def _responses(read: _Method[Responses]) -> _Reader:
    return attrgetter(f"_responses.{read.__name__}")


def _own(read: _Method[Protocol]) -> _Reader:
    return attrgetter(read.__name__)


#: Characters; a span shows fewer.
_LONGEST_INSTRUCTIONS = 100_000


class Protocol:
    """The state of one connection."""

    def __init__(self, level: Level = Level.STANDARD) -> None:
        """`level`: up to which frames under their own name are wanted."""
        self._level = level
        self.scanner = FrameScanner(_quiet(level))
        #: Whether a server's frame needs no parsing; the audio in it has been counted then.
        self.skip_server_frame = self.scanner.is_redundant
        self._states = ResponseStates()
        #: The same for a client's frame: it is microphone audio.
        self.skip_client_frame = self._states.microphone.skips
        self._transcripts = Transcripts(self._states, self.scanner)
        self._requests = Requests(level)
        self._items = Items(level, self._states, self._transcripts, self._requests)
        self._responses = Responses(
            self._states, self._transcripts, self._items, self._requests, self.scanner
        )

    def receive(self, frame: Any, at: int) -> list[Event]:
        """What happened, according to a server's frame (bytes, text, or the event itself)."""
        event = event_object(frame)
        if event is None:
            return [_unreadable(frame, at, from_client=False)]
        return list(self._read(_SERVER, event, at, from_client=False))

    def send(self, frame: Any, at: int) -> list[Event]:
        """What happened, according to a client's frame."""
        event = event_object(frame)
        if event is None:
            return [_unreadable(frame, at, from_client=True)]
        return list(self._read(_CLIENT, event, at, from_client=True))

    def connection_lost(self, at: int) -> list[Event]:
        """What was arriving when the connection ended, as far as it came."""
        return [*self._responses.cut_off(at), *self._requests.take_answered()]

    def resumable(self, *, abnormal: bool) -> bool:  # noqa: ARG002  Gemini's
        """Never: a new connection is a new session."""
        return False

    def _read(
        self,
        table: dict[str, tuple[Level, _Reader | None]],
        event: dict[str, Any],
        at: int,
        *,
        from_client: bool,
    ) -> Iterator[Event]:
        kind = values.name(event.get("type")) or "unknown"
        level, reader = table.get(kind) or (_unknown(kind, from_client=from_client), None)
        if reader is not None:
            yield from reader(self)(event, at)
        if self._requests.answered:
            yield from self._requests.take_answered()
        # Under its own name a request is an event once the server has answered it.
        if level <= self._level and not (from_client and kind in _REQUESTS):
            yield ProviderEvent(at, kind, level, event, from_client, values.error_in(kind, event))

    def session(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """What the server says of the session."""
        if event["type"].endswith(".updated"):
            self._requests.accept(requests.UPDATE)
        session = values.as_object(event.get("session"))
        audio_in = values.as_object(values.as_object(session.get("audio")).get("input"))
        audio_out = values.as_object(values.as_object(session.get("audio")).get("output"))
        transcription = audio_in.get("transcription", session.get("input_audio_transcription"))
        detection = values.as_object(audio_in.get("turn_detection", session.get("turn_detection")))
        format_in = audio_in.get("format", session.get("input_audio_format"))
        format_out = audio_out.get("format", session.get("output_audio_format"))
        if "audio" in session or "input_audio_transcription" in session:
            self._transcripts.of_user = bool(transcription)
            self._transcripts.model = values.name(values.as_object(transcription).get("model"))
        if "turn_detection" in audio_in or "turn_detection" in session:
            by_silence = detection.get("type") == "server_vad"
            self._states.silence_ms = (
                values.integer(detection.get("silence_duration_ms")) if by_silence else None
            )
        if format_in is not None:
            self._states.microphone.ns_per_byte = 1e6 / values.bytes_per_ms(format_in)
        if format_out is not None:
            self._states.bytes_per_ms = values.bytes_per_ms(format_out)
        yield events.SessionDescribed(
            at,
            event["type"],
            values.name(session.get("id")),
            values.name(session.get("model")),
            {
                "session_type": values.name(session.get("type")),
                "voice": values.name_or_named(audio_out.get("voice", session.get("voice"))),
                "transcription_model": self._transcripts.model,
                "turn_detection": values.name(detection.get("type")),
                "input_audio_format": values.format_name(format_in),
                "output_audio_format": values.format_name(format_out),
            },
            None if format_out is None else values.sample_rate(format_out),
            instructions=values.text(session.get("instructions"), _LONGEST_INSTRUCTIONS),
            tools=list(values.elements(session["tools"])) if "tools" in session else None,
            max_output_tokens=_limit(
                session.get("max_output_tokens", session.get("max_response_output_tokens"))
            ),
        )

    def error(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The server did not do something."""
        error = values.as_object(event.get("error")) or event
        refused = values.name(error.get("event_id"))
        wire_error = values.wire_error(event.get("error") or event, "error")
        request = self._requests.refuse(error, wire_error)
        if request is not None:
            yield from self._items.refused(request, wire_error)
        yield events.ErrorReported(
            at,
            event["type"],
            wire_error,
            {
                "code": values.name(error.get("code")),
                "param": values.name(error.get("param")),
                "client_event_id": refused,
            },
        )

    def deleted(self, event: dict[str, Any], _at: int) -> Iterator[Event]:
        """An item was taken out of the conversation, as the application asked."""
        self._requests.accept(requests.DELETE, lambda sent: sent.item_id == event.get("item_id"))
        return iter(())

    def _request(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The application asks for something: see `requests`."""
        self._requests.add(event["type"], event, at)
        return iter(())

    # The tables.

    SERVER: ClassVar[dict[str, tuple[Level, _Reader | None]]] = {
        "session.created": (Level.ESSENTIAL, _own(session)),
        "session.updated": (Level.ESSENTIAL, _own(session)),
        "transcription_session.created": (Level.ESSENTIAL, _own(session)),
        "transcription_session.updated": (Level.ESSENTIAL, _own(session)),
        "conversation.created": (Level.ALL, None),
        "conversation.item.added": (Level.ALL, _items(Items.item)),
        "conversation.item.created": (Level.ALL, _items(Items.item)),
        "conversation.item.done": (Level.ALL, _items(Items.item)),
        "conversation.item.retrieved": (Level.ALL, None),
        "conversation.item.deleted": (Level.STANDARD, _own(deleted)),
        "conversation.item.truncated": (Level.STANDARD, _responses(Responses.truncated)),
        "conversation.item.input_audio_transcription.delta": (
            Level.NEVER,
            _transcripts(Transcripts.user_fragment),
        ),
        "conversation.item.input_audio_transcription.segment": (Level.ALL, None),
        "conversation.item.input_audio_transcription.completed": (
            Level.NEVER,
            _transcripts(Transcripts.user_completed),
        ),
        "conversation.item.input_audio_transcription.failed": (
            Level.NEVER,
            _transcripts(Transcripts.user_completed),
        ),
        "input_audio_buffer.speech_started": (Level.STANDARD, _items(Items.speech_started)),
        "input_audio_buffer.speech_stopped": (Level.STANDARD, _items(Items.speech_stopped)),
        "input_audio_buffer.committed": (Level.ALL, _items(Items.committed)),
        "input_audio_buffer.cleared": (Level.ALL, _items(Items.audio_cleared)),
        "input_audio_buffer.timeout_triggered": (Level.STANDARD, None),
        "input_audio_buffer.dtmf_event_received": (Level.STANDARD, None),
        "output_audio_buffer.started": (Level.STANDARD, None),
        "output_audio_buffer.stopped": (Level.STANDARD, None),
        "output_audio_buffer.cleared": (Level.STANDARD, _responses(Responses.playback_cleared)),
        "response.created": (Level.ALL, _responses(Responses.created)),
        "response.done": (Level.NEVER, _responses(Responses.done)),
        "response.output_item.added": (Level.ALL, _items(Items.output_item)),
        "response.output_item.done": (Level.ALL, _items(Items.output_item)),
        "response.content_part.added": (Level.ALL, None),
        "response.content_part.done": (Level.ALL, None),
        "response.output_audio.delta": (Level.NEVER, _responses(Responses.audio_fragment)),
        "response.audio.delta": (Level.NEVER, _responses(Responses.audio_fragment)),
        "response.output_audio.done": (Level.ALL, None),
        "response.audio.done": (Level.ALL, None),
        "response.output_audio_transcript.delta": (Level.NEVER, _transcripts(Transcripts.fragment)),
        "response.audio_transcript.delta": (Level.NEVER, _transcripts(Transcripts.fragment)),
        "response.output_audio_transcript.done": (Level.NEVER, _transcripts(Transcripts.completed)),
        "response.audio_transcript.done": (Level.NEVER, _transcripts(Transcripts.completed)),
        "response.output_text.delta": (Level.NEVER, None),
        "response.text.delta": (Level.NEVER, None),
        "response.output_text.done": (Level.STANDARD, _items(Items.text_done)),
        "response.text.done": (Level.STANDARD, _items(Items.text_done)),
        "response.function_call_arguments.delta": (Level.NEVER, None),
        "response.function_call_arguments.done": (Level.NEVER, _items(Items.arguments_done)),
        "response.mcp_call_arguments.delta": (Level.NEVER, None),
        "response.mcp_call_arguments.done": (Level.STANDARD, _mcp(McpCalls.arguments)),
        "response.mcp_call.in_progress": (Level.STANDARD, _mcp(McpCalls.begun)),
        "response.mcp_call.completed": (Level.STANDARD, _mcp(McpCalls.ended)),
        "response.mcp_call.failed": (Level.STANDARD, _mcp(McpCalls.ended)),
        "rate_limits.updated": (Level.STANDARD, None),
        "error": (Level.NEVER, _own(error)),
    }

    CLIENT: ClassVar[dict[str, tuple[Level, _Reader | None]]] = {
        "input_audio_buffer.append": (Level.NEVER, None),
        requests.COMMIT: (Level.ALL, _own(_request)),
        requests.CREATE: (Level.ALL, _items(Items.create)),
        requests.TRUNCATE: (Level.ALL, _own(_request)),
        requests.DELETE: (Level.ALL, _own(_request)),
        requests.UPDATE: (Level.ALL, _own(_request)),
        requests.RESPOND: (Level.ALL, _own(_request)),
        requests.CANCEL: (Level.ALL, _own(_request)),
    }


_REQUESTS = frozenset(Protocol.CLIENT) - {"input_audio_buffer.append"}
_SERVER = Protocol.SERVER
_CLIENT = Protocol.CLIENT


def _unknown(kind: str, *, from_client: bool) -> Level:
    """Fragments and audio never become spans; everything else that is new passes as itself."""
    if kind.endswith(".delta"):
        return Level.NEVER
    return Level.ALL if from_client else Level.STANDARD


@functools.cache
def _quiet(wanted: Level) -> frozenset[bytes]:
    return frozenset(
        kind.encode() for kind, (level, reader) in _SERVER.items() if reader is None and level > wanted
    )


def _unreadable(frame: Any, at: int, *, from_client: bool) -> Event:
    size = len(frame) if isinstance(frame, (bytes, str)) else 0
    return ProviderEvent(at, "unreadable_frame", Level.STANDARD, {"bytes": size}, from_client)


def _limit(tokens: Any) -> int | None:
    """How many tokens an answer may have; 0: any number, which is `inf` on the wire. None: nobody says it."""
    return 0 if tokens == "inf" else values.integer(tokens)
