"""Variables with values that nobody meant: a conversation is traced all the same, and the log names the variable."""

from __future__ import annotations

import logging
import re
from importlib import import_module

import pytest
from opentelemetry.sdk.trace import TracerProvider
from witness import Kept, look_at

from voicespan import LangSmithSpanProcessor
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.openai_realtime.protocol import Protocol
from voicespan.runtime import settings
from voicespan.testing.langsmith import LangSmithServer
from voicespan.tracing.conversation import Conversation

_DECLARED = import_module("voicespan.runtime.environment_variables")
#: All that are ours, and those of others that decide what is stored.
VARIABLES = sorted(
    {
        value
        for value in vars(_DECLARED).values()
        if isinstance(value, str) and re.fullmatch("[A-Z][A-Z_]+", value)
    }
    | {
        "OTEL_SDK_DISABLED",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        "LANGSMITH_TRACING_SAMPLING_RATE",
    }
    | {"LANGSMITH_HIDE_INPUTS", "LANGSMITH_HIDE_METADATA", "LANGSMITH_PROJECT"}
)
VALUES = (
    "",
    " ",
    "nan",
    "-inf",
    "1e400",
    "-1",
    "0x10",
    "9" * 5_000,
    "true\n",
    "ü\U0001f600",
    "\udcff",
    "a" * 100_000,
    "$(reboot)",
    "%s%n",
    "../../..",
    "1_000",
    "٣",
    ",,,",
    "http://[::1",
)
#: What decides where everything goes: elsewhere is elsewhere.
_PLACES = {"VOICESPAN_ENDPOINT", "VOICESPAN_SPOOL_DIR"}


def test_all_variables_are_here():
    assert len(VARIABLES) > 10, VARIABLES


@pytest.fixture(scope="module")
def server():
    with LangSmithServer() as server:
        yield server


@pytest.mark.parametrize("variable", [each for each in VARIABLES if each not in _PLACES])
def test_any_value(variable, server, monkeypatch, caplog):
    monkeypatch.setattr(settings, "_warned", set())
    refused = set()
    for value in VALUES:
        kept = Kept()
        monkeypatch.setenv(variable, value)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            provider = TracerProvider(shutdown_on_exit=False)
            provider.add_span_processor(kept)
            try:
                processor = LangSmithSpanProcessor(endpoint=server.url, api_key=server.api_key)
            except DeliverySettingsError:
                # Documented, and at start: where somebody sees it.
                refused.add(variable)
                continue
            provider.add_span_processor(processor)
            conversation = Conversation(tracer_provider=provider)
            if conversation.recording:
                connection = conversation.connect(Protocol(), {})
                connection.received(b'{"type":"session.created","session":{"id":"s"}}')
                connection.closed(1000)
            processor.force_flush(5_000)
            processor.shutdown()
        if kept.spans:
            look_at(kept.spans)
        else:
            assert "DISABLED" in variable
        for record in caplog.records if variable != "LANGSMITH_PROJECT" else ():
            # What stands in it may be a secret that was meant for another variable; a project is named.
            assert not value.strip() or len(value) < 3 or value not in record.getMessage()
    assert refused <= {"LANGSMITH_PROJECT", "LANGSMITH_TRACING_SAMPLING_RATE"}
