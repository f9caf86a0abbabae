"""A call as the wire carries it: frames of our own writing, told to a conversation one by one.

The frames have the fields that matter and no others; the orders are those of real sessions.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation


class Call:
    """One connection of one conversation, on a clock that stands still unless a frame says `after`."""

    def __init__(self, tracer_provider, span_exporter, clock, **conversation: Any) -> None:
        self.clock = clock
        self._exporter = span_exporter
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, **conversation)
        self.protocol = Protocol(self.conversation.settings.events)
        self.connection = self.conversation.connect(
            self.protocol, {semconv.PROVIDER: "openai"}, kind=RealtimeConnection
        )

    def server(self, kind: str, *, after: float = 0.0, **fields: Any) -> Call:
        self.clock.advance(after)
        self.connection.received(json.dumps({"type": kind, "event_id": "event_1", **fields}).encode())
        return self

    def client(self, kind: str, *, after: float = 0.0, **fields: Any) -> Call:
        self.clock.advance(after)
        self.connection.sent(json.dumps({"type": kind, **fields}))
        return self

    def end(self) -> Call:
        self.connection.closed(1000)
        return self

    # Frames that come in groups.

    def session(self, *, transcription: bool = True, **fields: Any) -> Call:
        audio = {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "turn_detection": {"type": "server_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
        }
        if transcription:
            audio["input"]["transcription"] = {"model": "whisper-1"}
        session = {"type": "realtime", "id": "sess_1", "model": "gpt-realtime", "audio": audio, **fields}
        return self.server("session.created", session=session)

    def speech(self, item: str, *, seconds: float = 1.0) -> Call:
        self.server("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        self.server("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=900, after=seconds)
        self.server("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        for kind in ("conversation.item.added", "conversation.item.done"):
            content = [{"type": "input_audio", "transcript": None}]
            self.server(kind, item={"id": item, "type": "message", "role": "user", "content": content})
        return self

    def heard(self, item: str, text: str, **fields: Any) -> Call:
        kind = "conversation.item.input_audio_transcription.completed"
        return self.server(kind, item_id=item, content_index=0, transcript=text, **fields)

    def answer(self, response: str, item: str, *, audio_ms: int = 400) -> Call:
        """Begin a spoken answer: its first transcript and its audio are there."""
        self.server("response.created", response={"id": response, "status": "in_progress", "output": []})
        message = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.server("response.output_item.added", response_id=response, item=message)
        self.server("conversation.item.added", item=message, previous_item_id=None)
        self.server("response.output_audio_transcript.delta", response_id=response, item_id=item, delta="Hel")
        for _ in range(audio_ms // 100):
            self.server("response.output_audio.delta", response_id=response, item_id=item, delta=audio(100))
        return self

    def said(self, response: str, item: str, text: str) -> Call:
        ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        self.server("response.output_audio.done", **ids)
        return self.server("response.output_audio_transcript.done", **ids, transcript=text)

    def done(self, response: str, status: str = "completed", **fields: Any) -> Call:
        return self.server(
            "response.done", response={"id": response, "status": status, "output": [], **fields}
        )

    # What came of it.

    @property
    def spans(self):
        return [span for span in self._exporter.get_finished_spans() if span.parent is not None]

    @property
    def names(self) -> list[str]:
        return [span.name for span in sorted(self.spans, key=lambda span: (span.start_time, span.end_time))]

    def named(self, name: str):
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} spans {name!r} among {self.names}"
        return found[0]

    @property
    def root(self):
        (root,) = [span for span in self._exporter.get_finished_spans() if span.parent is None]
        return root

    @property
    def transcript(self) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in messages(self.root)]


def audio(milliseconds: int, rate: int = 24000) -> str:
    """Base64 of so much PCM16."""
    return base64.b64encode(b"\x01\x00" * (rate * milliseconds // 1000)).decode()


def fact(span, name: str) -> Any:
    return span.attributes.get(semconv.METADATA + name)


def content(span, side: str) -> Any:
    text = span.attributes.get({"in": semconv.PROMPT, "out": semconv.COMPLETION}[side])
    return None if text is None else json.loads(text)


def messages(span) -> list[dict[str, Any]]:
    sides = (content(span, "in") or {}), (content(span, "out") or {})
    return [message for side in sides for message in side.get("messages", [])]


def seconds(span) -> float:
    return round((span.end_time - span.start_time) / 1e9, 6)
