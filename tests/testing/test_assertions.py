"""What a test asks of a conversation, of either source: right where it holds, and with the reason where it does not."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import voicespan
from voicespan.openai_realtime.protocol import Protocol
from voicespan.testing.assertions import (
    assert_all_answered,
    assert_called,
    assert_figure,
    assert_gap_below,
    assert_said,
    assert_stopped_within,
)

CALL = {
    "type": "function_call",
    "id": "item_f",
    "call_id": "call_1",
    "name": "find_tables",
    "status": "completed",
}


def frames(status):
    said = {"id": "item_a", "type": "message", "role": "assistant", "status": "completed"}
    said["content"] = [{"type": "output_audio", "transcript": "It is foggy in London."}]
    return [
        {"type": "input_audio_buffer.committed", "item_id": "item_u"},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_u",
            "content_index": 0,
            "transcript": "How is the weather?",
        },
        {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
        {
            "type": "response.function_call_arguments.done",
            "response_id": "resp_1",
            "item_id": "item_f",
            "output_index": 0,
            "call_id": "call_1",
            "name": "find_tables",
            "arguments": '{"people": 4, "time": "20:00"}',
        },
        {
            "type": "response.output_audio_transcript.done",
            "response_id": "resp_1",
            "item_id": "item_a",
            "output_index": 1,
            "content_index": 0,
            "transcript": "It is foggy in London.",
        },
        {"type": "response.done", "response": {"id": "resp_1", "status": status, "output": [said]}},
    ]


@pytest.fixture(params=["LangSmith", "exporter"])
def told(request, langsmith_server):
    """The conversation that these frames make, as a LangSmith server or an exporter has it; with more metadata on a span."""

    def told(status="completed", **figures):
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.add_span_processor(
            voicespan.LangSmithSpanProcessor(endpoint=langsmith_server.url, api_key=langsmith_server.api_key)
        )
        conversation = voicespan.Conversation(tracer_provider=provider)
        connection = conversation.connect(Protocol(), {})
        for frame in frames(status):
            connection.received(json.dumps(frame).encode())
        if figures:
            with conversation.use():
                span = provider.get_tracer("voicespan").start_span("turn_complete")
                span.set_attribute("langsmith.metadata.outcome", "completed")
                for name, value in figures.items():
                    span.set_attribute(f"langsmith.metadata.{name}", value)
                span.end()
        conversation.end()
        assert provider.force_flush(10_000)
        provider.shutdown()
        return langsmith_server.roots[-1] if request.param == "LangSmith" else exporter.get_finished_spans()

    return told


@pytest.fixture(autouse=True)
def _own_spool(monkeypatch, tmp_path):
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))


def test_called(told):
    root = told()
    assert_called(root, "find_tables")
    assert_called(root, "find_tables", people=4)
    with pytest.raises(
        AssertionError, match=r"find_tables\(people=5\) was not called(.|\n)*function_call: find_tables"
    ):
        assert_called(root, "find_tables", people=5)
    with pytest.raises(AssertionError, match="book_table"):
        assert_called(root, "book_table")


def test_said(told):
    root = told()
    assert_said(root, "agent", "foggy in london")
    assert_said(root, "user", "weather")
    with pytest.raises(AssertionError, match=r"the user did not say 'foggy'(.|\n)*How is the weather"):
        assert_said(root, "user", "foggy")


def test_the_gap(told):
    with pytest.raises(AssertionError, match="no answer has a response gap"):
        assert_gap_below(told(), 1000)
    root = told(response_gap_ms=900.0)
    assert_gap_below(root, 1000)
    with pytest.raises(
        AssertionError, match=r"was heard after 900 ms, not within 800(.|\n)*response_gap_ms=900"
    ):
        assert_gap_below(root, 800)


def test_a_barge_in(told):
    with pytest.raises(AssertionError, match="no barge-in says"):
        assert_stopped_within(told(), 300)
    assert_stopped_within(told(barge_in_ms=250), 300)


def test_a_figure_of_the_call(told):
    root = told()
    assert_figure(root, "user_turn_count", at_least=1, at_most=1)
    assert_figure(root, "unanswered_turn_count", at_most=0)
    with pytest.raises(AssertionError, match="user_turn_count is 1, not at least 2 and at most 3"):
        assert_figure(root, "user_turn_count", at_least=2, at_most=3)
    with pytest.raises(AssertionError, match="user_turn_count is 1, not at most 0"):
        assert_figure(root, "user_turn_count", at_most=0)
    with pytest.raises(AssertionError, match="the call has no overlap_s; its figures rest on: server"):
        assert_figure(root, "overlap_s", at_most=1)


def test_all_answered(told):
    assert_all_answered(told())
    with pytest.raises(AssertionError, match=r"an answer did not come(.|\n)*outcome=failed"):
        assert_all_answered(told("failed"))


def test_of_nothing_nothing_is_said():
    with pytest.raises(AssertionError, match="0 conversations"):
        assert_all_answered([])
