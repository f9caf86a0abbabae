"""What an OpenAI Realtime server sends, frame by frame, and what became of it."""

from __future__ import annotations

import base64
from typing import Any

from openai import AsyncOpenAI, OpenAI

from voicespan.tracing import semconv
from voicespan.tracing.messages import contents

CREATED = {
    "type": "session.created",
    "event_id": "event_0",
    "session": {
        "type": "realtime",
        "id": "sess_1",
        "model": "gpt-realtime",
        "audio": {
            "input": {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}},
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}},
        },
    },
}
USAGE = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}


def frame(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "event_1", **fields}


def spoken(item: str) -> list[dict[str, Any]]:
    """The user says something, and turn detection notices."""
    return [
        frame("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0),
        frame("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=900),
        frame("input_audio_buffer.committed", item_id=item, previous_item_id=None),
    ]


def transcribed(item: str, text: str, **fields: Any) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return frame(kind, item_id=item, content_index=0, transcript=text, **fields)


def begun(response: str, item: str) -> list[dict[str, Any]]:
    """The model begins to answer: 100 ms of it, and the first two words."""
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    message = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    return [
        frame("response.created", response={"id": response, "status": "in_progress", "output": []}),
        frame("response.output_item.added", response_id=response, output_index=0, item=message),
        frame("response.output_audio_transcript.delta", **ids, delta="Good "),
        frame("response.output_audio_transcript.delta", **ids, delta="morning"),
        frame("response.output_audio.delta", **ids, delta=base64.b64encode(bytes(4_800)).decode()),
    ]


def said(response: str, item: str, text: str) -> dict[str, Any]:
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    return frame("response.output_audio_transcript.done", **ids, transcript=text)


def done(response: str, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return frame("response.done", response={"id": response, "status": status, "output": [], **fields})


def connect(server: Any, **options: Any) -> Any:
    client = OpenAI(api_key="k", websocket_base_url=server.url)
    return client.realtime.connect(model="gpt-realtime", **options)


def connect_async(server: Any) -> Any:
    return AsyncOpenAI(api_key="k", websocket_base_url=server.url).realtime.connect(model="gpt-realtime")


class Told:
    """The spans that have ended."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def named(self, name: str) -> Any:
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} spans {name!r} among {self.names}"
        return found[0]

    @property
    def root(self) -> Any:
        return self.named("conversation")


def fact(span: Any, name: str) -> Any:
    return span.attributes.get(semconv.METADATA + name)


def words(span: Any) -> list[str]:
    """The contents of a span's messages, what went in before what came out."""
    return [message["content"] for side in contents(span.attributes) if side for message in side["messages"]]


def seconds(span: Any) -> float:
    return (span.end_time - span.start_time) / 1e9
