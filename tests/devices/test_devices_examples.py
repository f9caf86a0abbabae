"""The examples, untouched, under `opentelemetry-instrument`: what was spoken and heard is beside the trace."""

from __future__ import annotations

import io
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from sound_streams import RATE, noise
from test_devices_speaker import places

from voicespan.testing import GeminiLiveServer, LangSmithServer, OpenAIRealtimeServer

EXAMPLES = Path(__file__).parents[2] / "examples"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
ANSWER = noise()[: 3 * RATE]
SPOKEN = noise()[-RATE:]


@pytest.fixture
def langsmith():
    with LangSmithServer() as server:
        yield server


@pytest.fixture
def example(start, langsmith, tmp_path):
    """Starts one of the examples."""

    def example(name: str, **environ: str):
        return start(
            INSTRUMENT,
            sys.executable,
            str(EXAMPLES / name),
            LANGSMITH_API_KEY=langsmith.api_key,
            LANGSMITH_ENDPOINT=langsmith.url,
            VOICESPAN_SPOOL_DIR=str(tmp_path / "spool"),
            VOICESPAN_RECORDING_FORMAT="flac",
            **environ,
        )

    return example


def finish(process):
    """What is left of its output, once it has ended well."""
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert err.count("voicespan records the microphone and the loudspeaker") == 1
    return out


def wait_for(process, word):
    """Read its output until this comes."""
    lines = []
    while not lines or word not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], (lines, process.stderr.read())


def check(langsmith, heard_file):
    """Left what was spoken, right what was heard and no more; both bit for bit."""
    (root,) = langsmith.roots
    assert root.status == "success"
    assert root.metadata["recording_source"] == "devices"
    recorded, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
    assert rate == RATE
    heard = np.fromfile(heard_file, "<i2")
    found = places(heard, recorded[:, 1])
    assert found.count(None) <= 1
    assert np.flatnonzero(recorded[:, 1])[-1] - np.flatnonzero(heard)[-1] == pytest.approx(
        found[-1], abs=0.03 * RATE
    )
    return root, recorded


def test_push_to_talk(example, sound_server, langsmith, tmp_path):
    from voicespan.testing.openai_realtime import Answer

    answers = [Answer(audio=ANSWER.tobytes(), transcript="First."), Answer("Second.")]
    with (
        OpenAIRealtimeServer.conversational(answers, ["One", "Two"], timeout=20) as server,
        sound_server.heard(tmp_path / "heard.raw"),
    ):
        process = example(
            "push_to_talk_openai.py",
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=server.url.replace("ws://", "http://"),
        )

        def press(key=""):
            process.stdin.write(key + "\n")
            process.stdin.flush()

        wait_for(process, "Enter")
        press()
        sound_server.speak(SPOKEN.tobytes()).wait(10)
        press()
        wait_for(process, "agent: First.")
        time.sleep(1)  # of the answer are heard
        press()
        press()
        wait_for(process, "agent: Second.")
        press("q")
        assert "error" not in finish(process)
    root, recorded = check(langsmith, tmp_path / "heard.raw")
    assert np.count_nonzero(recorded[:, 1]) < 2 * RATE
    spoken = places(SPOKEN, recorded[:, 0])
    assert len(spoken) - spoken.count(None) >= 15
    assert [child.name for child in root.children].count("turn_complete") == 2


def test_live_voice(example, sound_server, langsmith, tmp_path):
    from voicespan.testing.gemini_live import Answer
    from voicespan.testing.gemini_live.certificates import authority

    answers = [Answer(audio=ANSWER.tobytes(), text="First.", pause_after=15), Answer("Second.")]
    with (
        GeminiLiveServer.conversational(answers, ["One", "Two"], timeout=20) as server,
        authority().file() as certificate,
        sound_server.heard(tmp_path / "heard.raw"),
    ):
        process = example(
            "live_voice_gemini.py",
            GEMINI_API_KEY="test",
            GOOGLE_GEMINI_BASE_URL=server.url.replace("wss://", "https://"),
            SSL_CERT_FILE=str(certificate),
        )
        assert server.wait_until(lambda: any(len(each.received) > 5 for each in server.connections), 20)
        sound_server.speak(SPOKEN.tobytes())
        wait_for(process, "agent: First.")
        time.sleep(0.5)
        sound_server.speak(SPOKEN.tobytes())
        wait_for(process, "agent: Second.")
        process.send_signal(signal.SIGINT)
        finish(process)
    root, recorded = check(langsmith, tmp_path / "heard.raw")
    assert np.count_nonzero(recorded[:, 1]) < 2.5 * RATE
    assert np.count_nonzero(recorded[:, 0]) > RATE
    assert "interrupted" in [child.name for child in root.children]
