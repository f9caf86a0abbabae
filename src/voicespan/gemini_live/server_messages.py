"""What the fields of a server's message mean; `protocol.SERVER` says which function reads which field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, turn_tracker, usage, values
from voicespan.protocol import events
from voicespan.protocol.events import Level, ProviderEvent, WireError
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicespan.gemini_live.session import Session
    from voicespan.gemini_live.turns import Turn
    from voicespan.protocol.events import Event

#: Characters of an error's message.
_LONGEST_MESSAGE = 4_000

# The session.


def setup_complete(_session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    session_id = values.name(values.as_object(value).get("sessionId"))
    yield events.SessionDescribed(at, "setup_complete", session_id, None, begins=True)


def resumption_update(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    update = values.as_object(value)
    fingerprint = frames.fingerprint(update.get("newHandle"))
    resumable = update.get("resumable") is True
    session.fingerprint = fingerprint if resumable else None
    if session.fingerprint is not None:
        yield events.ResumptionOffered(at, "session_resumption_update", session.fingerprint)
    if (fingerprint, resumable) not in session.resumption_updates:
        put(session.resumption_updates, (fingerprint, resumable), None)
        payload = {"sessionResumptionUpdate": frames.without_handle(update)}
        yield ProviderEvent(at, "session_resumption_update", Level.ESSENTIAL, payload)


def go_away(session: Session, *_: Any) -> Iterable[Event]:
    session.going_away = True
    return ()


def error(_session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    details = values.as_object(value)
    kind = values.name(details.get("status")) or "error"
    message = values.text(details.get("message"), _LONGEST_MESSAGE)
    message = message or values.text(value, _LONGEST_MESSAGE) or kind
    code = values.integer(details.get("code"))
    yield events.ErrorReported(at, "error", WireError(kind, message), {"code": code})


# What the user says.


def voice_activity(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    yield from session.turns.user_acts()
    session.turns.marks_speech = True
    signal = values.as_object(value)
    # The SDK and the wire have different names for it, and there are two generations of the message.
    kinds = (signal.get(key) for key in ("voiceActivityType", "type", "vadSignalType"))
    kind = next((kind for kind in map(values.name, kinds) if kind is not None), "")
    if kind.endswith(("ACTIVITY_START", "_SOS")):
        yield events.SpeechStarted(at, "voice_activity", None)
    elif kind.endswith(("ACTIVITY_END", "_EOS")):
        silent_at = session.microphone.silent_at(signal.get("audioOffset"), at)
        yield events.SpeechStopped(at, "voice_activity", None, silent_at)


def input_transcription(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
    return session.turns.user_words(values.as_object(value), at)


# What the model makes.


def output_transcription(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
    return session.turns.model_words(values.as_object(value), at)


def model_turn(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    has_audio = False
    for part in values.as_objects(values.as_object(value).get("parts")):
        if any(part.values()):
            turn = yield from session.turns.begin(at, "model_turn")
            yield from session.turns.part(turn, part, at)
            yield from _other_part(session, turn, part, at)
            has_audio = has_audio or turn_tracker.is_audio(part)
    if session.level >= Level.ALL and not has_audio:
        payload = {"serverContent": {"modelTurn": frames.without_bytes(value)}}
        yield ProviderEvent(at, "model_turn", Level.ALL, payload)


def _other_part(session: Session, turn: Turn, part: dict[str, Any], at: int) -> Iterator[Event]:
    call = part.get("functionCall")
    if isinstance(call, dict):
        yield from session.calls.called(turn, [call], at, "model_turn")
    if session.level >= Level.STANDARD:
        for key in ("executableCode", "codeExecutionResult"):
            if part.get(key):
                yield ProviderEvent(at, values.snake(key), Level.STANDARD, {key: part[key]})


def generation_complete(session: Session, _value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
    session.turns.generated(at)
    return ()


def interrupted(session: Session, _value: Any, at: int, _: dict[str, Any]) -> Iterable[Event]:
    return session.turns.interrupted(at)


def usage_metadata(session: Session, value: Any, at: int, fields: dict[str, Any]) -> Iterator[Event]:
    tokens = usage.usage(value)
    if tokens is None:
        return
    if session.turns.turn is not None or fields.get("turnComplete") is True:
        turn = yield from session.turns.begin(at, "turn_complete")
        turn.usage = usage.together(turn.usage, tokens)
        return
    yield events.UsageReported(at, "usage_metadata", tokens)
    if session.level >= Level.STANDARD:
        yield ProviderEvent(at, "usage_metadata", Level.STANDARD, {"usageMetadata": value})


def turn_complete(session: Session, _value: Any, at: int, fields: dict[str, Any]) -> Iterator[Event]:
    reason = values.name(fields.get("turnCompleteReason"))
    turn = yield from session.turns.begin(at, "turn_complete")
    yield from session.turns.complete(at, reason, usage.facts(fields.get("usageMetadata")))
    yield from session.calls.turn_ended(turn, at)


# Functions.


def tool_call(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    calls = values.as_objects(values.as_object(value).get("functionCalls"))
    if calls:
        turn = yield from session.turns.begin(at, "tool_call")
        yield from session.calls.called(turn, calls, at)


def tool_call_cancellation(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    yield from session.calls.cancelled(values.texts(values.as_object(value).get("ids")), at)
