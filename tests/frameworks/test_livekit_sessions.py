"""LiveKit agents, unchanged, under `opentelemetry-instrument`: an `AgentSession` is one conversation."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("livekit.agents", reason="in an environment of its own: tests/compat/run.py livekit")
pytest.importorskip("livekit.plugins.openai")

from frameworks_trace import named, seconds_of, shape, stretches, tracks, voiced, words

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall
from voicespan.testing.openai_realtime import Answer, OpenAIRealtimeServer

needs_ga = pytest.mark.skipif(
    importlib.util.find_spec("livekit.agents.llm._realtime") is None,
    reason="the oldest cannot be sent to this machine",
)
CALLED_BY_VOICE = Answer(calls=[FunctionCall("weather", {"city": "London"})])
CALLED = Completion(calls=[FunctionCall("weather", {"city": "London"})])


def test_a_session_in_text_mode_with_parallel_tools(run, the_trace):
    both = Completion(calls=[FunctionCall("weather", {"city": city}) for city in ("London", "Paris")])
    with CascadeServer([both, "It is foggy in both.", "Good bye!"]) as services:
        run("livekit_text.py", services.url, "How is the weather in London and Paris?", "Thanks.")
    root, _ = the_trace()
    assert shape(root) == [
        ("llm", []),
        ("function_call: weather", ["look up London"]),
        ("function_call: weather", ["look up Paris"]),
        ("llm", []),
        ("llm", []),
    ]
    asked, _, paris, answered, _ = root.children
    assert (asked.run_type, paris.run_type) == ("llm", "tool")
    assert "foggy in Paris" in json.dumps(paris.outputs)
    assert len(json.dumps(answered.inputs)) < 400  # what the call before was given stands there
    assert asked.metadata["ls_model_name"] == "gpt-4.1"
    assert asked.usage["input_tokens"] > 0 < asked.usage["output_tokens"]
    assert words(root) == [
        ("user", "How is the weather in London and Paris?"),
        ("tool", "foggy in London"),
        ("tool", "foggy in Paris"),
        ("assistant", "It is foggy in both."),
        ("user", "Thanks."),
        ("assistant", "Good bye!"),
    ]
    assert root.metadata["ls_modality"] == "audio"
    assert root.metadata["function_call_count"] == 2
    assert (root.status, root.error) == ("success", None)


def test_a_handoff_and_a_tool_that_fails(run, the_trace):
    answers = [
        Completion(calls=[FunctionCall("broken", {})]),
        "Sorry.",
        Completion(calls=[FunctionCall("to_billing", {})]),
        "Here is billing.",
    ]
    with CascadeServer(answers) as services:
        run("livekit_text.py", services.url, "Open the shop.", "Then let me talk to billing.")
    root, _ = the_trace()
    (failed,), (handed_over,) = named(root, "function_call: broken"), named(root, "function_call: to_billing")
    assert failed.status == "error"
    assert "Transferring you." in json.dumps(handed_over.outputs)
    assert ("assistant", "Here is billing.") in words(root)
    assert root.status == "success"


def test_a_socket_beside_the_agents_model_takes_nothing_away(run, environ, the_trace):
    with CascadeServer([CALLED, "It is foggy."]) as services, OpenAIRealtimeServer.conversational() as server:
        environ["BESIDE_URL"] = f"{server.url}/realtime?model=gpt-realtime"
        run("livekit_text.py", services.url, "How is the weather in London?")
        assert len(server.connections) == 1
    root, _ = the_trace()
    (tool,) = named(root, "function_call: weather")
    assert [child.name for child in tool.children] == ["look up London"]
    assert words(root) == [
        ("user", "How is the weather in London?"),
        ("tool", "foggy in London"),
        ("assistant", "It is foggy."),
    ]


@needs_ga
def test_a_handoff_from_a_language_model_to_one_on_a_socket(run, environ, the_trace):
    handed_over = Completion(calls=[FunctionCall("to_night_shift", {})])
    answers = [Answer("Good evening.")]
    with (
        CascadeServer([handed_over, "Hold on."]) as services,
        OpenAIRealtimeServer.conversational(answers) as server,
    ):
        environ["REALTIME_URL"] = server.url
        run("livekit_text.py", services.url, "Is anybody awake?")
    root, _ = the_trace()
    assert len(named(root, "llm")) == 2
    assert len(named(root, "function_call: to_night_shift")) == 1
    assert [run.metadata["status"] for run in named(root, "turn_complete")] == ["completed"]
    said = [text for role, text in words(root) if role == "assistant"]
    assert sorted(said) == ["Good evening.", "Hold on."]
    assert root.status == "success"


def test_a_conversation_of_the_applications_own_round_it(run, the_trace):
    with CascadeServer(["It is."]) as services:
        run("livekit_scoped.py", services.url, "Is the shop open?")
    root, _ = the_trace()
    assert shape(root) == [("llm", [])]
    assert words(root) == [("user", "Is the shop open?"), ("assistant", "It is.")]
    # What is said after the session belongs to it, too: it ends with the block.
    assert (root.metadata["thread_id"], root.metadata["rating"], root.tags) == ("caller-7", 5, ["hotline"])
    assert root.metadata["framework"] == "livekit-agents"


def test_what_no_model_says_is_taken_from_the_history(run, the_trace):
    with CascadeServer() as services:
        run("livekit_text.py", services.url, "to a parrot", "Who is there?")
    root, _ = the_trace()
    assert shape(root) == []
    assert words(root) == [
        ("assistant", "Ahoy!"),
        ("user", "Who is there?"),
        ("assistant", "Pieces of eight!"),
    ]


def test_an_adapter_is_no_call_but_what_it_calls_is(run, the_trace):
    # It tries out in the background whether the first one works again: nobody hears the answer.
    with CascadeServer(lambda _: "It is open.") as services:
        services.fail("completions", times=1)
        run("livekit_text.py", services.url, "with a fallback", "Is the shop open?")
    root, _ = the_trace()
    dead, living = named(root, "llm")
    assert (dead.metadata["ls_model_name"], dead.status) == ("gpt-dead", "error")
    assert (living.metadata["ls_model_name"], living.status) == ("gpt-4.1", "success")
    assert words(root) == [("user", "Is the shop open?"), ("assistant", "It is open.")]
    assert root.status == "success"


def test_a_call_is_recorded_as_it_was_heard(run, the_trace):
    answer = "It is foggy in London."
    heard = ["How is the weather in London?", "Thanks a lot."]
    with CascadeServer([CALLED, answer, "Good bye!"], heard) as services:
        said = run("livekit_cascade.py", services.url)
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
        ("tool", "foggy in London"),
        ("assistant", answer),
        ("user", "Thanks a lot."),
        ("assistant", "Good bye!"),
    ]
    first, _ = named(root, "tts")
    assert first.metadata["voice"] == "ash"
    assert first.metadata["response_gap_ms"] > 0
    assert {"stt_ms", "llm_ms", "tool_ms", "tts_ms"} <= set(first.metadata)
    user, agent = tracks(root)
    assert voiced(agent) == pytest.approx(sum(position for position, _ in told(said, "heard")), abs=0.1)
    assert voiced(user) == pytest.approx(1.0, abs=0.1)


def test_a_barge_in(run, the_trace):
    story = "Once upon a time there was a fox who lived in a wood near an old mill."
    with CascadeServer([story, "All right."], ["Tell me a story.", "Stop it."]) as services:
        said = run("livekit_cascade.py", services.url, "barge-in")
    (position, interrupted), (rest, _) = told(said, "heard")
    assert interrupted
    root, _ = the_trace()
    (cut,) = named(root, "interrupted")
    assert cut.metadata["heard_ms"] == pytest.approx(position * 1000, abs=2)
    assert cut.metadata["generated_ms"] == pytest.approx(seconds_of(story) * 1000, abs=150)
    assert root.metadata["interruption_count"] == 1
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(position + rest, abs=0.15)


def test_a_cough_pauses_the_playback_and_is_no_barge_in(run, the_trace):
    story = "Once upon a time there was a fox."
    with CascadeServer([story], ["Tell me a story.", ""]) as services:
        said = run("livekit_cascade.py", services.url, "cough")
    if not told(said, "paused"):
        pytest.skip("the oldest do not pause")
    ((position, interrupted),), (paused,) = told(said, "heard"), told(said, "paused")
    assert (interrupted, position) == (False, pytest.approx(seconds_of(story), abs=0.05))
    root, _ = the_trace()
    assert shape(root) == [("stt", []), ("llm", []), ("tts", []), ("stt", [])]
    assert root.metadata["interruption_count"] == 0
    _, agent = tracks(root)
    (first, rest) = stretches(agent)
    assert rest[0] - first[1] == pytest.approx(paused, abs=0.06)
    assert first[1] - first[0] + rest[1] - rest[0] == pytest.approx(position, abs=0.06)


@needs_ga
def test_a_model_that_listens_and_speaks_by_itself(run, the_trace):
    with OpenAIRealtimeServer.conversational([CALLED_BY_VOICE, Answer("It is foggy in London.")]) as server:
        said = run("livekit_speech_to_speech.py", "openai", server.url)
    root, _ = the_trace()
    (tool,) = named(root, "function_call: weather")
    assert [child.name for child in tool.children] == ["look up"]
    assert "foggy in London" in json.dumps(tool.outputs)
    assert len(named(root, "turn_complete")) == 2
    assert not named(root, "llm")
    assert ("assistant", "It is foggy in London.") in words(root)
    assert root.metadata["recording_seconds"] > sum(position for position, _ in told(said, "heard"))


@needs_ga
def test_a_session_that_changes_its_socket_is_one_conversation(run, the_trace):
    with OpenAIRealtimeServer.conversational([Answer("Hello."), Answer("Good bye!")]) as server:
        run("livekit_speech_to_speech.py", "short", server.url)
        sockets = len(server.connections)
    assert sockets > 1
    root, _ = the_trace()
    assert root.metadata["connection_count"] == sockets
    assert [text for _, text in words(root)][:1] == ["Hello."]
    assert (root.status, root.metadata["error_count"]) == ("success", 0)


@needs_ga
def test_a_model_that_listens_and_writes_and_another_one_that_speaks(run, the_trace):
    answers = [CALLED_BY_VOICE, Answer("It is foggy in London.")]
    with OpenAIRealtimeServer.conversational(answers) as server, CascadeServer() as services:
        said = run("livekit_speech_to_speech.py", "half", server.url, "spoken", services.url)
    root, _ = the_trace()
    assert len(named(root, "turn_complete")) == 2
    (tts,) = named(root, "tts")
    assert [text for role, text in words(root) if role == "assistant"] == ["It is foggy in London."]
    gap = tts.metadata
    parts = ("endpointing_ms", "model_ms", "tool_ms", "tts_ms", "playout_ms")
    assert gap["response_gap_ms"] == pytest.approx(sum(gap.get(part, 0) for part in parts), abs=0.01)
    assert gap["response_gap_from"] == "speech_end"
    assert gap["tts_ms"] > 0
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(sum(position for position, _ in told(said, "heard")), abs=0.1)


@pytest.mark.parametrize("what", ["spoken", "asked by the agent"])
def test_a_realtime_model_whose_frames_nobody_sees(run, the_trace, what):
    script = [{"call": "weather", "with": {"city": "London"}}, {"say": "It is foggy in London."}]
    said = run("livekit_speech_to_speech.py", "own", json.dumps(script), what)
    root, _ = the_trace()
    asked, answered = named(root, "turn_complete")
    assert (asked.metadata["outcome"], answered.metadata["outcome"]) == ("completed", "completed")
    assert "weather" in json.dumps(asked.outputs)
    assert "It is foggy in London." in json.dumps(answered.outputs)
    assert answered.metadata["ls_model_name"] == "parrot-1"
    assert answered.usage["input_tokens"] == answered.usage["output_tokens"] == 12
    assert root.metadata["total_tokens"] == 48
    (tool,) = named(root, "function_call: weather")
    assert [child.name for child in tool.children] == ["look up"]
    assert "foggy in London" in json.dumps(tool.outputs)
    question = [("user", "How is the weather in London?")] if what == "spoken" else []
    assert words(root) == [*question, ("tool", "foggy in London"), ("assistant", "It is foggy in London.")]
    if what == "spoken":
        assert answered.metadata["response_gap_from"] == "speech_end"
        assert answered.metadata["tool_ms"] > 0
    _, agent = tracks(root)
    assert voiced(agent) == pytest.approx(sum(position for position, _ in told(said, "heard")), abs=0.1)


def test_services_that_fail(run, the_trace):
    with CascadeServer(["Hello!"], ["Hello?"]) as services:
        services.fail("transcriptions", times=1)
        services.fail("speech", times=50)
        run("livekit_cascade.py", services.url, "unanswered")
    root, _ = the_trace()
    (spoken, *_) = named(root, "tts")
    assert spoken.status == "error"
    assert words(root)[0] == ("user", "Hello?")
    assert named(root, "error")  # the transcription was tried again


def test_nothing_was_said(run, the_trace):
    with CascadeServer([], [""]) as services:
        run("livekit_cascade.py", services.url, "unanswered")
    root, _ = the_trace()
    assert shape(root) == [("stt", [])]
    assert words(root) == []


def test_a_caller_who_hangs_up_in_mid_tool(run, the_trace):
    called = Completion(calls=[FunctionCall("slow", {})])
    with CascadeServer([called, "Too late."], ["How long does it take?"]) as services:
        run("livekit_cascade.py", services.url, "hang-up")
    root, _ = the_trace()
    (tool,) = named(root, "function_call: slow")
    assert [child.name for child in tool.children] == ["look up"]
    assert tool.end_ns is not None


def test_two_sessions_in_one_process(run, langsmith):
    with CascadeServer(
        lambda asked: f"You said: {asked.messages[-1]['content']}", lambda _: "Hello."
    ) as services:
        run("livekit_cascade.py", services.url, "two")
    langsmith.wait_for(lambda server: len(server.roots) == 2, 30)
    for root in langsmith.roots:
        assert shape(root) == [("stt", []), ("llm", []), ("tts", [])]
        assert words(root) == [("user", "Hello."), ("assistant", "You said: Hello.")]


def test_the_example_of_the_page_runs():
    pytest.importorskip("sybil")
    page = Path(__file__).parents[2] / "docs/livekit.md"
    program = [sys.executable, str(page.parents[1] / "tests/doc_page.py"), str(page)]
    ran = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout.split()[-2:]) == (0, ["2", "ran"]), ran.stderr


def told(said, what):
    """What the loudspeaker says: of each answer how much of it was played, and whether it was stopped; or its pauses."""
    return ast.literal_eval(re.search(rf"^{what} (.*)$", said, re.MULTILINE)[1])
