from __future__ import annotations

import pytest
from live_call import Call, as_sdk, as_wire

from voicespan.tracing.registry import end_open_conversations


@pytest.fixture(params=[as_wire, as_sdk], ids=["wire", "sdk"])
def form(request):
    """How messages are told: the protocol makes the same of both."""
    return request.param


@pytest.fixture
def make_call(tracer_provider, span_exporter, fake_clock, form):
    yield lambda **conversation: Call(tracer_provider, span_exporter, fake_clock, form, **conversation)
    end_open_conversations("untraced")


@pytest.fixture
def call(make_call) -> Call:
    return make_call()


class Trace:
    """What was written so far."""

    def __init__(self, exporter) -> None:
        self._exporter = exporter

    @property
    def finished(self):
        return self._exporter.get_finished_spans()

    @property
    def roots(self):
        return [span for span in self.finished if span.name == "conversation"]

    @property
    def root(self):
        (root,) = self.roots
        return root

    @property
    def names(self) -> list[str]:
        spans = [span for span in self.finished if span.name != "conversation"]
        return [span.name for span in sorted(spans, key=lambda span: (span.start_time, span.end_time))]

    def all(self, name: str):
        return [span for span in self.finished if span.name == name]

    def named(self, name: str):
        found = self.all(name)
        assert len(found) == 1, f"{len(found)} spans {name!r} among {self.names}"
        return found[0]


@pytest.fixture
def trace(span_exporter) -> Trace:
    return Trace(span_exporter)


@pytest.fixture
def instrumentor(tracer_provider, fake_clock):
    from voicespan.gemini_live import GeminiLiveInstrumentor

    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider, clock=fake_clock)
    yield instrumentor
    instrumentor.uninstrument()
