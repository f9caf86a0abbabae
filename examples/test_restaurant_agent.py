"""An agent's whole test, without a network or an account.

    pytest examples/test_restaurant_agent.py --voicespan-report=reports

When it fails, `reports` has a page of the call: what was said, the trace, the recording.
"""

import json

import pytest
from openai import OpenAI
from opentelemetry.sdk.trace import TracerProvider

from voicespan import LangSmithSpanProcessor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing import LangSmithServer
from voicespan.testing.assertions import assert_all_answered, assert_called, assert_said
from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer


def agent(client):
    """The agent under test: greets, looks up a table, and says what it has found."""
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "A table for 4?"}],
            }
        )
        connection.response.create()
        for event in connection:
            if event.type == "response.function_call_arguments.done":
                output = json.dumps({"free": ["20:30"]})
                connection.conversation.item.create(
                    item={"type": "function_call_output", "call_id": event.call_id, "output": output}
                )
            elif event.type == "response.done":
                if event.response.output[-1].type == "message":
                    return
                connection.response.create()


@pytest.fixture
def langsmith():
    with LangSmithServer() as server:
        yield server


@pytest.fixture
def traced(langsmith, tmp_path, monkeypatch):
    """Conversations are traced, and delivered to a LangSmith of this test's own."""
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(tmp_path / "spool"))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LangSmithSpanProcessor(endpoint=langsmith.url, api_key=langsmith.api_key))
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=provider)
    yield provider
    OpenAIRealtimeInstrumentor().uninstrument()
    provider.shutdown()


def test_it_finds_a_table(traced, langsmith):
    answers = [
        Answer(calls=[FunctionCall("find_tables", {"people": 4})]),
        Answer(transcript="I can offer you half past eight."),
    ]
    with OpenAIRealtimeServer.conversational(answers) as service:
        agent(OpenAI(api_key="test", websocket_base_url=service.url))
    traced.force_flush()

    [call] = langsmith.roots
    assert_called(call, "find_tables", people=4)
    assert_said(call, "agent", "half past eight")
    assert_all_answered(call)
