"""Programs of `programs/`, unchanged, under `opentelemetry-instrument`, with servers of this process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


@pytest.fixture
def langsmith():
    from voicespan.testing import LangSmithServer

    with LangSmithServer() as server:
        yield server


@pytest.fixture
def environ(tmp_path, langsmith):
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "VOICESPAN_SPOOL_DIR": str(tmp_path / "spool"),
        "VOICESPAN_SHUTDOWN_TIMEOUT": "20",
        "LANGSMITH_API_KEY": langsmith.api_key,
        "LANGSMITH_ENDPOINT": langsmith.url,
    }


@pytest.fixture
def run(environ):
    """Runs a program to its end."""

    def run(program, *arguments):
        result = subprocess.run(
            [INSTRUMENT, sys.executable, str(PROGRAMS / program), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert "voicespan could not" not in result.stderr, result.stderr
        return result.stdout

    return run


@pytest.fixture
def serve(environ, tmp_path):
    """Starts an ASGI application on a free port, and ends it so that it delivers what it has."""
    processes = []

    def serve(application, **more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [INSTRUMENT, sys.executable, "-m", "uvicorn", application, "--port", str(port)]
        log = tmp_path / "server.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=PROGRAMS, env=environ | more, stderr=out)
        processes.append(process)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            time.sleep(0.05)
        raise TimeoutError(log.read_text(encoding="utf-8"))

    yield serve
    for process in processes:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def until(condition, seconds):
    """Wait until that is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


@pytest.fixture
def start(environ, tmp_path):
    """Starts a program that goes on until it is interrupted, at the end of the test, and waits until it says that it is ready."""
    started = []

    def start(program, *arguments, ready, **more):
        log = tmp_path / f"{program}.log"
        command = [INSTRUMENT, sys.executable, str(PROGRAMS / program), *arguments]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=environ | more, stdout=out, stderr=out, start_new_session=True
            )
        started.append((process, log))
        until(lambda: ready in log.read_text(encoding="utf-8"), 40)
        return log

    yield start
    for process, log in started:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert "voicespan could not" not in log.read_text(encoding="utf-8")


@pytest.fixture
def the_trace(langsmith):
    """The one trace that arrives: its root, and its runs by name."""

    def the_trace():
        langsmith.wait_for(lambda server: server.roots, 30)
        (root,) = langsmith.roots
        runs = [run for _, run in root.walk()]
        return root, runs

    return the_trace
