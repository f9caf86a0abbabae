"""Zero code inside the servers that voice agents run in: what forks, what spawns, what dies by a signal."""

from __future__ import annotations

import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from voicespan.cli import recover

pytest.importorskip("gunicorn", reason="gunicorn is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")

BIN = Path(sys.executable).parent
UVICORN = (str(BIN / "uvicorn"), "web:asgi", "--port", "{port}", "--log-level", "error")
GUNICORN = (
    *(str(BIN / "gunicorn"), "web:wsgi", "--bind", "127.0.0.1:{port}", "--workers", "2"),
    *("--log-level", "error"),
)

pytestmark = pytest.mark.usefixtures("with_openai", "with_key")


def get(port):
    """A call, held by a worker; the worker's process id."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return int(answer.read())


def complete(root):
    return root.status == "success" and "turn_complete" in [child.name for child in root.children]


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_gunicorns_workers_deliver_each_their_own(serve, langsmith, preload, spool_dir):
    process, port, log = serve(*GUNICORN, *preload)
    workers = [get(port) for _ in range(8)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert process.pid not in workers
    assert len(langsmith.roots) == 8
    assert all(complete(root) for root in langsmith.roots)
    assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}
    assert list(spool_dir.iterdir()) == []
    assert "voicespan" not in log.read_text(encoding="utf-8")


def test_uvicorns_spawned_workers_deliver(serve, langsmith):
    from websockets.sync.client import connect

    process, port, _ = serve(*UVICORN, "--workers", "2")
    for _ in range(4):
        with connect(f"ws://127.0.0.1:{port}/", open_timeout=30) as caller:
            assert int(caller.recv(timeout=30)) != process.pid
    langsmith.wait_for(lambda server: len(server.roots) == 4, timeout=30)
    assert all(complete(root) for root in langsmith.roots)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)


def test_uvicorn_dies_by_sigterm_and_nothing_is_lost(serve, langsmith, spool_dir, environ, monkeypatch):
    """It raises the signal again when it has shut down, so nothing of Python runs at its exit."""
    from websockets.sync.client import connect

    langsmith.down()
    process, port, _ = serve(*UVICORN)
    with connect(f"ws://127.0.0.1:{port}/", open_timeout=30) as caller:
        caller.recv(timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == -signal.SIGTERM
    langsmith.up()
    for name in ("LANGSMITH_API_KEY", "LANGSMITH_ENDPOINT", "VOICESPAN_SPOOL_DIR"):
        monkeypatch.setenv(name, environ[name])
    assert recover.recover() == 0
    [root] = langsmith.roots
    assert complete(root)
    assert list(spool_dir.iterdir()) == []
