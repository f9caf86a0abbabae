"""Zero code behind FastAPI: a span of each message of the telephone's socket stays with the request."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from importlib.util import find_spec

import pytest

from voicespan.testing.openai_realtime import Expect, OpenAIRealtimeServer, Send

FRAMES = 200
CREATED = {"type": "session.created", "event_id": "e", "session": {"id": "sess_1", "model": "gpt-realtime"}}

pytestmark = [
    pytest.mark.usefixtures("with_openai", "with_key"),
    # It is an environment of tests/compat/run.py, where nothing of what it needs may be missing.
    pytest.mark.skipif(
        os.environ.get("VOICESPAN_ENVIRONMENT") != "fastapi" and find_spec("fastapi") is None,
        reason="fastapi is not installed",
    ),
]


@pytest.fixture
def openai():
    script = [Send(CREATED), Expect("input_audio_buffer.append", FRAMES, timeout=30)]
    with OpenAIRealtimeServer(script, timeout=30) as server:
        yield server


def test_messages_stay_with_the_request_and_what_the_application_does_nests(serve, langsmith):
    from websockets.sync.client import connect

    command = (
        sys.executable,
        "-m",
        "uvicorn",
        "fastapi_bridge:app",
        "--port",
        "{port}",
        "--log-level",
        "error",
    )
    signals = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none")
    process, port, log = serve(*command, **signals)
    with connect(f"ws://127.0.0.1:{port}/media", open_timeout=30) as telephone:
        for _ in range(FRAMES):
            telephone.send(base64.b64encode(bytes(160)).decode())
            assert telephone.recv(timeout=30) == "mark"
        telephone.send("stop")
    [root] = langsmith.wait_for(lambda server: server.roots, timeout=30)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    spans = [json.loads(line[6:]) for line in log.read_text("utf-8").splitlines() if line[:6] == "span: "]
    [conversation] = [span for span in spans if span["name"] == "conversation"]
    [request] = [span for span in spans if span["parent"] is None and span is not conversation]
    messages = [span for span in spans if span["name"].endswith(("websocket receive", "websocket send"))]
    assert len(messages) > 2 * FRAMES
    assert {span["parent"] for span in messages} == {request["id"]}
    [work] = [span for span in spans if span["name"] == "look at the order"]
    assert work["parent"] == conversation["id"]
    assert "look at the order" in [child.name for child in root.children]
    assert not any("websocket" in run.name for run in langsmith.runs)
    assert "dropped_spans" not in root.metadata
