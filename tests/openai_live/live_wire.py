"""A session as the wire carries it: frames of our own writing, given to a conversation one by one."""

from __future__ import annotations

import json
from typing import Any

from wire_call import JsonEventCall, audio

from voicespan.openai_live.protocol import Protocol
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation

SESSION = {
    "id": "live_1",
    "model": "gpt-live-1",
    "status": "active",
    "instructions": "Be kind.",
    "audio": {"format": {"type": "audio/pcm", "rate": 24000}, "output": {"voice": "marin"}},
    "delegation": None,
    "store": False,
}


class LiveCall(JsonEventCall):
    """One connection of one conversation, on a clock that stands still unless a frame says `after`."""

    def __init__(self, tracer_provider, span_exporter, clock, **conversation: Any) -> None:
        super().__init__(span_exporter, clock)
        self.tracer = tracer_provider.get_tracer("application")
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, **conversation)
        self.protocol = Protocol(self.conversation.settings.events)
        self.connection = self.conversation.connect(
            self.protocol, {semconv.PROVIDER: "openai"}, wire_audio=lambda recorder: None
        )

    # Frames that come in groups.

    def started(self, **fields: Any) -> LiveCall:
        return self.server("session.started", session={**SESSION, **fields})

    def user(self, words: str, start: int, end: int, *, after: float = 0.0) -> LiveCall:
        kind = "session.input_transcript.delta"
        return self.server(kind, delta=words, start_ms=start, end_ms=end, after=after)

    def agent(self, words: str, start: int, end: int, *, after: float = 0.0) -> LiveCall:
        kind = "session.output_transcript.delta"
        return self.server(kind, delta=words, start_ms=start, end_ms=end, after=after)

    def track(self, milliseconds: int) -> LiveCall:
        for _ in range(milliseconds // 100):
            self.connection.received(
                json.dumps({"type": "session.output_audio.delta", "delta": audio(100)}).encode()
            )
        return self

    def delegated(self, target: str, delegation: str = "item_1", offset_ms: int = 2000, **fields) -> LiveCall:
        told = {"id": delegation, "type": "delegation", "target": target, **fields}
        return self.server("session.delegation.created", offset_ms=offset_ms, delegation=told)

    def nested(
        self, kind: str, delegation: str | None = "item_1", *, after: float = 0.0, **fields
    ) -> LiveCall:
        event = {"type": kind, **fields}
        return self.server("response.event", delegation_id=delegation, event=event, after=after)

    def response(self, kind: str, response: str = "resp_1", **fields: Any) -> LiveCall:
        after = fields.pop("after", 0.0)
        snapshot = {"id": response, "status": kind, "model": "gpt-5", "output": [], "tools": [], **fields}
        return self.nested(f"response.{kind}", response=snapshot, after=after)

    def calls(self, call: str, name: str, arguments: str = "{}") -> LiveCall:
        item = {
            "type": "function_call",
            "id": f"fc_{call}",
            "call_id": call,
            "name": name,
            "arguments": arguments,
        }
        return self.nested("response.output_item.done", item=item)

    def answers(self, call: str, output: str, *, after: float = 0.0) -> LiveCall:
        item = {"type": "function_call_output", "call_id": call, "output": output}
        return self.client("response.item.create", item=item, after=after)

    def closed(self, reason: str = "close_requested", seconds: float = 12.5) -> LiveCall:
        return self.server("session.closed", reason=reason, usage={"seconds": seconds}, session=SESSION)
