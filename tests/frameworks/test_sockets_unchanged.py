"""Other people's programs on sockets of their own, unchanged under `opentelemetry-instrument`: one complete trace."""

from __future__ import annotations

import base64
import json

import pytest

from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer


def weather_and_answer():
    return [Answer(calls=[FunctionCall("weather", {"city": "London"})]), Answer("It is foggy in London.")]


def named(runs, name):
    return [run for run in runs if run.name == name]


def assert_weather_was_told(root, runs):
    (call,) = named(runs, "function_call: weather")
    assert "London" in json.dumps(call.inputs)
    assert "foggy" in json.dumps(call.outputs)
    assert len(named(runs, "turn_complete")) == 2
    assert "It is foggy in London." in json.dumps(root.outputs)
    assert (root.status, root.error) == ("success", None)


def test_a_script_on_websocket_client(run, the_trace):
    pytest.importorskip("websocket")
    with OpenAIRealtimeServer.conversational(weather_and_answer()) as server:
        run("websocket_script.py", server.url)
    assert_weather_was_told(*the_trace())


def test_a_telephone_bridge(serve, the_trace):
    pytest.importorskip("fastapi", reason="in an environment of its own: tests/compat/run.py sockets-bridge")
    from websockets.sync.client import connect

    with OpenAIRealtimeServer.conversational([Answer("Good morning!")]) as server:
        port = serve("telephone_bridge:app", REALTIME_URL=server.url)
        with connect(f"ws://127.0.0.1:{port}/media-stream") as telephone:
            telephone.send(json.dumps({"event": "start", "start": {"streamSid": "MZ1"}}))
            quiet = base64.b64encode(b"\xff" * 160).decode()
            for _ in range(5):
                telephone.send(json.dumps({"event": "media", "media": {"payload": quiet}}))
            events = []
            while events[-1:] != ["mark"]:
                events.append(json.loads(telephone.recv(10))["event"])
    assert "media" in events
    root, runs = the_trace()
    (_,) = named(runs, "turn_complete")
    assert "Good morning!" in json.dumps(root.outputs)
    assert root.metadata["input_audio_format"] == "audio/pcmu"
    assert (root.status, root.error) == ("success", None)


def test_the_openai_agents_sdk_with_a_tool(run, the_trace):
    pytest.importorskip("agents.realtime", reason="in an environment of its own: tests/compat/run.py agents")
    with OpenAIRealtimeServer.conversational(weather_and_answer()) as server:
        run("openai_agents_realtime.py", server.url)
    assert_weather_was_told(*the_trace())


def test_the_openai_agents_sdk_that_is_interrupted(run, the_trace):
    pytest.importorskip("agents.realtime", reason="in an environment of its own: tests/compat/run.py agents")
    story = Answer(transcript="Once upon a time there was a fox who lived in a wood.", pause_after=3)
    with OpenAIRealtimeServer.conversational([story, Answer(transcript="All right.")]) as server:
        run("openai_agents_barge_in.py", server.url)
    root, runs = the_trace()
    assert len(named(runs, "interrupted")) == 1
    first, second = sorted(named(runs, "turn_complete"), key=lambda run: run.start_ns)
    assert (first.metadata["status"], second.metadata["status"]) == ("cancelled", "completed")
    assert "All right." in json.dumps(root.outputs)
    assert (root.status, root.error) == ("success", None)


def test_pydantic_ai_with_a_tool(run, the_trace):
    pytest.importorskip(
        "pydantic_ai.realtime", reason="in an environment of its own: tests/compat/run.py pydantic"
    )
    with OpenAIRealtimeServer.conversational(weather_and_answer()) as server:
        run("pydantic_ai_realtime.py", server.url)
    assert_weather_was_told(*the_trace())


def test_livekits_openai_model(run, the_trace):
    pytest.importorskip(
        "livekit.plugins.openai", reason="in an environment of its own: tests/compat/run.py sockets-livekit"
    )
    with OpenAIRealtimeServer.conversational([Answer("Good morning!")]) as server:
        run("livekit_realtime.py", server.url)
    root, runs = the_trace()
    assert len(named(runs, "turn_complete")) == 1
    assert "Good morning!" in json.dumps(root.outputs)
    assert (root.status, root.error) == ("success", None)


def test_pipecats_openai_service_with_a_tool(run, the_trace):
    pytest.importorskip("pipecat", reason="in an environment of its own: tests/compat/run.py pipecat")
    with OpenAIRealtimeServer.conversational(weather_and_answer()) as server:
        run("pipecat_realtime.py", server.url)
    assert_weather_was_told(*the_trace())
