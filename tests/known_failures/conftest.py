from __future__ import annotations

import pytest
from wire import Told

from voicespan.openai_realtime import OpenAIRealtimeInstrumentor


@pytest.fixture
def told(span_exporter) -> Told:
    return Told(span_exporter)


@pytest.fixture
def instrumented(tracer_provider, fake_clock):
    """OpenAI Realtime is traced, on a clock that stands still."""
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider, clock=fake_clock)
    yield instrumentor
    instrumentor.uninstrument()
