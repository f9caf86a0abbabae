"""The server's side of one connection: client messages in, server messages out. No socket, no thread, no clock.

What holds throughout:

- Time is what the user's audio says: speech begins and ends, and answers go on, by its samples.
- One turn of the model is in progress at most. Where the user begins to speak meanwhile, it is interrupted.
- A client that breaks the protocol is told by the close, as the vendor does it: there is no error message.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from voicespan.testing._dialogue import pieces
from voicespan.testing._scripted import Refused
from voicespan.testing._speech import Format, SpeechDetector, SpeechStarted, TurnDetection
from voicespan.testing.gemini_live.generation import Generation
from voicespan.testing.gemini_live.usage import Counted, usage_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.testing.gemini_live.answers import Answer, Dialogue, FunctionCall

    Message = dict[str, Any]

#: Objects whose keys are the application's own.
_FREE_FORM = ("args", "response")
_INPUT = Format("pcm16", 32, b"\0")
_THRESHOLD = 0.5
_PREFIX_MS = 20
_SILENCE_MS = 500


class LiveConversation:
    """One connection's session.

    Args:
        dialogue: What the model says.
        emit: Takes each message as it goes over the wire, encoded.
        next_id: The next id for a prefix: `function-call-0001`.
        hold: Lets a test's `release()` resume a paused answer.
        sessions: What every resumption handle of the server leads back to.
        names_session: Whether `setupComplete` carries a session id, as on Vertex AI.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        emit: Callable[[str], None],
        next_id: Callable[[str], str],
        hold: Callable[[Callable[[int | None], None]], Callable[[], None]],
        sessions: dict[str, tuple[list[Message], Counted]],
        names_session: bool,
    ) -> None:
        self.dialogue = dialogue
        self.next_id = next_id
        self.setup: Message = {}
        self.called: dict[str, FunctionCall] = {}
        self._emit = emit
        self._hold = hold
        self._sessions = sessions
        self._names_session = names_session
        self._contents: list[Message] = []
        self._context = Counted()
        self._detector = SpeechDetector()
        self._generation: Generation | None = None
        self._withdraw: Callable[[], None] | None = None
        self._heard_ms = 0.0

    @property
    def speaks(self) -> bool:
        """Whether answers are spoken."""
        modalities = (self.setup.get("generationConfig") or {}).get("responseModalities") or ["AUDIO"]
        return "AUDIO" in modalities

    def receive(self, frame: str | bytes) -> None:
        """Take in one message of the client.

        Raises:
            Refused: It cannot be taken, and the connection is closed.
        """
        try:
            message = json.loads(frame)
        except ValueError as error:
            raise Refused(1007, "Invalid JSON payload received.") from error
        if not isinstance(message, dict) or not message:
            raise Refused(1007, "Invalid JSON payload received.")
        kind, value = next(iter(_camel_keys(message).items()))
        if not self.setup and kind != "setup":
            raise Refused(1007, "setup must be the first message and only the first")
        take = self._CLIENT_MESSAGES.get(kind)
        if take is None or not isinstance(value, dict):
            raise Refused(1007, f'Invalid JSON payload received. Unknown name "{kind}": Cannot find field.')
        take(self, value)

    def close(self) -> None:
        """The connection is gone: nothing is left to release."""
        if self._withdraw is not None:
            self._withdraw()

    # What the server says.

    def send(self, message: Message) -> None:
        """Send a message."""
        self._emit(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def content(self, **fields: Any) -> None:
        """Send what the model does."""
        self.send({"serverContent": fields})

    def send_words(self, field: str, text: str) -> None:
        """Send a transcript, fragment by fragment."""
        words = pieces(text)
        for index, word in enumerate(words):
            self.send_fragment(field, word, last=index == len(words) - 1)

    def send_fragment(self, field: str, word: str, *, last: bool) -> None:
        """Send a fragment of a transcript, where the session has it switched on."""
        if f"{field[: -len('Transcription')]}AudioTranscription" in self.setup:
            marked = {"finished": True} if last and self.dialogue.marks_last else {}
            self.content(**{field: {"text": word, **marked}})

    def next_answer(self) -> Answer:
        """What the dialogue says next."""
        return self.dialogue.answer(self._contents, self.setup)

    def go_away(self, time_left: str) -> None:
        """Say that the connection will be closed."""
        self.send({"goAway": {"timeLeft": time_left}})

    # What the client says.

    def _setup(self, setup: Message) -> None:
        if self.setup:
            raise Refused(1007, "setup must be the first message and only the first")
        resumption = setup.get("sessionResumption")
        handle = resumption.get("handle") if isinstance(resumption, dict) else None
        if handle is not None:
            if handle not in self._sessions:
                raise Refused(1008, "BidiGenerateContent session not found")
            contents, context = self._sessions[handle]
            self._contents = list(contents)
            self._context.add(context)
        self.setup = setup
        instruction = json.dumps(setup.get("systemInstruction") or "")
        self._context.characters += 0 if handle else len(instruction) - 2
        self.send({"setupComplete": {"sessionId": self.next_id("session")} if self._names_session else {}})
        self._offer_resumption()

    def _client_content(self, content: Message) -> None:
        for turn in content.get("turns") or ():
            self._contents.append(turn)
            self._context.characters += sum(len(part.get("text") or "") for part in turn.get("parts") or ())
        if content.get("turnComplete"):
            if self._generation is not None:
                self._interrupt()
            self._answer(None)

    def _realtime_input(self, given: Message) -> None:
        media = given.get("mediaChunks") or [given.get("media")]
        for blob in (given.get("audio"), *media):
            if isinstance(blob, dict) and str(blob.get("mimeType")).startswith("audio/"):
                self._hear(_decoded(blob.get("data")))
        if given.get("text"):
            self._client_content({"turns": [_content("user", given["text"])], "turnComplete": True})
        if "activityStart" in given:
            self._speech_started()
        if "activityEnd" in given:
            self._speech_stopped()

    def _tool_response(self, response: Message) -> None:
        for answer in response.get("functionResponses") or ():
            key = answer.get("id") or answer.get("name")
            call = self.called.get(key)
            if call is None:
                raise Refused(1008, f"no function was called as {key}")
            self._context.characters += len(json.dumps(answer.get("response")))
            if answer.get("willContinue") is not True:
                del self.called[key]
            if call.blocking:
                self._resume_call(key)
            elif answer.get("scheduling") != "SILENT":
                if self._generation is not None and answer.get("scheduling") == "INTERRUPT":
                    self._interrupt()
                if self._generation is None:
                    self._answer(None)

    def _resume_call(self, key: str) -> None:
        generation = self._generation
        if generation is not None and generation.answered(key):
            generation.start()
            self._settle(generation)

    def _context_update(self, _update: Message) -> None:
        """Taken, and of no consequence here."""

    # The user's speech.

    def _hear(self, audio: bytes) -> None:
        heard_ms = len(audio) / _INPUT.bytes_per_ms
        self._heard_ms += heard_ms
        for found in self._detector.feed(audio, _INPUT, self._detection):
            if isinstance(found, SpeechStarted):
                self._speech_started(f"{found.ms / 1000:.3f}s")
            else:
                self._speech_stopped(f"{found.ms / 1000:.3f}s")
        generation = self._generation
        if generation is not None and generation.waits_for_audio:
            generation.keep_pace(heard_ms)
            self._settle(generation)

    @property
    def _detection(self) -> TurnDetection | None:
        given = (self.setup.get("realtimeInputConfig") or {}).get("automaticActivityDetection") or {}
        if given.get("disabled"):
            return None
        prefix, silence = (
            given.get("prefixPaddingMs", _PREFIX_MS),
            given.get("silenceDurationMs", _SILENCE_MS),
        )
        return TurnDetection(_THRESHOLD, prefix, silence, create_response=True, interrupt_response=True)

    def _speech_started(self, offset: str | None = None) -> None:
        if offset is not None and self.dialogue.voice_activity:
            self.send({"voiceActivity": {"type": "ACTIVITY_START", "audioOffset": offset}})
        handling = (self.setup.get("realtimeInputConfig") or {}).get("activityHandling")
        if self._generation is not None and handling != "NO_INTERRUPTION":
            self._interrupt()

    def _speech_stopped(self, offset: str | None = None) -> None:
        if offset is not None and self.dialogue.voice_activity:
            self.send({"voiceActivity": {"type": "ACTIVITY_END", "audioOffset": offset}})
        self._context.heard_ms += self._heard_ms
        self._heard_ms = 0.0
        words = self.dialogue.transcription()
        self._contents.append(_content("user", words.text))
        if words.arrives == "early":
            self.send_words("inputTranscription", words.text)
        if self._generation is None:
            self._answer(words.text if words.arrives == "during" else None)

    # Turns of the model.

    def _answer(self, late_words: str | None) -> None:
        generation = self._generation = Generation(self, late_words)
        generation.start()
        self._settle(generation)

    def _settle(self, generation: Generation) -> None:
        """After a step: it is over, or it waits for a function, for the user's audio, or for the test."""
        if generation.finished:
            self._complete(generation)
        elif not generation.waiting and not generation.waits_for_audio:
            self._withdraw = self._hold(lambda chunks: self._resume(generation, chunks))

    def _resume(self, generation: Generation, chunks: int | None) -> None:
        # It may have been interrupted while the test was on its way to release it.
        if self._generation is not generation:
            return
        self._withdraw = None
        if chunks is None:
            generation.advance()
        else:
            generation.advance(chunks)
        self._settle(generation)

    def _interrupt(self) -> None:
        generation = self._generation
        if generation is None:
            return
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None
        pending = [key for key, call in self.called.items() if call.call_id != ""]
        if pending:
            self.send({"toolCallCancellation": {"ids": pending}})
        self.called.clear()
        self.content(interrupted=True)
        self._complete(generation)

    def _complete(self, generation: Generation) -> None:
        self._generation = None
        usage = usage_metadata(self._context, generation.output, generation.thought)
        reason = generation.answer.reason
        content = {"turnComplete": True, **({"turnCompleteReason": reason} if reason else {})}
        self.send({"serverContent": content, "usageMetadata": usage})
        self._context.add(generation.output)
        if generation.said:
            self._contents.append(_content("model", generation.said))
        self._offer_resumption()

    def _offer_resumption(self) -> None:
        if "sessionResumption" in self.setup:
            handle = self.next_id("handle")
            kept = Counted()
            kept.add(self._context)
            self._sessions[handle] = (list(self._contents), kept)
            self.send({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})

    _CLIENT_MESSAGES: ClassVar[dict[str, Callable[[LiveConversation, Message], None]]] = {
        "setup": _setup,
        "clientContent": _client_content,
        "realtimeInput": _realtime_input,
        "toolResponse": _tool_response,
        "contextUpdate": _context_update,
    }


def _content(role: str, text: str) -> Message:
    return {"role": role, "parts": [{"text": text}]}


def _decoded(data: Any) -> bytes:
    """The SDK writes the URL-safe alphabet, other clients the standard one."""
    try:
        return base64.b64decode(str(data).replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as error:
        raise Refused(1007, "Invalid value at 'realtime_input.audio.data' (TYPE_BYTES)") from error


def _camel_keys(value: Any) -> Any:
    """The SDK mixes both cases, also within one message, and the vendor's server takes both."""
    if isinstance(value, list):
        return [_camel_keys(each) for each in value]
    if not isinstance(value, dict):
        return value
    camel = {re.sub(r"_([a-z])", lambda found: found[1].upper(), key): each for key, each in value.items()}
    return {key: each if key in _FREE_FORM else _camel_keys(each) for key, each in camel.items()}
