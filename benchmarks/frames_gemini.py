"""Messages of a spoken conversation with Gemini Live, as its server sends them."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIO = base64.b64encode(os.urandom(9_600)).decode()
#: 20 ms of PCM16 at 16 kHz.
MICROPHONE = os.urandom(640)
AUDIO_FRAMES = 20

_QUESTION = ("What is", " the weather", " in London?")
_ANSWER = ("It is foggy", " and twelve degrees", " in London,", " so take a coat", " with you.")
_USAGE = {
    "promptTokenCount": 132,
    "responseTokenCount": 121,
    "totalTokenCount": 253,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 119}, {"modality": "AUDIO", "tokenCount": 13}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 121}],
}


def audio_message() -> bytes:
    """200 ms of an answer, and nothing else."""
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": AUDIO}}
    return _encoded({"serverContent": {"modelTurn": {"parts": [part]}}})


def audio_frames(count: int) -> list[bytes]:
    """An answer's audio."""
    return [audio_message()] * count


def turns(count: int, *, audio: bool = True) -> list[bytes]:
    """The messages of `count` turns; each ends with one that completes it."""
    return [message for _ in range(count) for message in _turn(audio=audio)]


def _turn(*, audio: bool) -> Iterator[bytes]:
    for words in _QUESTION:
        yield _encoded({"serverContent": {"inputTranscription": {"text": words}}})
    for words in _ANSWER:
        yield _encoded({"serverContent": {"outputTranscription": {"text": words}}})
        if audio:
            for _ in range(AUDIO_FRAMES // len(_ANSWER)):
                yield audio_message()
    yield _encoded({"serverContent": {"generationComplete": True}})
    yield _encoded({"serverContent": {"turnComplete": True}, "usageMetadata": _USAGE})


def _encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
