"""Frames of a spoken conversation with OpenAI Realtime, as its server sends them.

The order, the fields and the sizes are those of real sessions; the audio is noise, which nobody listens to.
"""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: 200 ms of PCM16 at 24 kHz: what the server mostly sends at once.
AUDIO = base64.b64encode(os.urandom(9_600)).decode()
#: 20 ms of it: what a microphone mostly gives.
MICROPHONE = base64.b64encode(os.urandom(960)).decode()
#: How many frames of audio an answer has: four seconds.
AUDIO_FRAMES = 20

_QUESTION = "What is the weather in London?"
_ANSWER = "It is foggy and twelve degrees in London, so take a coat with you."
_USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}


def session_created() -> bytes:
    """The first frame of a session."""
    session = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "gpt-realtime"}
    return encoded([{"type": "session.created", "session": session}])[0]


def turns(count: int, *, audio: bool = True) -> list[bytes]:
    """The frames of `count` turns, each of a question that is transcribed and a spoken answer."""
    return encoded([frame for number in range(count) for frame in _turn(number, audio=audio)])


def audio_frames(count: int) -> list[bytes]:
    """An answer that begins, and then only its audio."""
    response = {"id": "resp_0001", "object": "realtime.response", "status": "in_progress", "output": []}
    created = {"type": "response.created", "response": response}
    ids = {"response_id": "resp_0001", "item_id": "item_a0001", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_audio.delta", **ids, "delta": AUDIO}
    return encoded([created, *([delta] * count)])


def encoded(frames: list[dict[str, Any]]) -> list[bytes]:
    """The frames as bytes, each with an id, which stands second, as it does in what the server sends."""
    return [
        json.dumps(
            {"type": frame["type"], "event_id": f"event_{number:08d}", **frame}, separators=(",", ":")
        ).encode()
        for number, frame in enumerate(frames)
    ]


def _turn(number: int, *, audio: bool) -> Iterator[dict[str, Any]]:
    user, item, response = f"item_u{number:05d}", f"item_a{number:05d}", f"resp_{number:05d}"
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    heard = {
        "id": user,
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    yield {"type": "input_audio_buffer.speech_started", "audio_start_ms": 10, "item_id": user}
    yield {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": user}
    yield {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": user}
    yield {"type": "conversation.item.added", "previous_item_id": None, "item": heard}
    yield {"type": "conversation.item.done", "previous_item_id": None, "item": heard}
    yield {"type": "response.created", "response": {"id": response, "status": "in_progress", "output": []}}
    yield from _answer(user, item, response, ids, audio=audio)


def _answer(
    user: str, item: str, response: str, ids: dict[str, Any], *, audio: bool
) -> Iterator[dict[str, Any]]:
    message = {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
    }
    said = {**message, "status": "completed", "content": [{"type": "output_audio", "transcript": _ANSWER}]}
    opened = {"response_id": response, "output_index": 0, "item": message}
    yield {"type": "response.output_item.added", **opened}
    yield {"type": "conversation.item.added", "previous_item_id": user, "item": message}
    yield {"type": "response.content_part.added", **ids, "part": {"type": "audio", "transcript": ""}}
    for word in _ANSWER.split():
        yield {"type": "response.output_audio_transcript.delta", **ids, "delta": word}
    if audio:
        for _ in range(AUDIO_FRAMES):
            yield {"type": "response.output_audio.delta", **ids, "delta": AUDIO}
    transcribed = {"item_id": user, "content_index": 0, "transcript": _QUESTION}
    yield {"type": "conversation.item.input_audio_transcription.completed", **transcribed}
    yield {"type": "response.output_audio.done", **ids}
    yield {"type": "response.output_audio_transcript.done", **ids, "transcript": _ANSWER}
    yield {"type": "response.content_part.done", **ids, "part": {"type": "audio", "transcript": _ANSWER}}
    yield {"type": "conversation.item.done", "previous_item_id": user, "item": said}
    yield {"type": "response.output_item.done", "response_id": response, "output_index": 0, "item": said}
    done = {"id": response, "status": "completed", "status_details": None, "output": [said], "usage": _USAGE}
    yield {"type": "response.done", "response": done}
    yield {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 1, "remaining": 1}]}
