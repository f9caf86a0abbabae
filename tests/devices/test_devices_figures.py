"""What a call with a sound card says of itself is what a detector that nobody here wrote measures in its recording."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import soundfile as sf

from voicespan.cli.demo import story
from voicespan.testing import LangSmithServer

vad = pytest.importorskip("voicebench.vad", reason="voicebench needs Python 3.11")

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
PARTS = ("endpointing_ms", "model_ms", "tool_ms", "playout_ms", "unnamed_ms")


def silence(seconds):
    return bytes(2 * round(story.RATE * seconds))


#: What the caller says: the second line cuts in, three seconds into the first answer.
CALLER = silence(0.5) + story.OPENING.pcm() + silence(4.0) + story.CHOICE.pcm() + silence(6.0)
SECONDS = len(CALLER) / 2 / story.RATE


@pytest.fixture(scope="module", params=["openai", "gemini"])
def root(request, start_for_all, sound_server, tmp_path_factory):
    """The trace of a call over a loudspeaker and a microphone."""
    with LangSmithServer() as langsmith:
        process = start_for_all(
            *(INSTRUMENT, sys.executable, "device_call.py", request.param, str(SECONDS)),
            LANGSMITH_API_KEY=langsmith.api_key,
            LANGSMITH_ENDPOINT=langsmith.url,
            VOICESPAN_SPOOL_DIR=str(tmp_path_factory.mktemp("spool")),
            VOICESPAN_RECORDING_FORMAT="flac",
        )
        assert process.stdout.readline() == "listening\n", process.stderr.read()
        sound_server.speak(CALLER)
        _, err = process.communicate(timeout=SECONDS + 40)
        assert process.returncode == 0, err
        [root] = langsmith.roots
        yield root


@pytest.fixture
def heard(root):
    """When each side is heard in the recording, as pairs of seconds."""
    assert root.metadata["recording_source"] == "devices"
    sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content))
    # There is no noise. The agent is audible above -60 dBFS, where its hysteresis closes.
    thresholds = (-45.0, -54.0)
    return [
        [
            (segment.start, segment.end)
            for segment in vad.detect_segments(
                side.copy(), rate, vad.VadConfig(threshold_db=threshold, min_speech_ms=10.0)
            )
        ]
        for side, threshold in zip(sound.T, thresholds, strict=True)
    ]


def test_each_response_gap_is_the_one_in_the_recording(root, heard):
    user, agent = heard
    gaps = []
    for start, _ in agent:
        last = max((end for _, end in user if end <= start), default=None)
        if last is not None and not any(last < other < start for other, _ in agent):
            gaps.append((start - last) * 1_000)
    turns = [run.metadata for run in root.children if "response_gap_ms" in run.metadata]
    assert [turn["response_gap_ms"] for turn in turns] == pytest.approx(gaps, abs=20)
    assert len(turns) == 2
    for turn in turns:
        assert sum(turn.get(part, 0) for part in PARTS) == pytest.approx(turn["response_gap_ms"], abs=1)
        assert (turn["response_gap_basis"], turn["response_gap_from"]) == ("device", "speech_end")


def test_the_barge_in_is_the_one_in_the_recording(root, heard):
    user, agent = heard
    [barge_in] = [(end - spoke) * 1_000 for spoke, _ in user for start, end in agent if start < spoke < end]
    [interrupted] = [run for run in root.children if run.name == "interrupted"]
    assert interrupted.metadata["barge_in_ms"] == pytest.approx(barge_in, abs=20)
    [cut] = [run for run in root.children if run.name == "turn_complete" and run.metadata.get("interrupted")]
    assert 1_500 < cut.metadata["heard_ms"] < cut.metadata["generated_ms"]
