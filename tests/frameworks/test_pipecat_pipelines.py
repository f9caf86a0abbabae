"""Pipecat bots, unchanged, under `opentelemetry-instrument`: a pipeline that runs is one conversation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "pipecat.pipeline.task", reason="in an environment of its own: tests/compat/run.py pipecat"
)

from frameworks_trace import named, seconds_of, shape, tracks, voiced, words

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

CALLED = Completion(calls=[FunctionCall("weather", {"city": "London"})])
ANSWER = "It is foggy in London."


@pytest.mark.parametrize("tracing", [(), ("traced",)])
def test_a_call_is_recorded_as_it_was_heard(run, the_trace, tracing):
    heard = ["How is the weather in London?", "Thanks a lot."]
    with CascadeServer([CALLED, ANSWER, "Good bye!"], heard) as services:
        said = run("pipecat_cascade.py", services.url, *tracing)
    root, _ = the_trace()
    assert shape(root) == [
        ("stt", []),
        ("llm", []),
        ("function_call: weather", ["look up"]),
        ("llm", []),
        ("tts", []),
        ("stt", []),
        ("llm", []),
        ("tts", []),
    ]
    assert words(root) == [
        ("user", "How is the weather in London?"),
        ("tool", '{"weather": "foggy in London"}'),
        ("assistant", ANSWER),
        ("user", "Thanks a lot."),
        ("assistant", "Good bye!"),
    ]
    assert root.thread_id == "caller-42"
    assert root.metadata["function_call_count"] == 1
    figures = (
        "user_turn_count",
        "unanswered_turn_count",
        "response_gap_count",
        "figures_basis",
        "barge_in_count",
    )
    assert [root.metadata[name] for name in figures] == [2, 0, 2, "app", 0]
    (tool,) = named(root, "function_call: weather")
    assert "foggy in London" in json.dumps(tool.outputs)
    first, _ = named(root, "tts")
    assert first.metadata["audio_seconds"] == pytest.approx(seconds_of(ANSWER), abs=0.1)
    assert {"stt_ms", "llm_ms", "tool_ms", "tts_ms", "response_gap_ms"} <= set(first.metadata)
    asked, *_ = named(root, "llm")
    assert asked.usage["input_tokens"] > 0 < asked.usage["output_tokens"]
    user, agent = tracks(root)
    assert voiced(agent) == pytest.approx(float(said.split()[-1]), abs=0.15)
    assert voiced(user) == pytest.approx(1.0, abs=0.15)
    assert (root.status, root.error) == ("success", None)


def test_functions_that_run_at_a_time_have_each_their_own_spans(run, the_trace):
    cities = [FunctionCall("weather", {"city": city}) for city in ("London", "Rome")]
    answers = [Completion(calls=cities), "Foggy in both.", "Good bye!"]
    with CascadeServer(answers, ["And in Rome?", "Thanks."]) as services:
        run("pipecat_cascade.py", services.url)
    root, _ = the_trace()
    tools = named(root, "function_call: weather")
    assert [[child.name for child in tool.children] for tool in tools] == [["look up"]] * 2
    assert [tool.inputs["city"] for tool in tools] == ["London", "Rome"]
    assert [tool.outputs["weather"] for tool in tools] == ["foggy in London", "foggy in Rome"]
    assert [text for role, text in words(root) if role == "assistant"] == ["Foggy in both.", "Good bye!"]


def test_a_transcription_that_hears_nothing(run, the_trace):
    with CascadeServer([], [""]) as services:
        run("pipecat_cascade.py", services.url, "unanswered")
    root, _ = the_trace()
    assert shape(root) == [("stt", [])]
    assert named(root, "stt")[0].status == "success"
    assert words(root) == []
    assert root.status == "success"


def test_a_barge_in(run, the_trace):
    story = "Once upon a time there was a fox who lived in a wood near an old mill."
    with CascadeServer([story, "All right."], ["Tell me a story.", "Stop it."]) as services:
        said = run("pipecat_cascade.py", services.url, "barge-in")
    root, _ = the_trace()
    (cut,) = named(root, "interrupted")
    assert cut.metadata["generated_ms"] == pytest.approx(seconds_of(story) * 1000, abs=100)
    assert 400 < cut.metadata["heard_ms"] < 2_000
    assert root.metadata["interruption_count"] == 1
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(float(said.split()[-1]), abs=0.15)


def test_services_that_fail(run, the_trace):
    with CascadeServer(["Hello!"], ["Hello?"]) as services:
        services.fail("speech", times=50)
        run("pipecat_cascade.py", services.url, "unanswered")
    root, _ = the_trace()
    (spoken,) = named(root, "tts")
    assert spoken.status == "error"
    assert words(root) == [("user", "Hello?"), ("assistant", "Hello!")]


def test_a_transcription_that_fails(run, the_trace):
    with CascadeServer([]) as services:
        services.fail("transcriptions", times=50)
        run("pipecat_cascade.py", services.url, "unanswered")
    root, _ = the_trace()
    assert shape(root) == [("stt", [])]
    assert named(root, "stt")[0].status == "error"
    assert words(root) == []


def test_a_caller_who_hangs_up_in_mid_tool(run, the_trace):
    called = Completion(calls=[FunctionCall("slow", {})])
    with CascadeServer([called, "Too late."], ["How long does it take?"]) as services:
        run("pipecat_cascade.py", services.url, "hang-up")
    root, _ = the_trace()
    (tool,) = named(root, "function_call: slow")
    assert [child.name for child in tool.children] == ["look up"]


def test_two_pipelines_in_one_process(run, langsmith):
    with CascadeServer(
        lambda asked: f"You said: {asked.messages[-1]['content']}", lambda _: "Hello."
    ) as services:
        run("pipecat_cascade.py", services.url, "two")
    langsmith.wait_for(lambda server: len(server.roots) == 2, 30)
    for root in langsmith.roots:
        assert shape(root) == [("stt", []), ("llm", []), ("tts", [])]
        assert words(root) == [("user", "Hello."), ("assistant", "You said: Hello.")]


def test_the_example_of_the_page_runs():
    pytest.importorskip("sybil")
    page = Path(__file__).parents[2] / "docs/pipecat.md"
    program = [sys.executable, str(page.parents[1] / "tests/doc_page.py"), str(page)]
    ran = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout.split()[-2:]) == (0, ["2", "ran"]), ran.stderr
