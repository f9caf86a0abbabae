"""One response while it is made: its events in the order in which the vendor's server sends them.

A generation is a generator that stops after every chunk of output. Who drives it decides how fast it
goes: to its end at once, a number of chunks at a time, or to its end without any more output when it is
cancelled. Whatever stops it, the `.done` events of what was begun are sent, then `response.done`.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, Protocol

from voicespan.testing._dialogue import PacedGeneration, pieces
from voicespan.testing.openai_realtime.answers import Answer, FunctionCall, obfuscation
from voicespan.testing.openai_realtime.items import NO_USAGE, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from voicespan.testing._speech import Format
    from voicespan.testing.openai_realtime.items import Items
    from voicespan.testing.openai_realtime.session import Session
    from voicespan.testing.openai_realtime.transcription import PendingTranscription

# How many words of the transcript precede the first audio, as in recorded sessions.
_WORDS_AHEAD = 3


class Speaker(Protocol):
    """What a response needs of the conversation that it is made for."""

    chunk_ms: int
    on_media_track: bool
    items: Items
    session: Session

    @property
    def next_id(self) -> Callable[[str], str]:
        """The next id for a prefix."""

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send an event."""


class Generation(PacedGeneration):
    """A response in the making.

    Attributes:
        id: The response's id.
        out_of_band: Whether it stands outside the conversation (`conversation: "none"`).
        cancelled: Why it was cancelled, as in `status_details`; None while it was not.
        playing: The item whose audio plays on the media track.
    """

    def __init__(
        self,
        conversation: Speaker,
        answer: Answer,
        *,
        request: Mapping[str, Any],
        output_format: Format,
        response: dict[str, Any],
        transcription: PendingTranscription | None,
    ) -> None:
        super().__init__(conversation.chunk_ms)
        self.id = str(response["id"])
        self.out_of_band = request.get("conversation") == "none"
        self.cancelled: str | None = None
        self.playing: Item | None = None
        self._conversation = conversation
        self._emit = conversation.emit
        self._answer = answer
        self._format = output_format
        self._response = response
        self._transcription = transcription
        self._spoken = response["output_modalities"] == ["audio"]
        self._output: list[Item] = []

    @property
    def answer(self) -> Answer:
        """What is being said."""
        return self._answer

    def cancel(self, reason: str) -> None:
        """End it without any more output; `reason` as in `status_details`."""
        self.cancelled = reason
        self.advance()

    # The events.

    def _run(self) -> Iterator[None]:
        self._emit("response.created", response=dict(self._response))
        if self._transcription is not None and self._transcription.arrives == "during":
            self._transcription.begin()
        yield
        if self._answer.has_message and not self.cancelled:
            yield from self._message()
        for call in self._answer.calls:
            if not self.cancelled:
                yield from self._call(call)
        self._end_transcription()
        self._emit("response.done", response=self._finished_response())

    def _message(self) -> Iterator[None]:
        item = Item({
            "id": self._conversation.next_id("item"),
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        })  # fmt: skip
        place = self._open(item)
        kind, name = ("audio", "transcript") if self._spoken else ("text", "text")
        part = {"type": kind, name: ""}
        self._emit("response.content_part.added", **place, part=part)
        # The conversation sees the item as it grows: what can be truncated is what was made.
        content = {"type": f"output_{kind}", name: ""}
        item.fields["content"] = [content]
        yield from self._speak(item, content, place) if self._spoken else self._write(content, place)
        said = content[name]
        if self._spoken:
            self._emit("response.output_audio.done", **place)
            self._emit("response.output_audio_transcript.done", **place, transcript=said)
        else:
            self._emit("response.output_text.done", **place, text=said)
        self._emit("response.content_part.done", **place, part={"type": kind, name: said})
        self._close(item)

    def _speak(self, item: Item, content: dict[str, str], place: dict[str, Any]) -> Iterator[None]:
        audio = self._answer.spoken(self._format.bytes_per_ms, self._format.silence)
        size = self._conversation.chunk_ms * self._format.bytes_per_ms
        words = pieces(self._answer.words)
        count = math.ceil(len(audio) / size)
        said = 0
        for index in range(count):
            if index == count // 2:
                self._end_transcription()
            # The words run a little ahead of the sound.
            for word in words[said : _WORDS_AHEAD + math.ceil((index + 1) * len(words) / count)]:
                said += 1
                content["transcript"] += word
                delta = {"delta": word, "obfuscation": obfuscation(word)}
                self._emit("response.output_audio_transcript.delta", **place, **delta)
            self._audio_delta(item, audio[index * size : (index + 1) * size], place)
            self.chunks += 1
            yield
            if self.cancelled:
                return

    def _audio_delta(self, item: Item, chunk: bytes, place: dict[str, Any]) -> None:
        item.audio_ms += len(chunk) // self._format.bytes_per_ms
        if not self._conversation.on_media_track:
            self._emit("response.output_audio.delta", **place, delta=base64.b64encode(chunk).decode())
        elif self.playing is None:
            self.playing = item
            self._emit("output_audio_buffer.started", response_id=self.id)

    def _write(self, content: dict[str, str], place: dict[str, Any]) -> Iterator[None]:
        words = pieces(self._answer.words)
        for index, word in enumerate(words):
            if index == len(words) // 2:
                self._end_transcription()
            content["text"] += word
            self._emit("response.output_text.delta", **place, delta=word, obfuscation=obfuscation(word))
            self.chunks += 1
            yield
            if self.cancelled:
                return

    def _call(self, call: FunctionCall) -> Iterator[None]:
        arguments = call.arguments
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        item = Item({
            "id": self._conversation.next_id("item"),
            "type": "function_call",
            "status": "in_progress",
            "name": call.name,
            "call_id": call.call_id or self._conversation.next_id("call"),
            "arguments": "",
        })  # fmt: skip
        place = {**self._open(item), "call_id": item.fields["call_id"]}
        del place["content_index"]
        self._end_transcription()
        for piece in pieces(text):
            item.fields["arguments"] += piece
            delta = {"delta": piece, "obfuscation": obfuscation(piece)}
            self._emit("response.function_call_arguments.delta", **place, **delta)
            self.chunks += 1
            yield
            if self.cancelled:
                break
        if not self.cancelled:
            # Only whole arguments are announced as done.
            self._emit("response.function_call_arguments.done", **place, name=call.name, arguments=text)
        self._close(item)

    def _open(self, item: Item) -> dict[str, Any]:
        """Announce an item; returns the fields that its events share."""
        index = len(self._output)
        self._output.append(item)
        self._emit("response.output_item.added", response_id=self.id, output_index=index, item=item.fields)
        if not self.out_of_band:
            before = self._conversation.items.add(item)
            self._emit("conversation.item.added", previous_item_id=before, item=item.fields)
        return {"response_id": self.id, "item_id": item.id, "output_index": index, "content_index": 0}

    def _close(self, item: Item) -> None:
        last = len(self._output) == self._answer.has_message + len(self._answer.calls)
        cut = self.cancelled is not None or (last and self._answer.incomplete is not None)
        item.fields["status"] = "incomplete" if cut else "completed"
        if not self.out_of_band:
            before = self._conversation.items.before(item)
            self._emit("conversation.item.done", previous_item_id=before, item=item.fields)
        index = self._output.index(item)
        self._emit("response.output_item.done", response_id=self.id, output_index=index, item=item.fields)

    def _end_transcription(self) -> None:
        if self._transcription is not None and self._transcription.arrives == "during":
            self._transcription.end()

    def _finished_response(self) -> dict[str, Any]:
        status, details = self._outcome()
        return {
            **self._response,
            "status": status,
            "status_details": details,
            "output": [item.fields for item in self._output],
            "usage": self._usage(),
        }

    def _usage(self) -> dict[str, Any]:
        if self.cancelled and not self._output:
            # Recorded: what was cancelled before it said anything costs nothing.
            return NO_USAGE
        return self._conversation.items.usage(self._output, self._conversation.session.instructions)

    def _outcome(self) -> tuple[str, dict[str, Any] | None]:
        if self.cancelled is not None:
            return "cancelled", {"type": "cancelled", "reason": self.cancelled}
        if self._answer.error is not None:
            error = self._answer.error
            if isinstance(error, str):
                error = {"type": "server_error", "code": "server_error", "message": error}
            return "failed", {"type": "failed", "error": dict(error)}
        if self._answer.incomplete is not None:
            return "incomplete", {"type": "incomplete", "reason": self._answer.incomplete}
        return "completed", None
