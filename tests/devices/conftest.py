from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from sound_server import SoundServer, missing

HERE = Path(__file__).parent


def what_is_missing() -> str | None:
    """What there is to install before devices can be tried."""
    modules = [name for name in ("sounddevice", "pyaudio") if importlib.util.find_spec(name) is None]
    return ", ".join(filter(None, [missing(), *modules])) or None


@pytest.fixture(scope="session")
def sound_server(tmp_path_factory):
    """A loudspeaker and a microphone. In VOICESPAN_TEST_DEVICES=1 their absence is a failure."""
    lacking = what_is_missing()
    if lacking is not None:
        assert os.environ.get("VOICESPAN_TEST_DEVICES") != "1", f"not installed: {lacking}"
        pytest.skip(f"no sound here: {lacking} not found")
    if os.environ.get("PYTEST_XDIST_WORKER"):
        # A loudspeaker that gets no processor for a moment has a gap.
        pytest.skip("sound wants the machine for itself: pytest tests/devices")
    with SoundServer(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture(scope="module")
def start_for_all(sound_server):
    """The same as `start`, for the tests of one file."""
    yield from _started(sound_server)


@pytest.fixture
def start(sound_server):
    """Starts a program that has this loudspeaker and this microphone."""
    yield from _started(sound_server)


def _started(sound_server):
    running = []

    def start(*command: str, **environ: str) -> subprocess.Popen:
        whole = {
            name: value for name, value in os.environ.items() if not name.startswith(("VOICESPAN_", "OTEL_"))
        }
        whole |= sound_server.environ | {"VOICESPAN_RECORD_SOURCE": "devices"} | environ
        process = subprocess.Popen(
            command,
            env=whole,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
