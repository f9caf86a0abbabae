"""The events of one transcription of the user's speech, which comes beside the answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from voicespan.testing._dialogue import pieces
from voicespan.testing.openai_realtime.answers import Transcription, obfuscation

if TYPE_CHECKING:
    from voicespan.testing.openai_realtime.items import Item

_NAME = "conversation.item.input_audio_transcription"


class Emit(Protocol):
    """Sends an event."""

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Send the event `kind` with these fields."""


class PendingTranscription:
    """One user turn's transcript on its way: it begins, and it ends later."""

    def __init__(self, item: Item, what: Transcription, model: str, emit: Emit) -> None:
        self.arrives = what.arrives
        self._item = item
        self._what = what
        self._model = model
        self._emit = emit
        self._begun = self._ended = False

    def begin(self) -> None:
        """Send the first deltas."""
        if self._begun:
            return
        self._begun = True
        words = pieces(self._what.text)
        self._deltas(words[: len(words) // 2])

    def end(self) -> None:
        """Send the other deltas and the transcript, or that there is none."""
        if self._ended:
            return
        self.begin()
        self._ended = True
        place = {"item_id": self._item.id, "content_index": 0}
        if self._what.error is not None:
            error = {"type": "transcription_error", "code": None, "message": self._what.error, "param": None}
            self._emit(f"{_NAME}.failed", **place, error=error)
            return
        words = pieces(self._what.text)
        self._deltas(words[len(words) // 2 :])
        self._item.fields["content"][0]["transcript"] = self._what.text
        self._emit(f"{_NAME}.completed", **place, transcript=self._what.text, usage=self._usage())

    def _deltas(self, words: list[str]) -> None:
        if self._what.error is not None:
            return
        for word in words:
            self._emit(
                f"{_NAME}.delta",
                item_id=self._item.id,
                content_index=0,
                delta=word,
                obfuscation=obfuscation(word),
            )

    def _usage(self) -> dict[str, Any]:
        # Whisper models are paid by the second, the others by the token.
        if "whisper" in self._model:
            return {"type": "duration", "seconds": math.ceil(self._item.audio_ms / 1000)}
        heard, written = self._item.audio_tokens, math.ceil(len(self._what.text) / 4)
        return {
            "type": "tokens",
            "total_tokens": heard + written,
            "input_tokens": heard,
            "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
            "output_tokens": written,
        }
