"""The same call of a LiveKit agent, traced by us and by LangSmith's own processor: what that has, ours has as well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "langsmith.integrations.livekit",
    reason="in an environment of its own: tests/compat/run.py livekit-beside-langsmith",
)
pytest.importorskip("cachetools")
pytest.importorskip("livekit.plugins.openai")

from frameworks_trace import named, words

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

PROGRAM = Path(__file__).parent / "programs" / "livekit_with_langsmith.py"
CALLED = Completion(calls=[FunctionCall("weather", {"city": "London"})])
SAID = ["How is the weather in London?", "Thanks a lot."]
ANSWERED = ["It is foggy in London.", "Good bye!"]


def services():
    return CascadeServer([CALLED, *ANSWERED], SAID)


@pytest.fixture
def both(run, environ, langsmith):
    """The root of ours, and the one of LangSmith's."""
    with services() as server:
        run("livekit_cascade.py", server.url)
    with services() as server:
        program = [sys.executable, str(PROGRAM), server.url]
        traced = {**environ, "LANGSMITH_TRACING": "true"}
        subprocess.run(program, env=traced, check=True, capture_output=True, timeout=60)
    langsmith.wait_for(lambda server: len(server.roots) == 2, 30)
    roots = {root.name: root for root in langsmith.roots}
    return roots["conversation"], roots["agent_session"]


def test_words_usage_and_tools_are_the_same(both):
    ours, theirs = both
    assert words(ours) == [
        ("user", SAID[0]),
        ("tool", "foggy in London"),
        ("assistant", ANSWERED[0]),
        ("user", SAID[1]),
        ("assistant", ANSWERED[1]),
    ]
    # Theirs are on turns that nobody called, and not on the root.
    assert [answer(turn) for turn in named(theirs, "user_turn")] == [
        answer(stt) for stt in named(ours, "stt")
    ]
    requests, calls = named(theirs, "llm_request"), named(ours, "llm")
    assert [answer(request) for request in requests] == [answer(call) for call in calls]
    assert [tokens(request) for request in requests] == [tokens(call) for call in calls]
    (theirs_tool,), (tool,) = named(theirs, "function_tool"), named(ours, "function_call: weather")
    assert "London" in json.dumps(tool.inputs)
    assert theirs_tool.outputs["text"] == "foggy in London"
    assert "foggy in London" in json.dumps(tool.outputs)
    assert [child.name for child in tool.children] == [child.name for child in theirs_tool.children]
    spoken = [speech.inputs["messages"][0]["content"] for speech in named(theirs, "tts_request")]
    assert [speech.inputs["messages"][0]["content"] for speech in named(ours, "tts")] == spoken
    for name, other in (("stt", "user_turn"), ("llm", "llm_request"), ("tts", "tts_request")):
        assert {run.run_type for run in named(ours, name)} == {run.run_type for run in named(theirs, other)}


def test_ours_has_what_the_conventions_ask_for_and_no_wrapper(both):
    ours, theirs = both
    assert (ours.metadata["ls_modality"], theirs.metadata.get("ls_modality")) == ("audio", None)
    assert (bool(ours.attachments), bool(theirs.attachments)) == (True, False)
    calls = {"stt", "llm", "function_call: weather", "look up", "tts"}
    assert {run.name for _, run in ours.walk()} == {"conversation", "user_speech", *calls}
    assert len(list(ours.walk())) < len(list(theirs.walk())) / 2
    # Theirs leaves out what the transcriptions took.
    assert ours.metadata["total_tokens"] > sum(sum(tokens(each)) for each in named(theirs, "llm_request"))
    first, second = named(ours, "tts")
    assert first.metadata["response_gap_ms"] > second.metadata["response_gap_ms"] > 0


def answer(run):
    (message,) = run.outputs["messages"]
    return message["content"].strip(), [call["function"]["name"] for call in message.get("tool_calls", ())]


def tokens(run):
    return run.usage["input_tokens"], run.usage["output_tokens"]
