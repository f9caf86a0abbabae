"""`opentelemetry-instrument python app.py`: real processes, in the environments that people have.

What is in an environment decides what the loader does, so most of these run in environments of their own,
which `tests/compat/run.py zero-code` makes; VOICESPAN_ENVIRONMENT says in which we are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from voicespan.testing.openai_realtime import Send

HERE = os.environ.get("VOICESPAN_ENVIRONMENT", "plain")

CREATED = {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "id": "sess_1"}}

#: No word of tracing: the code of somebody who was only told how to start it.
SPEAK = """
import asyncio, sys
import openai

async def speak(client):
    async with client.realtime.connect(model="gpt-realtime") as connection:
        assert (await connection.recv()).type == "session.created"

options = {"api_key": "a-key-for-tests", "websocket_base_url": sys.argv[1]}
with openai.OpenAI(**options).realtime.connect(model="gpt-realtime") as connection:
    assert connection.recv().type == "session.created"
asyncio.run(speak(openai.AsyncOpenAI(**options)))
"""
#: The same by somebody who sets up tracing, after the instrumentors have been loaded.
WITH_A_PROVIDER = f"""
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
{SPEAK}
print(json.dumps(sorted(span.name for span in exporter.get_finished_spans())))
"""


def only_in(environment: str):
    return pytest.mark.skipif(environment != HERE, reason=f"runs in the environment {environment!r}")


@pytest.fixture
def start(tmp_path):
    """Starts a program under `opentelemetry-instrument`, in an environment that has nothing set."""

    def start(program: str, *arguments: str, **environ: str) -> str:
        app = tmp_path / "app.py"
        app.write_text(program, encoding="utf-8")
        command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(app)]
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        result = subprocess.run(
            [*command, *arguments],
            env=clean | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert result.returncode == 0, result.stderr
        # The loader reports what goes wrong and lets the application start.
        assert "Traceback" not in result.stderr
        assert "failed" not in result.stderr.lower()
        return result.stdout

    return start


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@only_in("plain")
def test_without_a_distro(start, openai_realtime_server):
    assert not installed("opentelemetry-distro")
    server = openai_realtime_server([Send(CREATED)])
    names = json.loads(start(WITH_A_PROVIDER, server.url))
    assert names == ["conversation", "conversation", "session.created", "session.created"]


@only_in("plain")
def test_switched_off_by_its_name(start, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    names = start(WITH_A_PROVIDER, server.url, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="openai-realtime")
    assert json.loads(names) == []
    assert len(server.connections) == 2


@only_in("plain")
def test_the_sdk_disabled(start, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    assert json.loads(start(WITH_A_PROVIDER, server.url, OTEL_SDK_DISABLED="true")) == []
    assert len(server.connections) == 2


@only_in("distro")
@pytest.mark.parametrize("protocol", ["http/protobuf"])
def test_a_distro_and_its_own_exporter(protocol, start, openai_realtime_server, langsmith_server):
    server = openai_realtime_server([Send(CREATED)])
    start(
        SPEAK,
        server.url,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=langsmith_server.traces_url,
        OTEL_EXPORTER_OTLP_HEADERS=f"x-api-key={langsmith_server.api_key}",
    )
    assert [(root.name, root.status) for root in langsmith_server.roots] == [("conversation", "success")] * 2
    assert [[child.name for child in root.children] for root in langsmith_server.roots] == [
        ["session.created"]
    ] * 2
    assert langsmith_server.waiting == []


@only_in("distro")
@pytest.mark.parametrize(
    "switch",
    [{"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai-realtime"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=str,
)
def test_a_distro_and_a_switch(switch, start, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    exporters = {
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_TRACES_EXPORTER": "console",
    }
    assert start(SPEAK, server.url, **exporters, **switch) == ""
    assert len(server.connections) == 2
    # And without the switch it would have said something.
    assert '"name": "conversation"' in start(SPEAK, server.url, **exporters)


#: Asks for a page with the standard library, and says what was traced and what was loaded.
ANOTHER_LIBRARY = """
import json, sys, urllib.request
from importlib.metadata import entry_points
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
try:
    urllib.request.urlopen(sys.argv[1])
except OSError:
    pass
loaded = {
    entry.name: entry.load()().is_instrumented_by_opentelemetry
    for entry in entry_points(group="opentelemetry_instrumentor")
}
print(json.dumps({
    "spans": len(exporter.get_finished_spans()),
    "loaded": loaded,
    "imported": sorted(name for name in ("openai", "google.genai", "websockets") if name in sys.modules),
}))
"""


@only_in("without-openai")
def test_no_library_of_ours_and_another_one(start, langsmith_server):
    assert not installed("openai")
    quiet = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none")
    told = json.loads(start(ANOTHER_LIBRARY, langsmith_server.url, **quiet))
    assert told["spans"] == 1
    assert {"openai-realtime", "urllib", "requests"} <= told["loaded"].keys()
    assert all(told["loaded"].values())
    assert told["imported"] == []
