"""What tracers are known to get wrong about Gemini Live: the real SDK, over TLS."""

from __future__ import annotations

import base64
import warnings

import pytest
from google import genai
from span_content import given
from wire import fact, seconds

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.testing.gemini_live import Expect, GeminiLiveServer, Send

#: The first versions of the SDK say so once.
pytestmark = pytest.mark.filterwarnings("ignore:The live API is experimental")

SPEECH = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(bytes(4_800)).decode()}}
OPENING = (Expect("setup"), Send({"setupComplete": {}}))


@pytest.fixture(autouse=True)
def instrumented(tracer_provider, fake_clock):
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider, clock=fake_clock)
    yield instrumentor
    instrumentor.uninstrument()


def content(**fields):
    return {"serverContent": fields}


def connect(server):
    client = genai.Client(**server.client_options())
    return client.aio.live.connect(model="gemini-live", config={"response_modalities": ["AUDIO"]})


async def test_a_turn_that_is_interrupted_and_then_complete_is_one(told):
    messages = (
        content(modelTurn={"parts": [SPEECH]}),
        content(interrupted=True),
        content(turnComplete=True),
        content(modelTurn={"parts": [SPEECH]}),
        content(turnComplete=True),
    )
    with GeminiLiveServer([*OPENING, Send(*messages)]) as server:
        async with connect(server) as session:
            for _ in range(2):
                async for _ in session.receive():
                    pass
    assert (fact(told.root, "turn_count"), fact(told.root, "interruption_count")) == (2, 1)
    assert [fact(span, "status") for span in told.spans if span.name == "turn_complete"] == [
        "interrupted",
        "completed",
    ]


async def test_all_answers_of_one_message_end_their_calls(told, fake_clock):
    calls = [{"id": f"call-{number}", "name": f"tool_{number}", "args": {}} for number in range(3)]
    answers = [
        {"id": call["id"], "name": call["name"], "response": {"output": number}}
        for number, call in enumerate(calls)
    ]
    script = [
        *OPENING,
        Send({"toolCall": {"functionCalls": calls}}),
        Expect("tool_response"),
        Send(content(turnComplete=True)),
    ]
    with GeminiLiveServer(script) as server:
        async with connect(server) as session:
            async for message in session.receive():
                if message.tool_call:
                    fake_clock.advance(1.5)
                    await session.send_tool_response(function_responses=answers)
    spans = [told.named(f"function_call: tool_{number}") for number in range(3)]
    assert [seconds(span) for span in spans] == [1.5, 1.5, 1.5]
    assert {span.attributes.get("error.type") for span in spans} == {None}


async def test_what_is_sent_in_the_way_of_earlier_versions_is_seen(told):
    script = [*OPENING, Expect("client_content"), Send(content(turnComplete=True))]
    with GeminiLiveServer(script) as server:
        async with connect(server) as session:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                await session.send(input="Hi", end_of_turn=True)
            async for _ in session.receive():
                pass
    assert "'Hi'" in str(given(told.root))
