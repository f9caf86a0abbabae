from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent.parent / "compat"))

from recorded import Trace
from socket_clients import CLIENTS

from voicespan.instrumentation import sockets


@pytest.fixture
def trace(span_exporter) -> Trace:
    return Trace(span_exporter)


@pytest.fixture(params=CLIENTS, ids=lambda each: each.name)
def client(request):
    """One library, not yet instrumented."""
    return request.param


@pytest.fixture
def instrumented(client, tracer_provider, monkeypatch):
    """The library, with its sockets traced."""
    monkeypatch.delenv("VOICESPAN_SOCKETS", raising=False)
    instrumentor = getattr(sockets, client.instrumentor)()
    instrumentor.instrument(tracer_provider=tracer_provider)
    yield client
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
