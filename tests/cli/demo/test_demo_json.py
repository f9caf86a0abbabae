"""`voicespan demo --json`: the trace and its figures, which agree with a detector that nobody here wrote."""

from __future__ import annotations

import json

import pytest
import soundfile as sf


def runs_in(run):
    yield run
    for child in run["children"]:
        yield from runs_in(child)


@pytest.fixture(scope="module", params=["openai", "gemini", "openai-live"])
def provider(request):
    return request.param


@pytest.fixture(scope="module")
def call(voicespan, provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    finished = voicespan(
        *("demo", "--json", "--fast", "--provider", provider, "--folder", str(folder)),
        VOICESPAN_RECORDING_FORMAT="flac",
    )
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


# The figures are those of the recording, as `voicebench` measures them there.

PARTS = ("endpointing_ms", "model_ms", "tool_ms", "playout_ms", "unnamed_ms")


@pytest.fixture(scope="module")
def heard(call):
    """When each side is heard in the recording, as pairs of seconds."""
    vad = pytest.importorskip("voicebench.vad", reason="voicebench needs Python 3.11")
    sound, rate = sf.read(call["recording"]["path"])
    # On a machine that is busy an answer played eight times as fast stutters: its first 20 ms are its beginning.
    # They can be quiet, and what the agent does not say is digital silence.
    return [
        [
            (segment.start, segment.end)
            for segment in vad.detect_segments(
                side.copy(), rate, vad.VadConfig(threshold_db=threshold, min_speech_ms=10.0)
            )
        ]
        for side, threshold in zip(sound.T, (-45.0, -59.0), strict=True)
    ]


def test_each_response_gap_is_the_one_in_the_recording(call, heard):
    user, agent = heard
    gaps = []
    for start, _ in agent:
        last = max((end for _, end in user if end <= start), default=None)
        if last is not None and not any(last < other < start for other, _ in agent):
            gaps.append((start - last) * 1_000)
    turns = [run["metadata"] for run in runs_in(call["trace"]) if "response_gap_ms" in run["metadata"]]
    assert [turn["response_gap_ms"] for turn in turns] == pytest.approx(gaps, abs=20)
    assert len(turns) == 3
    for turn in turns:
        assert sum(turn.get(part, 0) for part in PARTS) == pytest.approx(turn["response_gap_ms"], abs=1)
        assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("app", "speech_end")


def test_the_barge_in_is_the_one_in_the_recording(call, heard, provider):
    if provider == "openai-live":
        # Its service says nothing of one.
        assert not [run for run in runs_in(call["trace"]) if run["name"] == "interrupted"]
        return
    user, agent = heard
    [barge_in] = [(end - spoke) * 1_000 for spoke, _ in user for start, end in agent if start < spoke < end]
    [interrupted] = [run for run in runs_in(call["trace"]) if run["name"] == "interrupted"]
    assert interrupted["metadata"]["barge_in_ms"] == pytest.approx(barge_in, abs=20)


def test_the_figures_of_the_call_are_those_of_the_recording(call, provider):
    vad = pytest.importorskip("voicebench.vad", reason="voicebench needs Python 3.11")
    sound, rate = sf.read(call["recording"]["path"])
    user, agent = (vad.detect_segments(side.copy(), rate) for side in sound.T)
    talk = [sum(each.duration for each in side) for side in (user, agent)]
    spoken = max(user[-1].end, agent[-1].end) - min(user[0].start, agent[0].start)
    both = sum(each.overlaps(other) for each in user for other in agent)
    figures = call["figures"]
    assert figures["user_talk_share"] == pytest.approx(talk[0] / sum(talk), abs=0.01)
    assert figures["agent_talk_share"] == pytest.approx(talk[1] / sum(talk), abs=0.01)
    assert figures["overlap_share"] == pytest.approx(both / spoken, abs=0.01)
    assert figures["silence_share"] == pytest.approx(1 - (sum(talk) - both) / spoken, abs=0.01)
    assert (figures["user_turn_count"], figures["unanswered_turn_count"]) == (3, 0)
    assert figures["figures_basis"] == "app"
    # Of OpenAI Live some may rest on the service's own times, where the machine is busy.
    assert figures["response_gap_count"] == 3 or provider == "openai-live"
