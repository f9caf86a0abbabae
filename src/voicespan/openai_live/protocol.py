"""OpenAI Live: wire events in, events of the conversation out. No clock, no I/O: time comes with the frame.

The tables say of each wire type from which `VOICESPAN_EVENTS` on it gets a span under its own name, and which method
reads what it means. A type that is in no table passes under its own name; a field of another type than documented
counts as missing. There are no turns here, and none are made up: see `runs`, `delegations`, `responses`.

    protocol = Protocol()
    for line in recording:
        read = protocol.receive if line["dir"] == "server" else protocol.send
        events += read(line["event"], at=0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from voicespan.openai_live import frames, values
from voicespan.openai_live.delegations import Delegations
from voicespan.openai_live.pending import Pending
from voicespan.openai_live.runs import Runs
from voicespan.protocol import events
from voicespan.protocol.events import Event, Level, LocalId, ProviderEvent
from voicespan.protocol.json_values import event_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Reader: TypeAlias = Callable[["Protocol", dict[str, Any], str, int], Iterator[Event]]

#: A millisecond of PCM16 at 24 kHz, as base64: the service's default.
_CHARACTERS_PER_MS = 64.0
#: So often the time line is looked at while only audio comes.
_LOOK_EVERY_MS = 1_000
_BYTES_PER_MS = {"audio/pcmu": 8, "audio/pcma": 8}
#: What was appended too late to be placed. After the application closed the session itself that is no error.
_INCOMPLETE = "context_injection_incomplete"
#: What the connection that talks does not see.
_SEEN_BY_SIDEBANDS_ALONE = ("transport.", "session.paused", "session.resumed")
#: What may be reported by each connection that sees it: once a thing is over, that it is over changes nothing.
_FOR_ALL = (events.OperationEnded, events.SessionEnded, events.FunctionAnswered)
_MOST_SEEDED = 128
#: Seconds; the service's own end after two hours. What is more is no measurement, and may be no number that OTLP has.
_LONGEST_SESSION = 10_000_000


class Protocol:
    """The state of one connection."""

    def __init__(
        self,
        level: Level = Level.STANDARD,
        *,
        session_id: str | None = None,
        watches: bool = False,
    ) -> None:
        """Read a connection's frames.

        Args:
            level: up to which level events under their own name are wanted.
            session_id: of the session that the connection joined, which the service may not send.
            watches: another connection of the same conversation sees the session as well: what that one reports
                is not reported again.
        """
        self._level = level
        self._session_id = session_id
        self._watches = watches
        self._closing = False
        self._per_ms = _CHARACTERS_PER_MS
        self._track = 0
        self._looked_at_ms = 0.0
        self._begin_session()

    def _begin_session(self) -> None:
        self._runs = Runs()
        self._delegations = Delegations(self._runs)
        self._pending = Pending(self._delegations)

    # Frames.

    def skip_server_frame(self, frame: Any) -> bool:
        """Whether a frame is only audio, of which it is enough to know how much there was."""
        size = frames.audio_size(frame)
        if size == 0:
            return False
        if frames.is_output_audio(frame):
            self._track += size
            return self._track < (self._looked_at_ms + _LOOK_EVERY_MS) * self._per_ms
        return True

    def skip_client_frame(self, frame: Any, _at: int) -> bool:
        """Whether a client's frame is microphone audio, which says nothing but that it was sent."""
        return frames.audio_size(frame) > 0

    def receive(self, frame: Any, at: int) -> list[Event]:
        """What happened, according to a server's frame."""
        event = event_object(frame)
        if event is None:
            return [_unreadable(at, from_client=False)]
        kind = values.name(event.get("type")) or "unknown"
        if self._watches and not self._is_seen_here_alone(kind, event):
            reader = _SERVER.get(kind, (Level.NEVER, None))[1]
            found = [] if reader is None else list(reader(self, event, kind, at))
            return [each for each in found if isinstance(each, _FOR_ALL)]
        level, reader = _SERVER.get(kind, (Level.NEVER if kind.endswith(".delta") else Level.STANDARD, None))
        found = [] if reader is None else list(reader(self, event, kind, at))
        if level <= self._level and not any(isinstance(each, ProviderEvent) for each in found):
            found.append(ProviderEvent(at, kind, level, event))
        return found

    def send(self, frame: Any, at: int) -> list[Event]:
        """What happened, according to a client's frame."""
        event = event_object(frame)
        if event is None:
            return [_unreadable(at, from_client=True)]
        kind = values.name(event.get("type")) or "unknown"
        reader = _CLIENT.get(kind)
        found = [] if reader is None else list(reader(self, event, kind, at))
        if self._level >= Level.ALL:
            found.append(ProviderEvent(at, kind, Level.ALL, event, from_client=True))
        return found

    def connection_lost(self, at: int) -> list[Event]:
        """What had begun when the connection ended, and will not go on."""
        words = [] if self._watches else list(self._runs.close())
        return [*words, *self._pending.close(at), *self._delegations.responses.taken()]

    def resumable(self, *, abnormal: bool) -> bool:  # noqa: ARG002  part of what a protocol is
        """Whether the session can be resumed on another connection: never, a new one begins."""
        return False

    def _is_seen_here_alone(self, kind: str, event: dict[str, Any]) -> bool:
        """Of a session that another connection sees too: what that one does not, and the answers to commands from here."""
        if kind.startswith(_SEEN_BY_SIDEBANDS_ALONE):
            return True
        answers = values.name(
            event.get("client_event_id") or values.as_object(event.get("error")).get("client_event_id")
        )
        return self._pending.expects(kind, answers) or self._delegations.responses.expects(answers or "")

    # The session.

    def _started(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        session = values.as_object(event.get("session"))
        session_id = values.name(session.get("id")) or self._session_id
        if self._session_id not in (None, session_id):
            # The SDK reconnected, and the application began a new session: no task of the old one goes on.
            yield from self._close(at)
            self._begin_session()
            self._track, self._looked_at_ms = 0, 0.0
        self._session_id, self._closing = session_id, False
        yield from self._described(event, kind, at)
        for message in values.as_objects(session.get("input"))[:_MOST_SEEDED]:
            role = values.name(message.get("role"))
            if role in ("user", "assistant", "developer", "system"):
                words = values.words(message.get("content"))
                yield events.MessageText(at, kind, LocalId.new("input"), role, words, seeded=True)  # type: ignore[arg-type]

    def _described(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        session = values.as_object(event.get("session"))
        audio = values.as_object(session.get("audio"))
        delegation = values.as_object(session.get("delegation"))
        encoding = values.as_object(audio.get("format"))
        rate = values.integer(encoding.get("rate")) or (
            8_000 if values.name(encoding.get("type")) in _BYTES_PER_MS else 24_000
        )
        per_ms = _BYTES_PER_MS.get(values.name(encoding.get("type")) or "", rate * 2 / 1000)
        if kind == "session.started" and per_ms > 0:
            self._per_ms = per_ms * 4 / 3
        backend = values.as_object(delegation.get("responses")) or values.as_object(
            delegation.get("decisions")
        )
        yield events.SessionDescribed(
            at,
            kind,
            values.name(session.get("id")) or self._session_id,
            values.name(session.get("model")),
            {
                "voice": _voice(values.as_object(audio.get("output")).get("voice")),
                "audio_format": values.name(encoding.get("type")),
                "delegation": values.name(delegation.get("type")) or "client",
                "delegation_model": values.name(backend.get("model")),
                "stored": session.get("store") if isinstance(session.get("store"), bool) else None,
            },
            rate if kind == "session.started" else None,
        )

    def _usage(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        seconds = values.number(values.as_object(event.get("usage")).get("seconds"))
        if seconds is not None and 0 <= seconds <= _LONGEST_SESSION:
            yield events.SecondsUsed(at, kind, self._session_id or "", seconds)
        ratio = values.number(values.as_object(event.get("context_window")).get("usage_ratio"))
        if ratio is not None and 0 <= ratio <= _LONGEST_SESSION:
            yield events.SessionDescribed(at, kind, None, None, {"context_window_usage_ratio": ratio})

    def _closed(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        reason = values.name(event.get("reason"))
        yield from self._usage(event, kind, at)
        yield from self._close(at)
        if reason in ("content", "connection_lost"):
            error = events.WireError(reason, f"the service ended the session: {reason}")
            yield events.ErrorReported(at, kind, error, {"reason": reason})
            if self._level >= Level.ESSENTIAL:
                yield ProviderEvent(at, kind, Level.ESSENTIAL, event, error=error)
        yield events.SessionEnded(at, kind, self._session_id, None, {"session_close_reason": reason})

    def _close(self, at: int) -> Iterator[Event]:
        yield from self._runs.close()
        yield from self._pending.close(at)
        yield from self._delegations.close(at)

    # What is said.

    def _user_words(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        yield from self._words("user", event, kind, at)

    def _agent_words(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        yield from self._words("assistant", event, kind, at)

    def _words(self, role: events.Role, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        words = values.text(event.get("delta"))
        self._delegations.fragment(values.name(event.get("event_id")), at)
        if words:
            times = values.milliseconds(event.get("start_ms")), values.milliseconds(event.get("end_ms"))
            yield from self._runs.fragment(role, kind, words, times, at)

    def _audio(self, event: dict[str, Any], _kind: str, _at: int) -> Iterator[Event]:
        now_ms = values.milliseconds(event.get("end_ms"))
        self._looked_at_ms = self._track / self._per_ms
        yield from self._runs.advance(round(self._looked_at_ms) if now_ms is None else now_ms)

    # Tasks.

    def _delegated(self, event: dict[str, Any], _kind: str, at: int) -> Iterator[Event]:
        yield from self._runs.advance(values.milliseconds(event.get("offset_ms")))
        yield from self._delegations.created(event, at)

    def _nested(self, event: dict[str, Any], _kind: str, at: int) -> Iterator[Event]:
        yield from self._delegations.nested(event, at)
        inner = values.name(values.as_object(event.get("event")).get("type")) or "unknown"
        # The whole answer follows every piece of it.
        if self._level >= Level.ALL and not inner.endswith(".delta"):
            yield ProviderEvent(at, f"response.event {inner}", Level.ALL, event)

    def _decided(self, event: dict[str, Any], _kind: str, at: int) -> Iterator[Event]:
        yield from self._delegations.decided(event, at)

    def _item_given(self, event: dict[str, Any], _kind: str, at: int) -> Iterator[Event]:
        item, event_id = values.as_object(event.get("item")), values.name(event.get("event_id"))
        yield from self._delegations.responses.answered(item, event_id, at)

    # Commands and their answers.

    def _append(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        command = {
            "content": values.text(event.get("content")) or "",
            "delegation_id": values.name(event.get("delegation_id")),
            "event_id": values.name(event.get("event_id")),
        }
        yield from self._pending.append(kind.split(".")[1], command, at)

    def _appended(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        times = {key: values.milliseconds(event.get(key)) for key in ("start_ms", "end_ms")}
        event_id = values.name(event.get("client_event_id"))
        yield from self._pending.accepted(kind.split(".")[1], event_id, times, kind, at)
        yield from self._runs.advance(times["end_ms"])

    def _play(self, event: dict[str, Any], _kind: str, at: int) -> Iterator[Event]:
        size = len(values.text(event.get("audio")) or "") * 3 // 4
        yield from self._pending.fixture(values.name(event.get("event_id")), size, at)

    def _played(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        event_id = values.name(event.get("client_event_id"))
        yield from self._pending.accepted("fixture", event_id, {}, kind, at)

    def _session_close(self, _event: dict[str, Any], _kind: str, _at: int) -> Iterator[Event]:
        self._closing = True
        yield from ()

    def _error(self, event: dict[str, Any], kind: str, at: int) -> Iterator[Event]:
        details = values.as_object(event.get("error"))
        error = values.wire_error(event.get("error"))
        event_id = values.name(details.get("client_event_id")) or values.name(event.get("client_event_id"))
        if error.type == _INCOMPLETE and self._closing:
            yield from self._pending.refused(event_id, None, at)
            yield ProviderEvent(at, kind, Level.STANDARD, event)
            return
        yield from self._pending.refused(event_id, error, at)
        yield from self._delegations.responses.refused(event_id, error)
        facts = {
            "category": values.name(details.get("type")),
            "param": values.name(details.get("param")),
            "client_event_id": event_id,
        }
        yield events.ErrorReported(at, kind, error, facts)


def _voice(voice: Any) -> str | None:
    return values.name(voice) or values.name(values.as_object(voice).get("id"))


def _unreadable(at: int, *, from_client: bool) -> Event:
    return ProviderEvent(at, "unreadable", Level.STANDARD, {"unreadable": True}, from_client)


# ruff: noqa: SLF001  the tables are the class's own

#: Of each type from the server: from which level on it gets a span of its own, and what it means.
_SERVER: dict[str, tuple[Level, _Reader | None]] = {
    "session.started": (Level.ESSENTIAL, Protocol._started),
    "session.updated": (Level.ESSENTIAL, Protocol._described),
    "session.closed": (Level.ESSENTIAL, Protocol._closed),
    "session.input_transcript.delta": (Level.NEVER, Protocol._user_words),
    "session.output_transcript.delta": (Level.NEVER, Protocol._agent_words),
    "session.output_audio.delta": (Level.NEVER, Protocol._audio),
    "session.input_audio.append": (Level.NEVER, None),
    "session.input_audio.muted": (Level.STANDARD, None),
    "session.input_audio.unmuted": (Level.STANDARD, None),
    "session.output_audio.fixture.playing": (Level.ALL, None),
    "session.output_audio.fixture.played": (Level.ALL, Protocol._played),
    "session.instructions.appended": (Level.ALL, Protocol._appended),
    "session.thinking.appended": (Level.ALL, Protocol._appended),
    "session.commentary.appended": (Level.ALL, Protocol._appended),
    "session.delegation.created": (Level.ALL, Protocol._delegated),
    "session.usage.updated": (Level.ALL, Protocol._usage),
    "response.event": (Level.NEVER, Protocol._nested),
    "decision.event": (Level.ALL, Protocol._decided),
    "decision.item.created": (Level.ALL, None),
    "decision.item.deleted": (Level.ALL, None),
    "error": (Level.NEVER, Protocol._error),
    "transport.failed": (Level.NEVER, Protocol._error),
}

#: Types that say by themselves that a connection speaks this protocol; `error` says nothing.
KINDS = frozenset(_SERVER) - {"error"}

#: What a client's commands mean; from `all` on each has a span of its own as well.
_CLIENT: dict[str, _Reader] = {
    "session.close": Protocol._session_close,
    "session.instructions.append": Protocol._append,
    "session.thinking.append": Protocol._append,
    "session.commentary.append": Protocol._append,
    "session.output_audio.fixture.play": Protocol._play,
    "response.item.create": Protocol._item_given,
}
