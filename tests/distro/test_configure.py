"""`voicespan.configure()`: what it changes, which provider conversations get, and what it says without a key."""

from __future__ import annotations

import json
import logging

import pytest
from openai import OpenAI
from opentelemetry.sdk.trace import TracerProvider
from span_content import given

import voicespan
from voicespan.delivery import DeliverySettingsError
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.openai_realtime.protocol import Protocol
from voicespan.runtime import settings
from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Send
from voicespan.tracing import tracer

CREATED = {"type": "session.created", "event_id": "e", "session": {"id": "sess_1"}}
SAID = {
    "type": "conversation.item.input_audio_transcription.completed",
    "item_id": "u",
    "content_index": 0,
    "transcript": "my card is 4111 1111",
}


@pytest.fixture(autouse=True)
def _put_back(monkeypatch, tmp_path):
    for name in ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "LANGSMITH_ENDPOINT", "VOICESPAN_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "no-profiles.json"))
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    yield
    settings.set_redaction(None)
    settings.set_recording(None)
    for instrumentor in (GeminiLiveInstrumentor(), OpenAIRealtimeInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    tracer.name_provider(None)


@pytest.fixture
def to_langsmith(langsmith_server):
    return {"api_key": langsmith_server.api_key, "endpoint": langsmith_server.url}


def hold():
    with (
        OpenAIRealtimeServer([Send(CREATED)]) as server,
        OpenAI(api_key="k", websocket_base_url=server.url).realtime.connect(model="m") as connection,
    ):
        connection.recv()


def test_again_what_is_not_given_stays(tracer_provider, span_exporter, to_langsmith):
    voicespan.configure(
        tracer_provider=tracer_provider,
        redact=lambda text, *, role, place: "[redacted]",
        record=False,
        **to_langsmith,
    )
    voicespan.configure(project="second", **to_langsmith)
    with voicespan.conversation() as conversation:
        conversation.connect(Protocol(), {}).received(json.dumps(SAID).encode())
        assert conversation.recorder.status == "off"
    said = [
        str(given(span)) for span in span_exporter.get_finished_spans() if span.name == "input_transcription"
    ]
    assert [text.count("[redacted]") for text in said] == [1]
    tracer_provider.shutdown()


def test_without_a_key_they_are_kept_in_the_users_data_directory_which_is_said_once(
    tracer_provider, span_exporter, caplog, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for _ in range(2):
        assert voicespan.configure(tracer_provider=tracer_provider) is tracer_provider
    hold()
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("voicespan")]
    assert "no LangSmith key" in line
    assert str(tmp_path / "data" / "voicespan" / "calls") in line
    assert line.endswith("voicespan view")
    assert "conversation" in {span.name for span in span_exporter.get_finished_spans()}
    assert tracer_provider.force_flush(10_000)
    [call] = (tmp_path / "data" / "voicespan" / "calls").iterdir()
    assert (call / "spans.jsonl").exists()
    tracer_provider.shutdown()


def test_a_folder_is_kept_beside_langsmith(
    tracer_provider, to_langsmith, langsmith_server, monkeypatch, tmp_path
):
    monkeypatch.setenv("VOICESPAN_FOLDER", str(tmp_path / "named"))
    voicespan.configure(tracer_provider=tracer_provider, **to_langsmith)
    voicespan.configure(tracer_provider=tracer_provider, folder=tmp_path / "given", **to_langsmith)
    hold()
    assert tracer_provider.force_flush(10_000)
    assert len(langsmith_server.roots) == 1
    assert [len(list((tmp_path / place).iterdir())) for place in ("named", "given")] == [1, 1]
    tracer_provider.shutdown()


def test_where_a_recording_will_be_is_asked_of_a_plain_function(tracer_provider, tmp_path):
    async def never(conversation):
        return "nowhere"

    with pytest.raises(TypeError, match="recording_url"):
        voicespan.configure(tracer_provider=tracer_provider, folder=tmp_path, recording_url=never)


def test_a_key_can_come_later(tracer_provider, to_langsmith, langsmith_server, caplog):
    with caplog.at_level(logging.CRITICAL, "voicespan"):
        voicespan.configure(tracer_provider=tracer_provider)
    assert voicespan.configure(**to_langsmith) is tracer_provider
    hold()
    assert tracer_provider.force_flush(20_000)
    assert len(langsmith_server.roots) == 1
    tracer_provider.shutdown()


def test_an_endpoint_that_must_not_be_used_is_refused_and_changes_nothing(tracer_provider):
    with pytest.raises(DeliverySettingsError):
        voicespan.configure(
            tracer_provider=tracer_provider, endpoint="ftp://somewhere", api_key="k", record=False
        )
    assert settings.Settings.from_environment({}).record == 1.0
    assert tracer.named_provider() is None


def test_the_provider_that_was_given_to_an_instrumentor_is_configured(to_langsmith, langsmith_server):
    own = TracerProvider(shutdown_on_exit=False)
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=own)
    assert voicespan.configure(**to_langsmith) is own
    hold()
    assert own.force_flush(20_000)
    assert len(langsmith_server.roots) == 1
    own.shutdown()


def test_the_provider_that_is_returned_gets_the_conversations_of_every_instrumentor(
    to_langsmith, langsmith_server
):
    other, own = TracerProvider(shutdown_on_exit=False), TracerProvider(shutdown_on_exit=False)
    GeminiLiveInstrumentor().instrument(tracer_provider=own)
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=other)
    assert voicespan.configure(**to_langsmith) is own
    hold()
    assert own.force_flush(20_000)
    assert len(langsmith_server.roots) == 1
    own.shutdown()
    other.shutdown()
