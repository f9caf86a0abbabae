"""One turn of the model while it is made: its messages in the order in which the vendor's server sends them.

A generation is a generator that stops after every chunk of output. Who drives it decides how fast it
goes: to its end at once, a number of chunks at a time, or not any further, when it is interrupted.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, Protocol

from voicespan.testing._dialogue import PacedGeneration, pieces
from voicespan.testing.gemini_live.answers import OUTPUT_BYTES_PER_MS, Answer, FunctionCall
from voicespan.testing.gemini_live.usage import Counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicespan.testing.gemini_live.answers import Dialogue

_MIME_TYPE = "audio/pcm;rate=24000"


class Speaker(Protocol):
    """What a turn needs of the conversation that it is made for."""

    dialogue: Dialogue
    called: dict[str, FunctionCall]

    @property
    def speaks(self) -> bool:
        """Whether answers are spoken."""

    @property
    def next_id(self) -> Callable[[str], str]:
        """The next id for a prefix."""

    def next_answer(self) -> Answer:
        """What the dialogue says next."""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""

    def content(self, **fields: Any) -> None:
        """Send what the model does."""

    def send_words(self, field: str, text: str) -> None:
        """Send a transcript, fragment by fragment."""

    def send_fragment(self, field: str, word: str, *, last: bool) -> None:
        """Send a fragment of a transcript."""


class Generation(PacedGeneration):
    """A turn in the making.

    Attributes:
        waiting: Calls that must be answered before it goes on, by id (or by name, where they have none).
        said: What was said or written so far.
        output: How much was made.
        thought: Characters of thoughts.
    """

    def __init__(self, conversation: Speaker, late_words: str | None) -> None:
        super().__init__(conversation.dialogue.chunk_ms)
        self.waiting: dict[str, FunctionCall] = {}
        self.said = ""
        self.output = Counted()
        self.thought = 0
        self._conversation = conversation
        self._late_words = late_words
        self._answer = conversation.next_answer()

    @property
    def answer(self) -> Answer:
        """What it is saying now."""
        return self._answer

    @property
    def blocked(self) -> bool:
        """Whether calls must be answered before it goes on."""
        return bool(self.waiting)

    def answered(self, key: str) -> bool:
        """An answer to a call has come; whether that was the last one it waited for."""
        if self.waiting.pop(key, None) is None or self.waiting:
            return False
        self._answer = self._conversation.next_answer()
        return True

    # The messages.

    def _run(self) -> Iterator[None]:
        while True:
            answer = self._answer
            yield
            yield from self._one(answer)
            if not answer.waits:
                break
            while self.waiting:
                yield
        if self._late_words is not None:
            self._conversation.send_words("inputTranscription", self._late_words)
        self._conversation.content(generationComplete=True)

    def _one(self, answer: Answer) -> Iterator[None]:
        if answer.thoughts:
            self.thought += len(answer.thoughts)
            self._conversation.content(modelTurn={"parts": [{"text": answer.thoughts, "thought": True}]})
        if answer.words or answer.audio:
            yield from self._speak(answer) if self._conversation.speaks else self._write(answer)
        if answer.calls:
            self._call(answer.calls)

    def _speak(self, answer: Answer) -> Iterator[None]:
        audio, size = answer.spoken(), self._conversation.dialogue.chunk_ms * OUTPUT_BYTES_PER_MS
        words, count = pieces(answer.words), max(math.ceil(len(answer.spoken()) / size), 1)
        said = 0
        for index in range(count):
            due = math.ceil((index + 1) * len(words) / count)
            for word in words[said:due]:
                said += 1
                self.said += word
                self._conversation.send_fragment("outputTranscription", word, last=said == len(words))
            if index == count // 2 and self._late_words is not None:
                self._conversation.send_words("inputTranscription", self._late_words)
                self._late_words = None
            chunk = audio[index * size : (index + 1) * size]
            self.output.said_ms += len(chunk) / OUTPUT_BYTES_PER_MS
            blob = {"mimeType": _MIME_TYPE, "data": base64.b64encode(chunk).decode()}
            self._conversation.content(modelTurn={"parts": [{"inlineData": blob}]})
            self.chunks += 1
            yield

    def _write(self, answer: Answer) -> Iterator[None]:
        for word in pieces(answer.words):
            self.said += word
            self.output.characters += len(word)
            self._conversation.content(modelTurn={"parts": [{"text": word}]})
            self.chunks += 1
            yield

    def _call(self, calls: tuple[FunctionCall, ...] | list[FunctionCall]) -> None:
        listed: list[dict[str, Any]] = []
        for call in calls:
            call_id = self._conversation.next_id("function-call") if call.call_id is None else call.call_id
            self.output.characters += len(call.name)
            listed.append({"name": call.name, "args": call.args, **({"id": call_id} if call_id else {})})
            self._conversation.called[call_id or call.name] = call
            if call.blocking:
                self.waiting[call_id or call.name] = call
        self._conversation.send({"toolCall": {"functionCalls": listed}})
