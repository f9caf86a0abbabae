"""`opentelemetry-instrument` as a user starts it, in an environment that has nothing set but what a test says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


@dataclass(frozen=True)
class Finished:
    """What a process said."""

    out: str
    err: str

    @property
    def lines_of_ours(self):
        return [line for line in self.err.splitlines() if "voicespan" in line or "Conversations" in line]


@pytest.fixture
def environ(tmp_path):
    """The environment of the processes; tests add to it."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        # Where conversations are kept when the spool's disk is full: else those of another run are found.
        "TMPDIR": str(tmp_path),
        "VOICESPAN_SPOOL_DIR": str(tmp_path / "spool"),
        "VOICESPAN_SHUTDOWN_TIMEOUT": "20",
        "PYTHONPATH": str(PROGRAMS),
    }


@pytest.fixture
def spool_dir(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def langsmith():
    from voicespan.testing import LangSmithServer

    with LangSmithServer() as server:
        yield server


@pytest.fixture
def openai():
    from voicespan.testing import OpenAIRealtimeServer

    with OpenAIRealtimeServer.conversational(timeout=20) as server:
        yield server


@pytest.fixture
def gemini():
    from voicespan.testing import GeminiLiveServer

    with GeminiLiveServer.conversational(timeout=20) as server:
        yield server


@pytest.fixture
def with_openai(environ, openai):
    environ |= {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": openai.url.replace("ws://", "http://")}


@pytest.fixture
def with_openai_live(environ):
    pytest.importorskip("openai.resources.live", reason="openai has Live since 3.12")
    from voicespan.testing import OpenAILiveServer

    with OpenAILiveServer.conversational(timeout=20) as server:
        environ |= {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url.replace("ws://", "http://")}
        yield


@pytest.fixture
def with_gemini(environ, gemini):
    from voicespan.testing.gemini_live.certificates import authority

    with authority().file() as certificate:
        environ |= {
            "GEMINI_API_KEY": "test",
            "GOOGLE_GEMINI_BASE_URL": gemini.url.replace("wss://", "https://"),
            "SSL_CERT_FILE": str(certificate),
        }
        yield


@pytest.fixture
def with_key(environ, langsmith):
    """What the two commands of the documentation's first page set."""
    environ |= {"LANGSMITH_API_KEY": langsmith.api_key, "LANGSMITH_ENDPOINT": langsmith.url}


@pytest.fixture
def run(environ, tmp_path):
    """Runs a program, given as a file of `programs` or as code, to its end."""

    def run(program: str, *, instrumented: bool = True, **more: str) -> Finished:
        path = PROGRAMS / program
        if "\n" in program:
            path = tmp_path / "app.py"
            path.write_text(program, encoding="utf-8")
        command = [*([INSTRUMENT] if instrumented else []), sys.executable, str(path)]
        result = subprocess.run(
            command, env=environ | more, capture_output=True, text=True, check=False, timeout=50
        )
        assert result.returncode == 0, result.stderr
        # The loader reports what goes wrong and lets the application start.
        assert "Traceback" not in result.stderr, result.stderr
        return Finished(result.stdout, result.stderr)

    return run


@pytest.fixture
def serve(environ, tmp_path):
    """Starts a server under `opentelemetry-instrument` on a free port, and waits until it answers."""
    processes = []

    def serve(*arguments: str, instrumented: bool = True, **more: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*([INSTRUMENT] if instrumented else []), *(part.format(port=port) for part in arguments)]
        log = tmp_path / f"server-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=PROGRAMS, env=environ | more, stderr=out, start_new_session=True
            )
        processes.append(process)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process, port, log
            time.sleep(0.05)
        raise TimeoutError(log.read_text(encoding="utf-8"))

    yield serve
    for process in processes:
        if process.poll() is None:
            # With its workers, which would outlive it.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
