"""`voicespan demo --json`: the trace and its figures, which agree with a detector that nobody here wrote."""

from __future__ import annotations

import json

import pytest
import soundfile as sf


def runs_in(run):
    yield run
    for child in run["children"]:
        yield from runs_in(child)


@pytest.fixture(scope="module", params=["openai", "gemini"])
def provider(request):
    return request.param


@pytest.fixture(scope="module")
def call(voicespan, provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    finished = voicespan("demo", "--json", "--fast", "--provider", provider, "--folder", str(folder))
    assert finished.stderr == ""
    assert finished.returncode == 0
    told = json.loads(finished.stdout)
    assert told["delivered"] is True
    [conversation] = told["conversations"]
    return conversation


def test_it_prints_the_trace_of_the_call(call):
    root = call["trace"]
    assert root["name"] == "conversation"
    assert call["figures"] == root["metadata"]
    names = {run["name"] for run in runs_in(root)}
    assert {"input_transcription", "output_transcription", "function_call: find_tables"} <= names
    assert {"SELECT tables", "INSERT booking"} <= names
    assert all(run["begins"] <= run["ends"] <= root["ends"] for run in runs_in(root))


def test_it_says_where_the_recording_is(call):
    recording = call["recording"]
    sound, rate = sf.read(recording["path"])
    assert sound.shape[1] == len(recording["channels"])
    assert rate == recording["sample_rate"]
    assert len(sound) / rate == pytest.approx(recording["seconds"], abs=0.1)
    assert call["figures"]["recording_seconds"] == pytest.approx(recording["seconds"], abs=0.1)
