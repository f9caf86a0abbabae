"""OpenAI Realtime: wire frames in, moments out. No clock, no I/O, no OpenTelemetry: time comes with the frame.

Two tables say what each event is: at which `VOICESPAN_EVENTS` it gets a span under its own name, and which
method reads what it means. GA and beta names stand side by side. What is not in a table passes under its
own name; what is missing or of another type than documented is taken as not told.

The Azure, Voice Live and xAI services speak this protocol with small differences (usage beside the
response instead of inside, a status detail that is a string); the readers below allow for them.

    protocol = Protocol()
    for line in recording:
        read = protocol.receive if line["dir"] == "server" else protocol.send
        moments += read(line["event"], at=0)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from voicespan.openai_realtime import unfinished, values
from voicespan.openai_realtime.frames import AudioDeltaCounter, FrameScanner, is_microphone, parsed
from voicespan.openai_realtime.sent import SentMessages
from voicespan.protocol import events as moments
from voicespan.protocol.events import Event, Level, ProviderEvent
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Reader: TypeAlias = Callable[["Protocol", dict[str, Any], int], Iterator[Event]]

#: Of one response so many items (and calls), and so many characters of what was said in them.
_MOST_TEXTS = 64
_LONGEST_TEXT = 1_000_000
_NOTHING = object()


@dataclass(slots=True)
class _Response:
    in_progress: bool = False
    had_speech: bool = False
    heard_first_audio: bool = False
    #: While it arrives.
    audio: AudioDeltaCounter | None = None
    #: What was said or written, by item, in order.
    texts: dict[str, str] = field(default_factory=dict)
    call_ids: tuple[str, ...] = ()
    #: Characters of base64 that `audio` does not count: of its first frame, and all of it when that is over.
    counted: int = 0

    @property
    def characters(self) -> int:
        """Characters of base64 of its audio, so far."""
        return self.counted + (0 if self.audio is None else self.audio.characters)

    def is_over(self) -> None:
        """What it keeps is kept for as long as it can be asked for: minutes, of each answer."""
        self.in_progress = False
        self.counted, self.audio = self.characters, None

    @property
    def text(self) -> str | None:
        """All that it says."""
        return " ".join(text for text in self.texts.values() if text) or None

    def says(self, item_id: str, text: str) -> None:
        """What an item of it says."""
        if item_id in self.texts or len(self.texts) < _MOST_TEXTS:
            room = _LONGEST_TEXT - sum(len(each) for each in self.texts.values())
            self.texts[item_id] = text[: max(room, 0)]


class Protocol:
    """The state of one connection."""

    def __init__(self, events: Level = Level.STANDARD) -> None:
        """`events`: up to which level frames under their own name are wanted."""
        self._events = events
        self.glance = FrameScanner(_quiet(events))
        #: Whether a server's frame tells nothing new; the audio in it has been counted then.
        self.skip_server_frame = self.glance.is_redundant
        #: The same for a client's frame.
        self.skip_client_frame = is_microphone
        self._transcribes = False
        self._bytes_per_ms = 48.0
        self._responses: dict[str, _Response] = {}
        self._response_of: dict[str, str] = {}
        self._fragments: dict[str, int] = {}
        self._typed: dict[str, None] = {}
        #: By the hash of what was told: a text can be long, and only a new one is told again.
        self._told: dict[str, int | None] = {}
        self._names: dict[str, str] = {}
        self._called: dict[str, None] = {}
        self._answered: dict[str, None] = {}
        self._sent = SentMessages()
        self._speaking: str | None = None

    def receive(self, frame: Any, at: int) -> list[Event]:
        """What a server's frame (bytes, text, or the event itself) tells."""
        event = parsed(frame)
        if event is None:
            return [_unreadable(frame, at, from_client=False)]
        return list(self._read(_SERVER, event, at, from_client=False))

    def send(self, frame: Any, at: int) -> list[Event]:
        """What a client's frame tells."""
        event = parsed(frame)
        if event is None:
            return [_unreadable(frame, at, from_client=True)]
        return list(self._read(_CLIENT, event, at, from_client=True))

    def connection_lost(self, at: int) -> list[Event]:
        """What was arriving when the connection ended, as far as it came."""
        return list(self._cut_off(at))

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
            yield from reader(self, event, at)
        if level <= self._events:
            yield ProviderEvent(at, kind, level, event, from_client, values.error_in(kind, event))

    # The session.

    def _session(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        session = values.as_object(event.get("session"))
        audio_in = values.as_object(values.as_object(session.get("audio")).get("input"))
        audio_out = values.as_object(values.as_object(session.get("audio")).get("output"))
        transcription = audio_in.get("transcription", session.get("input_audio_transcription"))
        detection = values.as_object(audio_in.get("turn_detection", session.get("turn_detection")))
        format_in = audio_in.get("format", session.get("input_audio_format"))
        format_out = audio_out.get("format", session.get("output_audio_format"))
        if "audio" in session or "input_audio_transcription" in session:
            self._transcribes = bool(transcription)
        if format_out is not None:
            self._bytes_per_ms = values.bytes_per_ms(format_out)
        yield moments.SessionDescribed(
            at,
            event["type"],
            values.name(session.get("id")),
            values.name(session.get("model")),
            {
                "session_type": values.name(session.get("type")),
                "voice": values.name_or_named(audio_out.get("voice", session.get("voice"))),
                "transcription_model": values.name(values.as_object(transcription).get("model")),
                "turn_detection": values.name(detection.get("type")),
                "input_audio_format": values.format_name(format_in),
                "output_audio_format": values.format_name(format_out),
            },
            None if format_out is None else values.sample_rate(format_out),
        )

    # What the user does.

    def _speech_started(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id = values.name(event.get("item_id"))
        self._speaking = item_id
        yield moments.SpeechStarted(at, event["type"], item_id)
        if item_id is not None:
            yield moments.MessageAdded(at, event["type"], item_id, "user", given=False)

    def _speech_stopped(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        yield moments.SpeechStopped(at, event["type"], values.name(event.get("item_id")))

    def _committed(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id = values.name(event.get("item_id"))
        if item_id is not None:
            self._speaking = None
            yield self._user_speech(event, at, item_id)

    def _audio_cleared(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        if self._speaking is not None:
            yield moments.MessageRemoved(at, event["type"], self._speaking)
            self._speaking = None

    def _user_speech(self, event: dict[str, Any], at: int, item_id: str) -> Event:
        awaited = self._transcribes and _part(item_id, 0) not in self._told
        return moments.MessageAdded(
            at,
            event["type"],
            item_id,
            "user",
            values.name(event.get("previous_item_id")),
            awaits_transcript=awaited,
        )

    def _user_transcript_fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        self._note_fragment(event, at)
        return iter(())

    def _user_transcript(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id, index = (
            values.name(event.get("item_id")) or "",
            values.integer(event.get("content_index")) or 0,
        )
        self.glance.transcript_is_over(item_id)
        failed = event["type"].endswith(".failed")
        text = None if failed else values.text(event.get("transcript")) or ""
        known = None if text is None else hash(text)
        part = _part(item_id, index)
        if self._told.get(part, _NOTHING) == known:
            return
        put(self._told, part, known)
        usage = values.as_object(event.get("usage"))
        yield moments.TranscriptCompleted(
            at,
            event["type"],
            "user",
            item_id,
            self._fragments.pop(part, at),
            text,
            error=values.wire_error(event.get("error"), "transcription_failed") if failed else None,
            facts={
                "content_index": index,
                "usage_seconds": values.number(usage.get("seconds")),
                "usage_total_tokens": values.integer(usage.get("total_tokens")),
                "usage_input_tokens": values.integer(usage.get("input_tokens")),
                "usage_output_tokens": values.integer(usage.get("output_tokens")),
                "languages": event.get("languages"),
            },
        )

    # Items, whoever made them.

    def _item(self, event: dict[str, Any], at: int) -> Iterator[Event]:
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
            and Level.ALL > self._events >= Level.STANDARD
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
        if item_id in self._response_of:
            yield moments.MessageAdded(at, event["type"], item_id, "assistant", after)
        elif role == "user" and not values.is_typed(item):
            yield self._user_speech(event, at, item_id)
        elif role == "assistant" and item.get("status") == "in_progress":
            yield moments.MessageAdded(at, event["type"], item_id, "assistant", after)
        elif item_id not in self._typed and not (role == "assistant" and not self._sent.shown(item)):
            put(self._typed, item_id, None)
            if role != "assistant":
                self._sent.shown(item)
            yield moments.MessageText(
                at, event["type"], item_id, values.role(role), values.item_text(item), after, seeded=True
            )
            if self._events is Level.STANDARD:
                yield ProviderEvent(at, event["type"], Level.STANDARD, event)

    def _call_item(self, event: dict[str, Any], item: dict[str, Any], at: int) -> Iterator[Event]:
        call_id, name = values.name(item.get("call_id")), values.name(item.get("name"))
        if call_id is not None and name is not None:
            put(self._names, call_id, name)
        if item.get("status") in ("completed", None) and not event["type"].endswith(".added"):
            yield from self._call(event, item, at)

    def _call(self, event: dict[str, Any], item: dict[str, Any], at: int) -> Iterator[Event]:
        call_id = values.name(item.get("call_id")) or values.name(item.get("id"))
        if call_id is None or call_id in self._called:
            return
        name = values.name(item.get("name")) or self._names.get(call_id)
        if name is None:
            # Early versions leave the name out of the arguments' frame; the item follows with it.
            return
        put(self._called, call_id, None)
        item_id = values.name(item.get("item_id")) or values.name(item.get("id"))
        response_id = values.name(event.get("response_id")) or self._response_of.get(item_id or "")
        response = self._responses.get(response_id or "")
        if response is not None and len(response.call_ids) < _MOST_TEXTS:
            response.call_ids += (call_id,)
        yield moments.FunctionCalled(
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
        yield moments.FunctionAnswered(
            at,
            event["type"],
            call_id,
            values.arguments(item.get("output")),
            self._names.get(call_id),
            values.name(item.get("id")),
        )

    # What the model does.

    def _response_created(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        # What was sent before and neither shown nor refused is part of this response's input: not
        # every service shows the items that it takes.
        for sent in self._sent.taken():
            role = values.role(values.name(sent.item.get("role")))
            put(self._typed, sent.item_id, None)
            yield moments.MessageText(
                sent.at,
                "conversation.item.create",
                sent.item_id,
                role,
                values.item_text(sent.item),
                seeded=True,
            )
        response = values.as_object(event.get("response"))
        response_id = values.name(response.get("id")) or ""
        put(self._responses, response_id, _Response(in_progress=True))
        yield moments.GenerationStarted(
            at,
            event["type"],
            response_id,
            # A plain response carries the conversation's id; one out of band carries an explicit null.
            out_of_band="conversation_id" in response
            and response["conversation_id"] is None
            and bool(response.get("metadata")),
        )

    def _output_item(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item = values.as_object(event.get("item"))
        item_id, response_id = values.name(item.get("id")), values.name(event.get("response_id"))
        if item_id is not None and response_id is not None:
            put(self._response_of, item_id, response_id)
        yield from self._item(event, at)

    def _speech_fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The first audio of an answer, or of another item of it; the rest is counted without parsing."""
        item_id = values.name(event.get("item_id")) or ""
        response_id = self._response_id(event, item_id)
        response = self._response(response_id)
        response.had_speech = True
        delta = event.get("delta")
        response.counted += len(delta) if isinstance(delta, str) else 0
        if response.audio is None:
            response.audio = AudioDeltaCounter()
        response.audio.arrives_under(item_id or response_id)
        self.glance.speech = response.audio
        if not response.heard_first_audio:
            response.heard_first_audio = True
            yield moments.FirstAudio(at, event["type"], response_id)

    def _transcript_fragment(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id = values.name(event.get("item_id")) or ""
        self._response(self._response_id(event, item_id)).had_speech = True
        self._note_fragment(event, at)
        return iter(())

    def _transcript(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id, index = (
            values.name(event.get("item_id")) or "",
            values.integer(event.get("content_index")) or 0,
        )
        self.glance.transcript_is_over(item_id)
        part = _part(item_id, index)
        if part in self._told:
            return
        text = values.text(event.get("transcript")) or ""
        put(self._told, part, hash(text))
        response_id = self._response_id(event, item_id)
        response = self._response(response_id)
        response.had_speech = True
        response.says(item_id, text)
        yield moments.TranscriptCompleted(
            at,
            event["type"],
            "assistant",
            item_id,
            self._fragments.pop(part, at),
            text,
            response_id,
            facts={"content_index": index, "output_index": values.integer(event.get("output_index"))},
        )

    def _text_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id = values.name(event.get("item_id")) or ""
        text = values.text(event.get("text")) or ""
        self._response(self._response_id(event, item_id)).says(item_id, text)
        yield moments.MessageText(at, event["type"], item_id, "assistant", text)

    def _arguments_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        yield from self._call(event, event, at)

    def _response_done(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        told = values.as_object(event.get("response"))
        response_id = values.name(told.get("id")) or ""
        response = self._response(response_id)
        self.glance.transcript_is_over(response_id)
        if self.glance.speech is response.audio:
            self.glance.speech = None
        response.is_over()
        items = [values.as_object(item) for item in values.elements(told.get("output"))]
        for item in items:
            yield from self._output_of(event, item, response_id, response, at)
        status = values.name(told.get("status")) or "unknown"
        details = values.as_object(told.get("status_details"))
        reason = values.name(details.get("reason"))
        spoken = [values.name(item.get("id")) for item in items if item.get("type") == "message"]
        generated_ms = self._generated_ms(response)
        if status == "cancelled" and reason == "turn_detected" and response.had_speech:
            yield moments.Interrupted(
                at,
                event["type"],
                response_id,
                spoken[-1] if spoken else next(reversed(response.texts), None),
                "response.done",
                generated_ms=generated_ms,
            )
        failed = status == "failed" or bool(details.get("error"))
        # Where the services that speak this protocol put it differently, beside the response.
        usage = values.as_object(told.get("usage")) or values.as_object(event.get("usage"))
        yield moments.GenerationEnded(
            at,
            event["type"],
            response_id,
            status,
            reason,
            response.text,
            tuple(call_id for item in items if (call_id := values.name(item.get("call_id"))) is not None),
            values.usage_of(usage),
            generated_ms,
            response.had_speech,
            error=values.wire_error(details.get("error"), "response_failed") if failed else None,
            facts={
                "conversation_id_in_session": values.name(told.get("conversation_id")),
                "response_metadata": told.get("metadata") or None,
                "output_item_count": len(items),
            },
        )

    def _output_of(
        self, event: dict[str, Any], item: dict[str, Any], response_id: str, response: _Response, at: int
    ) -> Iterator[Event]:
        """What an item of a finished response tells that no frame before it did."""
        item_id = values.name(item.get("id")) or ""
        if item.get("type") == "function_call":
            yield from self._call({**event, "response_id": response_id}, item, at)
        elif item.get("type") in ("message", None):
            for index, part in enumerate(values.elements(item.get("content"))):
                transcript = values.text(values.as_object(part).get("transcript"))
                text = values.text(values.as_object(part).get("text"))
                if transcript and _part(item_id, index) not in self._told:
                    whole = {"item_id": item_id, "content_index": index, "transcript": transcript}
                    yield from self._transcript(
                        {**whole, "type": event["type"], "response_id": response_id}, at
                    )
                    response.had_speech = True
                    response.says(item_id, transcript)
                elif text and item_id not in response.texts:
                    response.says(item_id, text)
                    yield moments.MessageText(at, event["type"], item_id, "assistant", text)

    def _cut_off(self, at: int) -> Iterator[Event]:
        for (role, item_id), text in unfinished.texts(self.glance.take_words()).items():
            if _part(item_id, 0) not in self._told:
                yield from self._words_so_far(role, item_id, text, at)
        for response_id, response in self._responses.items():
            if response.in_progress:
                response.is_over()
                yield moments.GenerationEnded(
                    at,
                    unfinished.EVENT_TYPE,
                    response_id,
                    "incomplete",
                    None,
                    response.text,
                    response.call_ids,
                    None,
                    self._generated_ms(response),
                    response.had_speech,
                )

    def _words_so_far(self, role: moments.Role, item_id: str, text: str, at: int) -> Iterator[Event]:
        response_id = self._response_of.get(item_id)
        response = self._responses.get(response_id or "")
        if role == "assistant":
            if response is None or not response.in_progress:
                # They came after the end of their answer, which had told what was said.
                return
            response.says(item_id, text)
        started_at = self._fragments.pop(_part(item_id, 0), at)
        yield moments.TranscriptCompleted(
            at, unfinished.EVENT_TYPE, role, item_id, started_at, text, response_id
        )

    # Barge-ins.

    def _playback_cleared(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        response_id = values.name(event.get("response_id"))
        item_id = next((item for item, of in reversed(self._response_of.items()) if of == response_id), None)
        yield self._cut(
            event, at, response_id=response_id, item_id=item_id, cause="output_audio_buffer.cleared"
        )

    def _truncated(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        item_id = values.name(event.get("item_id"))
        response_id = self._response_of.get(item_id or "")
        heard_ms = values.integer(event.get("audio_end_ms"))
        yield self._cut(
            event, at, response_id=response_id, item_id=item_id, cause=event["type"], heard_ms=heard_ms
        )

    def _cut(
        self,
        event: dict[str, Any],
        at: int,
        *,
        response_id: str | None,
        item_id: str | None,
        cause: str,
        heard_ms: int | None = None,
    ) -> Event:
        return moments.Interrupted(
            at,
            event["type"],
            response_id,
            item_id,
            cause,
            heard_ms,
            # Of an answer that is still arriving this is what was generated until now.
            self._generated_ms(self._responses.get(response_id or "")),
        )

    # Errors, and what the application sends.

    def _error(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        error = values.as_object(event.get("error")) or event
        refused = values.name(error.get("event_id"))
        if refused is not None:
            self._sent.refused(refused)
        yield moments.ErrorReported(
            at,
            event["type"],
            values.wire_error(event.get("error") or event, "error"),
            {
                "code": values.name(error.get("code")),
                "param": values.name(error.get("param")),
                "client_event_id": refused,
            },
        )

    def _sent_item(self, event: dict[str, Any], at: int) -> Iterator[Event]:
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
            self._sent.add(event, item, at)

    def _committed_by_client(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        # Push to talk: nothing else tells when the user's speech ended.
        if self._speaking is None:
            yield moments.SpeechStopped(at, event["type"], None)

    def _note_fragment(self, event: dict[str, Any], at: int) -> None:
        item_id, index = (
            values.name(event.get("item_id")) or "",
            values.integer(event.get("content_index")) or 0,
        )
        part = _part(item_id, index)
        if part not in self._fragments:
            put(self._fragments, part, at)
        if index == 0 and item_id:
            self.glance.transcript_begins(item_id)

    def _response(self, response_id: str) -> _Response:
        response = self._responses.get(response_id)
        if response is None:
            response = _Response()
            put(self._responses, response_id, response)
        return response

    def _generated_ms(self, response: _Response | None) -> int | None:
        characters = 0 if response is None else response.characters
        return round(characters * 3 / 4 / self._bytes_per_ms) if characters else None

    def _response_id(self, event: dict[str, Any], item_id: str) -> str:
        response_id = values.name(event.get("response_id")) or self._response_of.get(item_id, "")
        if item_id and response_id and item_id not in self._response_of:
            put(self._response_of, item_id, response_id)
        return response_id

    # The tables.

    SERVER: ClassVar[dict[str, tuple[Level, _Reader | None]]] = {
        "session.created": (Level.ESSENTIAL, _session),
        "session.updated": (Level.ESSENTIAL, _session),
        "transcription_session.created": (Level.ESSENTIAL, _session),
        "transcription_session.updated": (Level.ESSENTIAL, _session),
        "conversation.created": (Level.ALL, None),
        "conversation.item.added": (Level.ALL, _item),
        "conversation.item.created": (Level.ALL, _item),
        "conversation.item.done": (Level.ALL, _item),
        "conversation.item.retrieved": (Level.ALL, None),
        "conversation.item.deleted": (Level.STANDARD, None),
        "conversation.item.truncated": (Level.STANDARD, _truncated),
        "conversation.item.input_audio_transcription.delta": (Level.NEVER, _user_transcript_fragment),
        "conversation.item.input_audio_transcription.segment": (Level.ALL, None),
        "conversation.item.input_audio_transcription.completed": (Level.NEVER, _user_transcript),
        "conversation.item.input_audio_transcription.failed": (Level.NEVER, _user_transcript),
        "input_audio_buffer.speech_started": (Level.STANDARD, _speech_started),
        "input_audio_buffer.speech_stopped": (Level.STANDARD, _speech_stopped),
        "input_audio_buffer.committed": (Level.ALL, _committed),
        "input_audio_buffer.cleared": (Level.ALL, _audio_cleared),
        "input_audio_buffer.timeout_triggered": (Level.STANDARD, None),
        "input_audio_buffer.dtmf_event_received": (Level.STANDARD, None),
        "output_audio_buffer.started": (Level.STANDARD, None),
        "output_audio_buffer.stopped": (Level.STANDARD, None),
        "output_audio_buffer.cleared": (Level.STANDARD, _playback_cleared),
        "response.created": (Level.ALL, _response_created),
        "response.done": (Level.NEVER, _response_done),
        "response.output_item.added": (Level.ALL, _output_item),
        "response.output_item.done": (Level.ALL, _output_item),
        "response.content_part.added": (Level.ALL, None),
        "response.content_part.done": (Level.ALL, None),
        "response.output_audio.delta": (Level.NEVER, _speech_fragment),
        "response.audio.delta": (Level.NEVER, _speech_fragment),
        "response.output_audio.done": (Level.ALL, None),
        "response.audio.done": (Level.ALL, None),
        "response.output_audio_transcript.delta": (Level.NEVER, _transcript_fragment),
        "response.audio_transcript.delta": (Level.NEVER, _transcript_fragment),
        "response.output_audio_transcript.done": (Level.NEVER, _transcript),
        "response.audio_transcript.done": (Level.NEVER, _transcript),
        "response.output_text.delta": (Level.NEVER, None),
        "response.text.delta": (Level.NEVER, None),
        "response.output_text.done": (Level.STANDARD, _text_done),
        "response.text.done": (Level.STANDARD, _text_done),
        "response.function_call_arguments.delta": (Level.NEVER, None),
        "response.function_call_arguments.done": (Level.NEVER, _arguments_done),
        "response.mcp_call_arguments.delta": (Level.NEVER, None),
        "rate_limits.updated": (Level.STANDARD, None),
        "error": (Level.NEVER, _error),
    }

    CLIENT: ClassVar[dict[str, tuple[Level, _Reader | None]]] = {
        "input_audio_buffer.append": (Level.NEVER, None),
        "input_audio_buffer.commit": (Level.ALL, _committed_by_client),
        "conversation.item.create": (Level.ALL, _sent_item),
        "conversation.item.truncate": (Level.ALL, _truncated),
    }


_SERVER = Protocol.SERVER
_CLIENT = Protocol.CLIENT


def _unknown(kind: str, *, from_client: bool) -> Level:
    """Fragments and audio never become spans; everything else that is new passes as itself."""
    if kind.endswith(".delta"):
        return Level.NEVER
    return Level.ALL if from_client else Level.STANDARD


def _part(item_id: str, index: int) -> str:
    """What a part of an item is remembered by. A tuple of each would be one object more to look through."""
    return f"{index} {item_id}"


@functools.cache
def _quiet(events: Level) -> frozenset[bytes]:
    return frozenset(
        kind.encode() for kind, (level, reader) in _SERVER.items() if reader is None and level > events
    )


def _unreadable(frame: Any, at: int, *, from_client: bool) -> Event:
    size = len(frame) if isinstance(frame, (bytes, str)) else 0
    return ProviderEvent(at, "unreadable_frame", Level.STANDARD, {"bytes": size}, from_client)
