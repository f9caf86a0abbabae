"""What the tests of all providers read of a call that was given frame by frame: its spans and what they say."""

from __future__ import annotations

import base64
import json
from typing import Any

from voicespan.tracing import semconv
from voicespan.tracing.messages import contents


class WireCall:
    """One connection of one conversation. Providers' own calls add how their frames are sent."""

    def __init__(self, span_exporter, clock) -> None:
        self.clock = clock
        self._exporter = span_exporter

    @property
    def spans(self):
        return [span for span in self._exporter.get_finished_spans() if span.parent is not None]

    @property
    def names(self) -> list[str]:
        return [span.name for span in sorted(self.spans, key=lambda span: (span.start_time, span.end_time))]

    def all(self, name: str):
        return [span for span in self.spans if span.name == name]

    def named(self, name: str):
        found = self.all(name)
        assert len(found) == 1, f"{len(found)} spans {name!r} among {self.names}"
        return found[0]

    @property
    def root(self):
        (root,) = [span for span in self._exporter.get_finished_spans() if span.parent is None]
        return root

    @property
    def transcript(self) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in messages(self.root)]


class JsonEventCall(WireCall):
    """A call of a provider whose frames are JSON objects with a `type`."""

    def server(self, kind: str, *, after: float = 0.0, **fields: Any):
        self.clock.advance(after)
        self.connection.received(json.dumps({"type": kind, "event_id": "event_1", **fields}).encode())
        return self

    def client(self, kind: str, *, after: float = 0.0, **fields: Any):
        self.clock.advance(after)
        self.connection.sent(json.dumps({"type": kind, **fields}))
        return self

    def end(self):
        self.connection.closed(1000)
        return self


def audio(milliseconds: int, rate: int = 24000) -> str:
    """Base64 of so much PCM16."""
    return base64.b64encode(b"\x01\x00" * (rate * milliseconds // 1000)).decode()


def fact(span, name: str) -> Any:
    return span.attributes.get(semconv.METADATA + name)


def content(span, side: str) -> Any:
    return contents(span.attributes)[{"in": 0, "out": 1}[side]]


def messages(span) -> list[dict[str, Any]]:
    sides = (content(span, "in") or {}), (content(span, "out") or {})
    return [message for side in sides for message in side.get("messages", [])]


def seconds(span) -> float:
    return round((span.end_time - span.start_time) / 1e9, 6)
