"""A few lines of code: the examples as they stand, as processes of their own, without the hook."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile as sf

from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("with_openai", "with_key")


def needs(*modules: str):
    """Those that `make test` has not run in an environment of `tests/compat/run.py`."""
    missing = [name for name in modules if find_spec(name) is None]
    # There they must not be missing.
    here = os.environ.get("VOICESPAN_ENVIRONMENT") == "few-lines"
    return pytest.mark.skipif(bool(missing) and not here, reason=f"needs {' and '.join(missing)}")


def example(run, name, **environ):
    return run(str(EXAMPLES / name), instrumented=False, **environ)


class TestPlain:
    @pytest.fixture
    def openai(self):
        with OpenAIRealtimeServer.conversational([Answer("Until ten.")], timeout=20) as server:
            yield server

    def test_few_lines(self, run, langsmith, spool_dir):
        told = example(run, "few_lines.py")
        assert (told.out, told.err) == ("Until ten.\n", "")
        [root] = langsmith.roots
        assert root.status == "success"
        assert [message["content"] for message in root.inputs["messages"]] == [
            "Good morning! Are you open today?"
        ]
        assert list(spool_dir.iterdir()) == []

    def test_beside_the_langsmith_package(self, run, langsmith):
        told = example(run, "beside_langsmith.py", LANGSMITH_TRACING="true")
        assert (told.out, told.err) == ("Until ten.\n", "")
        assert sorted(root.name for root in langsmith.roots) == ["conversation", "summarize"]
        assert {root.status for root in langsmith.roots} == {"success"}
        assert {langsmith.received_count(run.id) for run in langsmith.runs if run.name != "summarize"} == {1}

    def test_under_opentelemetry_instrument_as_well(self, run, langsmith):
        """Nothing is delivered twice where somebody does both."""
        run(str(EXAMPLES / "few_lines.py"))
        assert len(langsmith.roots) == 1
        assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}


class TestTools:
    @pytest.fixture
    def openai(self, request):
        call = FunctionCall(*request.param)
        answers = [Answer(calls=[call]), Answer("There you are.")]
        with OpenAIRealtimeServer.conversational(answers, timeout=20) as server:
            yield server

    @pytest.mark.parametrize("openai", [("look_up_order", {"number": "17"})], indirect=True)
    def test_own_provider(self, run, langsmith):
        told = run(GLOBAL_STAYS.format(example=str(EXAMPLES / "own_provider.py")), instrumented=False)
        assert told.err == ""
        [root] = langsmith.roots
        assert (root.thread_id, root.metadata["service.name"]) == ("caller-42", "order-hotline")
        [call] = [child for child in root.children if child.name == "function_call: look_up_order"]
        assert [child.name for child in call.children] == ["warehouse query"]
        # The other processor saw the same.
        assert '"name": "conversation"' in told.out
        assert '"name": "warehouse query"' in told.out

    @needs("httpx", "opentelemetry.instrumentation.httpx")
    @pytest.mark.parametrize("openai", [("opening_hours", {"day": "today"})], indirect=True)
    def test_httpx_inside_a_tool(self, run, langsmith):
        told = example(run, "httpx_tool.py", SHOP_URL=langsmith.url)
        assert told.err == ""
        [root] = langsmith.roots
        [call] = [child for child in root.children if child.name == "function_call: opening_hours"]
        assert [child.name for child in call.children] == ["GET"]


#: Runs the example, and then looks at what it left global.
GLOBAL_STAYS = """
import runpy
runpy.run_path({example!r}, run_name="__main__")
from opentelemetry import trace
assert type(trace.get_tracer_provider()) is trace.ProxyTracerProvider
"""


class TestFastAPI:
    @pytest.fixture
    def openai(self):
        answer = Answer(transcript="Until ten.", audio=b"\x00\x20\x00\xe0" * 9600)
        with OpenAIRealtimeServer.conversational([answer], timeout=20) as server:
            yield server

    @needs("fastapi", "uvicorn", "opentelemetry.instrumentation.fastapi")
    def test_the_conversation_is_a_trace_of_its_own_with_a_link_back(self, serve, langsmith):
        from websockets.sync.client import connect

        process, port, log = serve(
            *(
                sys.executable,
                "-m",
                "uvicorn",
                "fastapi_links:app",
                "--port",
                "{port}",
                "--log-level",
                "error",
            ),
            instrumented=False,
            PYTHONPATH=os.pathsep.join([str(EXAMPLES), str(Path(__file__).parent / "programs")]),
        )
        with connect(f"ws://127.0.0.1:{port}/call/ann", open_timeout=30) as browser:
            browser.send(base64.b64encode(b"\x00\x20\x00\xe0" * 4800).decode())
            while browser.recv(timeout=30) != "done":
                pass
        langsmith.wait_for(lambda server: server.roots, timeout=30)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        [root] = langsmith.roots
        assert (root.name, root.thread_id, root.status) == ("conversation", "ann", "success")
        assert root.metadata["recording_source"] == "app"
        sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].read()))
        caller, agent = abs(sound).max(axis=0)
        assert min(caller, agent) > 0.01, (caller, agent, len(sound) / rate)
        spans = [json.loads(line[6:]) for line in log.read_text("utf-8").splitlines() if line[:6] == "span: "]
        [conversation] = [span for span in spans if span["name"] == "conversation"]
        [request] = [span for span in spans if span["parent"] is None and span is not conversation]
        assert "fastapi" in request["scope"]
        assert conversation["parent"] is None
        assert conversation["links"] == [[request["trace"], request["id"]]]
        assert conversation["trace"] != request["trace"]
        # What belongs to the request stays with it, and nothing of it is in LangSmith.
        assert {run.name for run in langsmith.runs}.isdisjoint(
            span["name"] for span in spans if "fastapi" in span["scope"]
        )
