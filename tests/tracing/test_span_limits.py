"""The SDK's limits, by variable and by `SpanLimits`, cut nothing that LangSmith needs of our spans."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.protocol import events
from voicespan.testing import LangSmithServer
from voicespan.tracing.conversation import Conversation

THREAD = "caller-" + "4" * 60
METADATA = {f"fact_{number}": number for number in range(30)}


@pytest.fixture
def deliver(tmp_path):
    """A conversation with a failed event through a provider with limits; its root as LangSmith has it."""

    def deliver(limits=None):
        with LangSmithServer() as server:
            processor = LangSmithSpanProcessor(
                endpoint=server.url, api_key=server.api_key, spool_dir=tmp_path / "spool"
            )
            provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
            provider.add_span_processor(processor)
            conversation = Conversation(thread_id=THREAD, metadata=METADATA, tracer_provider=provider)
            conversation.lifecycle.ingest([events.ErrorReported(1, "error", events.WireError("bad", "no"))])
            with conversation.use(), provider.get_tracer("the-app").start_as_current_span("own") as own:
                for number in range(200):
                    own.set_attribute(f"own_{number}", number)
            conversation.end()
            assert processor.force_flush(10_000)
            processor.shutdown()
            [root] = server.roots
        return root, len(own.attributes)

    return deliver


def check(root):
    [error] = [child for child in root.children if child.name == "error"]
    assert (root.thread_id, error.thread_id) == (THREAD, THREAD)
    assert root.metadata["ls_modality"] == "audio"
    assert root.metadata["ls_integration"] == "voicespan"
    assert METADATA.items() <= root.metadata.items()
    assert (root.run_type, error.run_type) == ("chain", "chain")
    assert (error.status, error.metadata["event_type"]) == ("error", "error")
    assert "no" in error.error


@pytest.mark.parametrize(
    "changed",
    [
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "32"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "1"},
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8"},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "0", "OTEL_SPAN_LINK_COUNT_LIMIT": "0"},
        {"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0"},
    ],
    ids=str,
)
def test_no_variable_cuts_what_langsmith_needs(deliver, monkeypatch, changed):
    for name, limit in changed.items():
        monkeypatch.setenv(name, limit)
    check(deliver()[0])


def test_neither_do_the_applications_own_limits_which_hold_for_its_spans(deliver, caplog):
    with caplog.at_level(logging.WARNING, "opentelemetry"):
        root, own = deliver(SpanLimits(max_span_attributes=200, max_attribute_length=4, max_events=0))
    check(root)
    assert own == 200
    assert [record for record in caplog.records if "Attributes dict is full" in record.message] == []


def test_the_applications_spans_keep_the_applications_limits(deliver):
    assert deliver(SpanLimits(max_span_attributes=7))[1] == 7
