"""Zero code in the environments that people have: one library, the other or neither; a distribution; a file.

Each runs in an environment of its own, which `tests/compat/run.py zero-code` makes; VOICESPAN_ENVIRONMENT
says in which we are.
"""

from __future__ import annotations

import json
import os
from importlib import metadata

import pytest

from voicespan.distro.post_instrument import INSTRUMENTORS

HERE = os.environ.get("VOICESPAN_ENVIRONMENT", "plain")

#: A distribution switches these on, and there is nobody to take them.
QUIET = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

INSPECT = """
import json, sys, threading
from opentelemetry import trace

provider = trace.get_tracer_provider()
active = getattr(provider, "_active_span_processor", None)
heavy = ("numpy", "soundfile", "langsmith", "google.genai", "openai")
print(json.dumps({
    "loaded": [name for name in heavy if name in sys.modules],
    "threads": [thread.name for thread in threading.enumerate()],
    "processors": [type(each).__name__ for each in getattr(active, "_span_processors", ())],
}))
"""


def only_in(*environments: str):
    return pytest.mark.skipif(HERE not in environments, reason=f"runs in {' and '.join(environments)}")


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@only_in("only-openai")
@pytest.mark.usefixtures("with_openai", "with_key")
def test_openai_alone(run, langsmith):
    assert not installed("google-genai")
    assert run("openai_agent.py").err == ""
    assert [root.status for root in langsmith.roots] == ["success"]


@only_in("only-gemini")
@pytest.mark.usefixtures("with_gemini", "with_key")
def test_google_genai_alone(run, langsmith):
    assert not installed("openai")
    assert run("gemini_agent.py").lines_of_ours == []
    assert [root.status for root in langsmith.roots] == ["success"]


@only_in("neither")
@pytest.mark.usefixtures("with_key")
def test_neither(run, langsmith, spool_dir):
    assert not installed("openai")
    assert not installed("google-genai")
    told = run(INSPECT)
    assert json.loads(told.out) == {"loaded": [], "threads": ["MainThread"], "processors": []}
    assert (told.err, langsmith.requests, spool_dir.exists()) == ("", [], False)


@only_in("distro")
@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize(
    ("exporter", "theirs"),
    [("none", []), ("console", ["BatchSpanProcessor"]), ("otlp", ["BatchSpanProcessor"])],
)
def test_ours_stands_beside_what_the_distro_made(run, langsmith, spool_dir, exporter, theirs):
    told = json.loads(run(INSPECT, OTEL_TRACES_EXPORTER=exporter, **QUIET).out)
    assert told["processors"] == [*theirs, "AutomaticProcessor"]
    assert told["loaded"] == []
    # One that is not ours exports in the background.
    assert len(told["threads"]) == 1 + len(theirs)
    assert (langsmith.requests, spool_dir.exists()) == ([], False)


@only_in("distro")
@pytest.mark.usefixtures("with_openai", "with_key")
def test_without_exporters_langsmith_has_it(run, langsmith):
    assert run("openai_agent.py", OTEL_TRACES_EXPORTER="none", **QUIET).err == ""
    assert [root.status for root in langsmith.roots] == ["success"]


@pytest.fixture
def backend():
    """Another place where traces go: what the application's own exporter sends to."""
    from voicespan.testing import LangSmithServer

    with LangSmithServer(api_keys=()) as server:
        yield server


def sending_to(backend):
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": backend.traces_url,
        **QUIET,
    }


@only_in("distro")
@pytest.mark.usefixtures("with_openai", "with_key")
def test_both_have_it(run, langsmith, backend):
    assert run("openai_agent.py", **sending_to(backend)).err == ""
    for server in (langsmith, backend):
        assert [(root.name, root.status) for root in server.roots] == [("conversation", "success")]
        assert {server.received_count(each.id) for each in server.runs} == {1}


@only_in("distro")
@pytest.mark.usefixtures("with_openai")
def test_without_a_key_their_exporter_has_it_and_one_line_tells(run, backend, spool_dir):
    told = run("openai_agent.py", **sending_to(backend))
    [line] = told.lines_of_ours
    assert "LANGSMITH_API_KEY" in line
    assert "own span exporters only" in line
    assert [root.name for root in backend.roots] == ["conversation"]
    assert not spool_dir.exists()
    # A process without a conversation says nothing.
    assert run(INSPECT, OTEL_TRACES_EXPORTER="none", **QUIET).err == ""


@only_in("distro")
@pytest.mark.usefixtures("with_openai", "with_key")
@pytest.mark.parametrize(
    "switch",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"VOICESPAN_DISABLED": "true"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(INSTRUMENTORS))},
    ],
    ids=str,
)
def test_switches_under_a_distro(run, langsmith, spool_dir, switch):
    told = run(
        INSPECT + "from openai_agent import call\ncall()\n", OTEL_TRACES_EXPORTER="none", **QUIET, **switch
    )
    assert json.loads(told.out)["processors"] == []
    assert (langsmith.requests, told.err, spool_dir.exists()) == ([], "", False)


@only_in("distro")
@pytest.mark.usefixtures("with_openai", "with_key")
def test_what_the_application_configures_itself_counts_alone(run, langsmith):
    run(
        "import voicespan\nvoicespan.configure(project='mine')\nfrom openai_agent import call\ncall()\n",
        OTEL_TRACES_EXPORTER="none",
        **QUIET,
    )
    assert [root.project for root in langsmith.roots] == ["mine"]
    # The same run in another project would be answered as a duplicate.
    assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}


#: What only the file says is on the conversation's root.
FILE = """
file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: by-the-file
"""
WITH_TRACES = """
tracer_provider:
  processors:
    - simple:
        exporter:
          console: {}
"""


@only_in("configuration-file")
@pytest.mark.usefixtures("with_openai", "with_key")
def test_a_file_with_a_tracer_provider(run, langsmith, tmp_path):
    file = tmp_path / "otel.yaml"
    file.write_text(FILE + WITH_TRACES, encoding="utf-8")
    told = run("openai_agent.py", OTEL_CONFIG_FILE=str(file))
    assert '"name": "conversation"' in told.out
    [root] = langsmith.roots
    assert root.metadata["service.name"] == "by-the-file"


@only_in("configuration-file")
@pytest.mark.usefixtures("with_openai", "with_key")
def test_a_file_without_traces(run, langsmith, tmp_path):
    file = tmp_path / "otel.yaml"
    file.write_text(FILE, encoding="utf-8")
    run("openai_agent.py", OTEL_CONFIG_FILE=str(file))
    assert [root.status for root in langsmith.roots] == ["success"]
