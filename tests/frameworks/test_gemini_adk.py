"""Google's ADK opens its live sessions with `client.aio.live.connect`: `run_live` is traced without more code."""

from __future__ import annotations

import pytest

pytest.importorskip("google.adk", reason="in an environment of its own: tests/compat/run.py adk")

from google import genai
from google.adk.agents import Agent, LiveRequestQueue
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models import Gemini
from google.adk.runners import InMemoryRunner
from google.genai import types
from span_content import came, given

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.testing.gemini_live import Answer, Dialogue, FunctionCall

# What it warns of while it is imported and used is its own.
pytestmark = pytest.mark.filterwarnings("default")


def get_weather(city: str) -> dict[str, str]:
    """The weather of a city."""
    return {"output": f"sunny in {city}"}


@pytest.mark.parametrize(
    ("name", "blocking"), [("gemini-3.1-flash-live-preview", True), ("gemini-2.5-flash-native-audio", False)]
)
async def test_run_live(tracer_provider, span_exporter, gemini_live_server, name, blocking):
    """Newer models wait for the function's answer, older ones complete their turn first; ADK expects it of each."""
    calls = [FunctionCall("get_weather", {"city": "Oslo"}, blocking=blocking)]
    answers = [Answer(calls=calls), Answer("It is sunny.")]
    server = gemini_live_server(Dialogue(answers))
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        model = Gemini(model=name, client=genai.Client(**server.client_options()))
        runner = InMemoryRunner(agent=Agent(name="agent", model=model, tools=[get_weather]), app_name="app")
        session = await runner.session_service.create_session(app_name="app", user_id="user")
        queue = LiveRequestQueue()
        queue.send_content(types.Content(role="user", parts=[types.Part(text="Weather in Oslo?")]))
        config = RunConfig(
            streaming_mode=StreamingMode.BIDI,
            response_modalities=["AUDIO"],
            output_audio_transcription=types.AudioTranscriptionConfig(),
        )
        turns = 0
        async for event in runner.run_live(
            user_id="user", session_id=session.id, live_request_queue=queue, run_config=config
        ):
            turns += bool(event.turn_complete)
            if turns == (1 if blocking else 2):
                queue.close()
                break
    finally:
        instrumentor.uninstrument()
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    # ADK has spans of its own; ours are a trace of their own.
    assert came(spans["function_call: get_weather"]) == {"output": "sunny in Oslo"}
    said = came(spans["output_transcription"])
    assert said["messages"][0]["content"] == "It is sunny."
    asked = given(spans["turn_complete"])
    # The answer of a function is in the prompt of the generation that follows it, not of the one that asked for it.
    assert [message["role"] for message in asked["messages"]] == (["user"] if blocking else ["tool"])
    root = spans["conversation"]
    assert root.attributes["gen_ai.request.model"] == name
    assert root.attributes["langsmith.metadata.turn_count"] == turns
