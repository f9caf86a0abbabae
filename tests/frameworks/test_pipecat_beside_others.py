"""One scripted call of a Pipecat bot, told by voicespan, by LangSmith's own processor, and by Pipecat's own recorder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip(
    "pipecat.pipeline.task", reason="in an environment of its own: tests/compat/run.py pipecat"
)

from conftest import PROGRAMS
from frameworks_trace import named, read_tracks, stretches, tracks, voiced, words

from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

CALLED = Completion(calls=[FunctionCall("weather", {"city": "London"})])


@pytest.fixture
def services():
    """The services of one call, anew each time."""

    def services():
        answers = [CALLED, "It is foggy in London.", "Good bye!"]
        return CascadeServer(answers, ["How is the weather in London?", "Thanks a lot."])

    return services


@pytest.fixture
def both(run, environ, langsmith, services):
    """The same call as voicespan tells it, and as LangSmith's processor does."""
    pytest.importorskip("langsmith.integrations.pipecat", reason="needs langsmith[otel] and cachetools")
    with services() as server:
        command = [sys.executable, str(PROGRAMS / "pipecat_langsmith.py"), server.url]
        subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    with services() as server:
        run("pipecat_cascade.py", server.url)
    langsmith.wait_for(lambda server: len(server.roots) == 2, 30)
    theirs, ours = langsmith.roots
    return ours, theirs


def test_what_langsmiths_processor_tells_is_told_and_its_function_besides(both):
    ours, theirs = both
    assert ours.name == theirs.name == "conversation"
    assert ours.metadata["ls_modality"] == theirs.metadata["ls_modality"] == "audio"
    assert ours.thread_id == theirs.thread_id == "caller-42"
    assert words(ours) == words(theirs)
    for name in ("conversation", "stt", "llm", "tts"):
        own, others = named(ours, name), named(theirs, name)
        assert len(own) == len(others) > 0
        assert {run.run_type for run in own} == {run.run_type for run in others}
    for own, other in zip(named(ours, "llm"), named(theirs, "llm"), strict=True):
        assert own.start_ns < own.end_ns
        # A call that only asks for a function has no usage there, and no answer.
        for name in ("input_tokens", "output_tokens"):
            assert own.usage[name] == other.usage.get(name, own.usage[name]) > 0
        assert json.dumps(own.outputs).count("content") == 1
    (tool,) = named(ours, "function_call: weather")
    assert (tool.run_type, [child.name for child in tool.children]) == ("tool", ["look up"])
    assert ours.attachments


def test_what_pipecats_recorder_heard_is_on_the_recording_and_no_farther_from_where_it_was_heard(
    run, the_trace, services, tmp_path
):
    path = tmp_path / "theirs.wav"
    with services() as server:
        printed = run("pipecat_cascade.py", server.url, f"recorded={path}")
    root, _ = the_trace()
    recorded, theirs = tracks(root), read_tracks(path)
    for own, other in zip(recorded, theirs, strict=True):
        assert voiced(own) == pytest.approx(voiced(other), abs=0.1)
    (line,) = (line.split()[1:] for line in printed.splitlines() if line.startswith("starts"))
    caller = from_the_first(float(at) for at in line)
    assert len(caller) == len(starts(recorded)) == len(starts(theirs)) == 4
    # On a busy machine both learn late of what was heard.
    assert farthest(starts(recorded), caller) <= farthest(starts(theirs), caller) + 0.15


def starts(sides):
    """When the caller and the bot begin to speak, seconds from the first time on."""
    return from_the_first(began for side in sides for began, _ in stretches(side))


def from_the_first(times):
    ordered = sorted(times)
    return [at - ordered[0] for at in ordered]


def farthest(times, others):
    return max(abs(at - other) for at, other in zip(times, others, strict=True))
