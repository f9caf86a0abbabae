"""The wire estimate, and the service's own stereo file on the trace."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from openai_live_client import silence, speech
from wire_recording import WireRecording

from voicespan.openai_live.audio import WireAudio
from voicespan.testing import LangSmithServer, OpenAILiveServer
from voicespan.testing.openai_live import Reply

EXAMPLE = Path(__file__).parents[2] / "examples" / "live_stored_recording.py"
OTHERS = ("LANGSMITH_", "LANGCHAIN_", "OPENAI_", "OTEL_", "VOICESPAN_")


def loud(samples, start, end, rate=24_000) -> bool:
    return bool(np.abs(samples[round(start * rate) : round(end * rate)]).max(initial=0) > 0.05)


class Wire(WireRecording):
    """A connection of this provider."""

    def __init__(self, clock, folder) -> None:
        super().__init__(clock, folder, WireAudio)

    def send(self, kind, **fields):
        self.audio.sent(json.dumps({"type": kind, **fields}), self.clock.monotonic_ns())

    def samples(self):
        self.recorder.close()
        self.wait(1)
        return sf.read(self.recorder.path)


def encoded(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()


def test_both_sides_are_one_continuous_track(fake_clock, tmp_path):
    wire = Wire(fake_clock, tmp_path)
    wire.receive("session.started", session={"audio": {"format": {"type": "audio/pcm", "rate": 24000}}})
    user = speech(1000) + silence(2000)
    agent = silence(1500) + speech(1000) + silence(500)
    for start in range(0, len(user), 4800):
        wire.send("session.input_audio.append", audio=encoded(user[start : start + 4800]))
        wire.receive("session.output_audio.delta", delta=encoded(agent[start : start + 4800]))
        wire.wait(0.1)
    samples, rate = wire.samples()
    assert rate == 24_000
    left, right = samples[:, 0], samples[:, 1]
    assert loud(left, 0.1, 0.9)
    assert not loud(left, 1.2, 2.9)
    assert loud(right, 1.7, 2.3)
    assert not loud(right, 0.1, 1.3)


def test_the_format_is_the_one_that_the_session_agreed_on(fake_clock, tmp_path):
    wire = Wire(fake_clock, tmp_path)
    wire.send("session.start", session={"audio": {"format": {"type": "audio/pcm", "rate": 16000}}})
    tone = speech(1000, 16_000)
    for start in range(0, len(tone), 3200):
        wire.send("session.input_audio.append", audio=encoded(tone[start : start + 3200]))
        wire.receive("session.output_audio.delta", delta=encoded(tone[start : start + 3200]))
        wire.wait(0.1)
    samples, rate = wire.samples()
    assert abs(len(samples) / rate - 1.0) < 0.15


def test_a_sideband_hears_both_sides_in_its_own_format(fake_clock, tmp_path):
    wire = Wire(fake_clock, tmp_path)
    wire.receive("session.started", session={"audio": {"format": {"type": "audio/pcmu"}}})
    for number in range(10):
        times = {"start_ms": number * 100, "end_ms": number * 100 + 100}
        wire.receive("session.input_audio.append", audio=encoded(speech(100)))
        wire.receive("session.output_audio.delta", delta=encoded(speech(100)), **times)
        wire.wait(0.1)
    samples, rate = wire.samples()
    assert rate == 24_000
    assert loud(samples[:, 0], 0.2, 0.8)
    assert loud(samples[:, 1], 0.2, 0.8)


@pytest.fixture
def question(tmp_path) -> Path:
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(speech(800))
    return path


def test_the_example_attaches_the_services_own_recording(question, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    with LangSmithServer() as langsmith, OpenAILiveServer.conversational([Reply("Sunny.")], ["Sun?"]) as live:
        environment = {
            **kept,
            "OPENAI_API_KEY": "sk-of-somebody",
            "OPENAI_BASE_URL": live.url.replace("ws://", "http://"),
            "LANGSMITH_API_KEY": langsmith.api_key,
            "LANGSMITH_ENDPOINT": langsmith.url,
            "VOICESPAN_SPOOL_DIR": str(tmp_path / "spool"),
        }
        command = [sys.executable, str(EXAMPLE), str(question)]
        finished = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert finished.returncode == 0, finished.stderr
        (root,) = langsmith.roots
        (attachment,) = root.attachments.values()
    assert "Sun?" in finished.stdout
    with wave.open(io.BytesIO(attachment.content)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24_000)
