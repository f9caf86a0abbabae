"""Azure Voice Live's own SDK, unchanged, over the socket that it opens; with its own tracing off and on."""

from __future__ import annotations

import pytest

import voicespan
from voicespan.delivery.processor import LangSmithSpanProcessor
from voicespan.instrumentation.sockets import AiohttpInstrumentor
from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer

aio = pytest.importorskip("azure.ai.voicelive.aio")
credentials = pytest.importorskip("azure.core.credentials")

KEY = "a-key-of-azure"
QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sunny in Rome?"}]}


@pytest.fixture(autouse=True)
def _traced(tracer_provider):
    AiohttpInstrumentor().instrument(tracer_provider=tracer_provider)
    yield
    AiohttpInstrumentor().uninstrument()


async def hold_a_conversation() -> None:
    answers = [Answer(calls=[FunctionCall("weather", {"city": "Rome"})]), Answer("It is sunny.")]
    with OpenAIRealtimeServer.conversational(answers, dialect="beta") as server:
        endpoint = server.url.replace("ws://", "http://").removesuffix("/v1")
        credential = credentials.AzureKeyCredential(KEY)
        async with aio.connect(credential=credential, endpoint=endpoint, model="gpt-realtime") as connection:
            await connection.send({"type": "conversation.item.create", "item": QUESTION})
            await connection.send({"type": "response.create"})
            answered = 0
            async for event in connection:
                if event.type == "response.function_call_arguments.done":
                    item = {"type": "function_call_output", "call_id": event.call_id, "output": "sunny"}
                    await connection.send({"type": "conversation.item.create", "item": item})
                if event.type == "response.done":
                    answered += 1
                    if answered == 2:
                        break
                    await connection.send({"type": "response.create"})


async def test_its_conversations_are_traced(span_exporter):
    await hold_a_conversation()
    spans = span_exporter.get_finished_spans()
    names = [span.name for span in spans]
    (root,) = [span for span in spans if span.parent is None]
    assert names.count("turn_complete") == 2
    assert names.count("function_call: weather") == 1
    assert root.attributes["gen_ai.request.model"] == "gpt-realtime"
    assert KEY not in "".join(span.to_json() for span in spans)
    assert not [name for name in names if name.endswith(".delta")]


async def test_what_its_own_tracing_says_again_is_not_delivered(langsmith_server, tracer_provider, tmp_path):
    processor = LangSmithSpanProcessor(
        endpoint=langsmith_server.url, api_key=langsmith_server.api_key, spool_dir=tmp_path
    )
    tracer_provider.add_span_processor(processor)
    own = tracer_provider.get_tracer("azure.core.tracing.ext.opentelemetry_span")
    with voicespan.conversation():
        # As its instrumentor makes them, where it is switched on: one for each frame.
        with own.start_as_current_span("recv response.done") as span:
            span.set_attribute("gen_ai.system", "az.ai.voicelive")
        await hold_a_conversation()
    assert processor.force_flush(20_000)
    (root,) = langsmith_server.roots
    names = [run.name for run in root.children]
    assert "turn_complete" in names
    assert not [name for name in names if name.startswith("recv ")]
    assert root.metadata.get("dropped_spans") is None
