"""What the fields of a client's message mean; `protocol.CLIENT` says which function reads which field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, values
from voicespan.protocol import events
from voicespan.protocol.events import Level, LocalId, ProviderEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.gemini_live.session import Session
    from voicespan.protocol.events import Event

#: Of the agent's audio, in Hz: the service speaks at no other.
_AUDIO_RATE = 24_000
#: Characters; a span shows fewer.
_LONGEST_INSTRUCTIONS = 100_000


def setup(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    """What the session is to be."""
    given = values.as_object(value)
    generation = values.as_object(given.get("generationConfig"))
    speech = values.as_object(generation.get("speechConfig"))
    voice = values.as_object(values.as_object(speech.get("voiceConfig")).get("prebuiltVoiceConfig"))
    realtime = values.as_object(given.get("realtimeInputConfig"))
    detection = values.as_object(realtime.get("automaticActivityDetection"))
    session.turns.transcribes = given.get("inputAudioTranscription") is not None
    session.turns.transcribes_model = given.get("outputAudioTranscription") is not None
    session.microphone.silence_ms = values.integer(detection.get("silenceDurationMs"))
    session.calls.non_blocking = set(_non_blocking(given))
    facts = {
        "response_modalities": ",".join(values.texts(generation.get("responseModalities"))) or None,
        "voice": values.name(voice.get("voiceName")),
        "language": values.name(speech.get("languageCode")),
        "transcribes_input": session.turns.transcribes,
        "transcribes_output": session.turns.transcribes_model,
        "turn_detection": "manual" if detection.get("disabled") is True else "automatic",
        "resumed": bool(values.as_object(given.get("sessionResumption")).get("handle")) or None,
    }
    model = frames.model_name(given.get("model"))
    yield events.SessionDescribed(
        at,
        "setup",
        None,
        model,
        facts,
        _AUDIO_RATE,
        instructions=_instructions(given),
        tools=_tools(given) or None,
        max_output_tokens=values.integer(generation.get("maxOutputTokens")),
    )
    if session.level >= Level.ALL:
        payload = {"setup": frames.without_handle(given)}
        yield ProviderEvent(at, "setup", Level.ALL, payload, from_client=True)


def _instructions(setup: dict[str, Any]) -> str | None:
    parts = values.as_objects(values.as_object(setup.get("systemInstruction")).get("parts"))
    words = [words for part in parts if (words := values.text(part.get("text"), _LONGEST_INSTRUCTIONS))]
    return "\n".join(words)[:_LONGEST_INSTRUCTIONS] or None


def _tools(setup: dict[str, Any]) -> list[dict[str, Any]]:
    """The functions, and what the service runs itself, as definitions that have a type."""
    found: list[dict[str, Any]] = []
    for tool in values.as_objects(setup.get("tools")):
        for name, definition in tool.items():
            if name == "functionDeclarations":
                found += [{"type": "function", **each} for each in values.as_objects(definition)]
            else:
                found.append({"type": values.snake(name)})
    return found


def _non_blocking(setup: dict[str, Any]) -> Iterator[str]:
    """The functions during which the model goes on."""
    for tool in values.as_objects(setup.get("tools")):
        for function in values.as_objects(tool.get("functionDeclarations")):
            name = values.name(function.get("name"))
            if name is not None and values.name(function.get("behavior")) == "NON_BLOCKING":
                yield name


# When the user speaks, where the application decides that.


def activity_start(session: Session, _value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    yield from session.turns.user_acts()
    session.turns.marks_speech = True
    yield events.SpeechStarted(at, "activity_start", None)


def activity_end(_session: Session, _value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    yield events.SpeechStopped(at, "activity_end", None)


# What the application types, shows and answers.


#: What LiveKit's plugin gives as the user's turn where the agent is to speak first.
_LIVEKITS_TRICK = ("user", ".")


def client_content(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    """Turns that the application puts into the history."""
    yield from session.turns.user_acts()
    if values.as_object(value).get("turnComplete") is True:
        session.turns.typed(at)
    turns = values.as_object(value).get("turns")
    for turn in values.as_objects(turns if isinstance(turns, list) else [turns]):
        given = turn.get("parts")
        parts = values.as_objects(given if isinstance(given, list) else [given])
        for part in parts:
            answer = part.get("functionResponse")
            if isinstance(answer, dict):
                yield from session.calls.answered(answer, at, "client_content")
                yield from session.turns.gets_answers()
        text = " ".join(filter(None, map(_part_text, parts)))
        role: events.Role = "assistant" if turn.get("role") == "model" else "user"
        if text.strip() and (role, text) != _LIVEKITS_TRICK:
            # What the model is said to have said was said by nobody here.
            put_back = role == "assistant"
            item_id = LocalId.new("typed")
            yield events.MessageText(
                at, "client_content", item_id, role, text, seeded=True, put_back=put_back
            )


def text(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    """What the user types."""
    typed = values.text(value)
    if typed and typed.strip():
        yield from session.turns.user_acts()
        yield events.MessageText(at, "realtime_input", LocalId.new("typed"), "user", typed, seeded=True)


def image(session: Session, value: Any, at: int, fields: dict[str, Any]) -> Iterator[Event]:
    """A picture, or a frame of a video. Of those only the first before each answer becomes a message."""
    if session.turns.showed_image and session.level < Level.ALL:
        return
    if not session.turns.showed_image:
        yield from session.turns.user_acts()
        session.turns.showed_image = True
        blob = value[0] if isinstance(value, list) and value else value
        label = f"[{values.mime_type(blob) or 'image'}]"
        yield events.MessageText(at, "realtime_input", LocalId.new("image"), "user", label, seeded=True)
    if session.level >= Level.STANDARD:
        payload = {"realtimeInput": frames.without_bytes(fields)}
        yield ProviderEvent(at, "realtime_input", Level.STANDARD, payload, from_client=True)


def tool_response(session: Session, value: Any, at: int, _: dict[str, Any]) -> Iterator[Event]:
    """The answers to function calls."""
    for answer in values.as_objects(values.as_object(value).get("functionResponses")):
        yield from session.turns.user_acts()
        yield from session.calls.answered(answer, at)
    yield from session.turns.gets_answers()


def _part_text(part: dict[str, Any]) -> str | None:
    for key in ("inlineData", "fileData"):
        if isinstance(part.get(key), dict):
            return f"[{values.mime_type(part[key]) or 'attachment'}]"
    return values.text(part.get("text"))
