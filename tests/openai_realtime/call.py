"""A call as the wire carries it: frames of our own writing, told to a conversation one by one.

The frames have the fields that matter and no others; the orders are those of real sessions.
"""

from __future__ import annotations

from typing import Any

from wire_call import JsonEventCall, audio

from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation


class Call(JsonEventCall):
    """One connection of one conversation, on a clock that stands still unless a frame says `after`."""

    def __init__(self, tracer_provider, span_exporter, clock, **conversation: Any) -> None:
        super().__init__(span_exporter, clock)
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, **conversation)
        self.protocol = Protocol(self.conversation.settings.events)
        self.connection = self.conversation.connect(
            self.protocol, {semconv.PROVIDER: "openai"}, kind=RealtimeConnection
        )

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
