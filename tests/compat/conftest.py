from __future__ import annotations

import pytest
from realtime_api import APIS
from recorded import Trace

from voicespan.openai_realtime import OpenAIRealtimeInstrumentor


@pytest.fixture(params=APIS, ids=str)
def api(request):
    return request.param


@pytest.fixture
def instrumentor(tracer_provider, monkeypatch):
    """Switched on, and with a span for every frame but audio."""
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    yield instrumentor
    instrumentor.uninstrument()


@pytest.fixture
def trace(instrumentor, span_exporter) -> Trace:
    return Trace(span_exporter)
