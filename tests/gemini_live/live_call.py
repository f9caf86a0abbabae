"""A call as the wire carries it: messages of our own writing, told to a conversation one by one.

The messages have the fields that matter and no others; the orders are those of real sessions. Each is told
either as the wire has it or as the SDK hands it out.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.genai import types
from wire_call import WireCall

from voicespan.gemini_live.protocol import Protocol
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation


def as_wire(message: dict[str, Any]) -> Any:
    return json.dumps(message)


def as_sdk(message: dict[str, Any]) -> Any:
    """What `AsyncSession._receive` makes of a message: its own class, without what it does not know."""
    message = json.loads(json.dumps(message))
    activity = message.get("voiceActivity")
    if activity is not None:
        message["voiceActivity"] = {
            "voiceActivityType": activity["type"],
            "audioOffset": activity.get("audioOffset"),
        }
    return types.LiveServerMessage._from_response(response=message, kwargs={})


class Call(WireCall):
    """One connection of one conversation, on a clock that stands still unless a message says `after`."""

    def __init__(self, tracer_provider, span_exporter, clock, form, **conversation: Any) -> None:
        super().__init__(span_exporter, clock)
        self.form = form
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, **conversation)
        self.connect()

    def connect(self) -> Call:
        self.protocol = Protocol(self.conversation.settings.events)
        self.connection = self.conversation.connect(self.protocol, {semconv.PROVIDER: "gcp.gemini"})
        return self

    def server(self, *, after: float = 0.0, **message: Any) -> Call:
        self.clock.advance(after)
        self.connection.received(self.form(message))
        return self

    def client(self, *, after: float = 0.0, **message: Any) -> Call:
        self.clock.advance(after)
        self.connection.sent(message)
        return self

    def content(self, *, after: float = 0.0, **fields: Any) -> Call:
        return self.server(after=after, serverContent=fields)

    def end(self, code: int = 1000) -> Call:
        self.connection.closed(code)
        return self

    # Messages that come often.

    def setup(self, **fields: Any) -> Call:
        self.client(setup={"model": "models/gemini-live", **fields})
        return self.server(setupComplete={"sessionId": "session-1"})

    def microphone(self, milliseconds: int = 20) -> Call:
        blob = {"data": bytes(32 * milliseconds), "mimeType": "audio/pcm;rate=16000"}
        return self.client(realtimeInput={"audio": blob})

    def heard(self, text: str, *, after: float = 0.0, **fields: Any) -> Call:
        return self.content(after=after, inputTranscription={"text": text, **fields})

    def said(self, text: str, *, after: float = 0.0, **fields: Any) -> Call:
        return self.content(after=after, outputTranscription={"text": text, **fields})

    def audio(self, milliseconds: int = 100, *, after: float = 0.0) -> Call:
        return self.content(after=after, modelTurn={"parts": [speech(milliseconds)]})

    def asks(self, *calls: dict[str, Any], after: float = 0.0) -> Call:
        return self.server(after=after, toolCall={"functionCalls": list(calls)})

    def answers(self, *answers: dict[str, Any], after: float = 0.0) -> Call:
        return self.client(after=after, toolResponse={"functionResponses": list(answers)})

    def complete(self, *, after: float = 0.0, usage: dict[str, Any] | None = None, **fields: Any) -> Call:
        beside = {"usageMetadata": usage} if usage is not None else {}
        return self.server(after=after, serverContent={"turnComplete": True, **fields}, **beside)


def speech(milliseconds: int, rate: int = 24000) -> dict[str, Any]:
    """A part that is so much PCM16."""
    data = base64.b64encode(b"\x01\x00" * (rate * milliseconds // 1000)).decode()
    return {"inlineData": {"mimeType": f"audio/pcm;rate={rate}", "data": data}}
