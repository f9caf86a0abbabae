"""Inside the servers that voice agents run in: gunicorn forks, uvicorn dies by the signal that it was sent."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.sync.client import connect

from voicespan.cli import recover
from voicespan.delivery.spool.locks import SPOOL_LOCK
from voicespan.testing import LangSmithServer

PROGRAMS = pathlib.Path(__file__).parent / "programs"
WRITTEN = 0.25
WORKERS = 2
MOST_CALLS = 2_000


@pytest.fixture
def server(monkeypatch):
    with LangSmithServer() as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        yield server


@pytest.fixture
def run():
    processes = []

    def start(*arguments):
        """Start a server on a free port, and wait until it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)]
        process = subprocess.Popen(
            command, cwd=PROGRAMS, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        processes.append(process)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process, port
            time.sleep(0.05)
        raise TimeoutError(process.stderr.read())

    yield start
    for process in processes:
        if process.poll() is None:
            # With its workers, which would outlive it.
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until_on_disk(spool_dir, conversations):
    """A quarter of a second is what a span may stay in memory; a busy machine takes longer to get as far as that."""
    deadline = time.monotonic() + 20
    while len(list(spool_dir.glob("*/meta.json"))) < conversations:
        assert time.monotonic() < deadline, list(spool_dir.iterdir())
        time.sleep(0.05)


def until_dead(process):
    """Until the kernel has closed its files, and with them let go of its locks."""
    stat = pathlib.Path(f"/proc/{process}/stat")
    for _ in range(1_000):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise TimeoutError(f"{process} lives on")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def gunicorn(*more):
    return (
        "gunicorn",
        "served:wsgi",
        "--bind",
        "127.0.0.1:{port}",
        "--workers",
        "2",
        "--log-level",
        "error",
        *more,
    )


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_gunicorns_workers_deliver_each_their_own(server, run, preload, spool_dir):
    process, port = run(*gunicorn(*preload))
    calls = []
    # The second worker comes up a while after the first, and the kernel chooses between them: at once,
    # until both have answered.
    with ThreadPoolExecutor(8) as pool:
        while len({call["process"] for call in calls}) < WORKERS and len(calls) < MOST_CALLS:
            calls += pool.map(lambda _: get(port, "/call"), range(16))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert len({call["process"] for call in calls}) == 2
    assert process.pid not in {call["process"] for call in calls}
    assert {root.id for root in server.roots} == {call["run"] for call in calls}
    assert {server.received_count(run.id) for run in server.runs} == {1}
    # Two that end at once may each leave the file of locks to the other.
    assert {path.name for path in spool_dir.iterdir()} <= {SPOOL_LOCK}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_what_a_killed_worker_left_is_sent_by_another(server, run, preload, spool_dir):
    _, port = run(*gunicorn(*preload))
    server.down()
    left = [get(port, "/call"), get(port, "/open")]
    until_on_disk(spool_dir, len(left))
    time.sleep(WRITTEN)
    for process in {call["process"] for call in left}:
        os.kill(process, signal.SIGKILL)
        # What still dies when another worker looks is found at its next look, a minute later.
        until_dead(process)
    server.up()
    # Workers that never held a conversation do nothing; the kernel decides who gets a request.
    calls = [get(port, "/call") for _ in range(20)]

    def all_there(server):
        return {call["run"] for call in [*left, *calls]} <= {root.id for root in server.roots}

    server.wait_for(all_there, timeout=90)  # at the first look, or at the next
    assert server.run(left[1]["run"]).status == "error"


def test_uvicorn_dies_by_sigterm_and_its_conversations_are_complete(server, run, spool_dir):
    """It raises the signal again when it has shut down, so nothing of Python runs at its exit."""
    server.down()
    process, port = run(
        "uvicorn", "served:traced_asgi", "--factory", "--port", "{port}", "--log-level", "error"
    )
    with connect(f"ws://127.0.0.1:{port}/") as call:
        run_id = call.recv()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    server.up()
    assert recover.recover() == 0
    [root] = server.roots
    assert root.id == run_id
    assert (root.status, root.metadata["status"]) == ("success", "completed")
    assert [child.name for child in root.children] == ["turn_complete"]


def test_uvicorn_ended_by_ctrl_c_delivers(server, run, spool_dir):
    process, port = run(
        "uvicorn", "served:traced_asgi", "--factory", "--port", "{port}", "--log-level", "error"
    )
    with connect(f"ws://127.0.0.1:{port}/") as call:
        call.recv()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert len(server.roots) == 1
    assert list(spool_dir.iterdir()) == []


def test_uvicorns_spawned_workers_deliver(server, run, spool_dir):
    process, port = run(
        "uvicorn",
        "served:traced_asgi",
        "--factory",
        "--port",
        "{port}",
        "--log-level",
        "error",
        "--workers",
        "2",
    )
    runs = set()
    for _ in range(6):
        with connect(f"ws://127.0.0.1:{port}/") as call:
            runs.add(call.recv())
    server.wait_for(lambda server: {root.id for root in server.roots} == runs, timeout=20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
