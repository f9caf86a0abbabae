"""Setting and restoring seams: twice is once, and what others put on top stays."""

from __future__ import annotations

import functools

import pytest
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection

import voicespan
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.instrumentation.sockets import (
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    WebsocketsInstrumentor,
)
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.runtime import supported
from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Send
from voicespan.tracing import tracer

CREATED = {"type": "session.created", "event_id": "e", "session": {"id": "sess_1"}}


@pytest.fixture
def instrumentor():
    before = dict(RealtimeConnection.__dict__)
    instrumentor = OpenAIRealtimeInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert dict(RealtimeConnection.__dict__) == before


def hold(server):
    with OpenAI(api_key="k", websocket_base_url=server.url).realtime.connect(model="m") as connection:
        connection.recv()
        connection.session.update(session={"type": "realtime"})


def roots(exporter):
    return [span for span in exporter.get_finished_spans() if span.parent is None]


def counted(exporter):
    return [root.attributes["langsmith.metadata.event_count"] for root in roots(exporter)]


def test_instrumenting_twice_is_once_and_the_later_provider_counts(
    instrumentor, tracer_provider, span_exporter, caplog
):
    instrumentor.instrument()
    instrumentor.instrument(tracer_provider=tracer_provider)
    instrumentor.instrument()
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        hold(server)
    assert counted(span_exporter) == [2]
    assert not caplog.records


def test_off_and_on_again(instrumentor, tracer_provider, span_exporter):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        for _ in range(3):
            instrumentor.instrument(tracer_provider=tracer_provider)
            hold(server)
            instrumentor.uninstrument()
            hold(server)
    assert counted(span_exporter) == [2, 2, 2]


def test_what_another_library_put_on_top_stays_and_nothing_is_counted_twice(
    instrumentor, tracer_provider, span_exporter
):
    instrumentor.instrument(tracer_provider=tracer_provider)
    ours = RealtimeConnection.recv_bytes
    seen = []

    @functools.wraps(ours)
    def theirs(self):
        frame = ours(self)
        seen.append(frame)
        return frame

    RealtimeConnection.recv_bytes = theirs
    try:
        with OpenAIRealtimeServer([Send(CREATED)]) as server:
            instrumentor.uninstrument()
            assert RealtimeConnection.recv_bytes is theirs
            hold(server)
            assert counted(span_exporter) == []
            instrumentor.instrument(tracer_provider=tracer_provider)
            hold(server)
            assert counted(span_exporter) == [2]
        assert len(seen) == 2
    finally:
        RealtimeConnection.recv_bytes = ours


def test_configure_is_all_it_takes(instrumentor, langsmith_server, tmp_path, monkeypatch, tracer_provider):
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path))
    for _ in range(2):
        provider = voicespan.configure(
            tracer_provider=tracer_provider, api_key=langsmith_server.api_key, endpoint=langsmith_server.url
        )
    assert provider is tracer_provider
    try:
        with OpenAIRealtimeServer([Send(CREATED)]) as server:
            hold(server)
        assert provider.force_flush(20_000)
        (root,) = langsmith_server.roots
        assert root.metadata["event_count"] == 2
        assert langsmith_server.received_count(root.id) == 1
    finally:
        tracer.name_provider(None)
        GeminiLiveInstrumentor().uninstrument()
        for sockets in (AiohttpInstrumentor, WebsocketClientInstrumentor, WebsocketsInstrumentor):
            sockets().uninstrument()


def test_a_share_that_is_none_is_refused(tracer_provider, langsmith_server):
    with pytest.raises(ValueError, match="share"):
        voicespan.configure(
            tracer_provider=tracer_provider,
            api_key=langsmith_server.api_key,
            endpoint=langsmith_server.url,
            record=2,
        )


def test_a_library_that_has_moved_what_is_patched_is_left_alone_and_one_line_says_so(
    instrumentor, monkeypatch, caplog
):
    from openai.resources.realtime import realtime

    monkeypatch.delattr(realtime, "AsyncRealtimeConnectionManager")
    before = dict(RealtimeConnection.__dict__)
    instrumentor.instrument()
    assert dict(RealtimeConnection.__dict__) == before
    lines = [record.getMessage() for record in caplog.records if realtime.__name__ in record.getMessage()]
    assert [line.split(":")[0] for line in lines] == ["Nothing of openai (tested"]
    assert str(supported.LIBRARIES["openai"]) in lines[0]
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        hold(server)
