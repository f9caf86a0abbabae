"""An answer that an application queues behind one that is still played is heard when that is over."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voicespan.testing import LangSmithServer
from voicespan.testing.openai_realtime import Answer, OpenAIRealtimeServer

RATE = 24_000
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


def beep(frequency, seconds):
    return (8_000 * np.sin(2 * np.pi * frequency * np.arange(round(RATE * seconds)) / RATE)).astype("<i2")


def test_the_second_answer_is_heard_when_the_first_is_over(start, sound_server, tmp_path):
    pause = np.zeros(round(RATE * 0.3), "<i2")
    # Words with pauses, in any of which the second answer could seem to begin.
    first = np.concatenate([beep(440, 0.5), pause] * 5)
    answers = [
        Answer(audio=first.tobytes(), transcript="one"),
        Answer(audio=beep(1500, 1.0).tobytes(), transcript="two"),
    ]
    with LangSmithServer() as langsmith, OpenAIRealtimeServer.conversational(answers, timeout=30) as openai:
        process = start(
            *(INSTRUMENT, sys.executable, "queueing_call.py", "3.5"),
            OPENAI_API_KEY="k",
            OPENAI_BASE_URL=openai.url.replace("ws://", "http://"),
            LANGSMITH_API_KEY=langsmith.api_key,
            LANGSMITH_ENDPOINT=langsmith.url,
            VOICESPAN_SPOOL_DIR=str(tmp_path / "spool"),
            VOICESPAN_RECORDING_FORMAT="flac",
        )
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        [root] = langsmith.roots
    sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
    sounding = np.flatnonzero(abs(sound[:, 1].astype(int)) > 100)
    starts = [sounding[0], *sounding[1:][np.diff(sounding) > 0.2 * rate]]
    heard_at = [
        root.metadata["ls_audio_recording_started_at"] + start / rate for start in (starts[0], starts[5])
    ]
    assert len(starts) == 6
    turns = [run for run in root.children if run.name == "turn_complete"]
    stopped = [run for run in root.children if run.name == "input_audio_buffer.speech_stopped"]
    waited = [(heard - event.start_ns / 1e9) * 1_000 for heard, event in zip(heard_at, stopped, strict=True)]
    assert waited[1] > 1_500
    assert [turn.metadata["latency_to_first_audio_heard_ms"] for turn in turns] == pytest.approx(
        waited, abs=30
    )
