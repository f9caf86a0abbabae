"""`pip install voicespan`, a key, `opentelemetry-instrument python agent.py`: what the hook does, and when."""

from __future__ import annotations

import json

import pytest

from voicespan.distro import post_instrument
from voicespan.runtime import environment_variables

#: Says, as the application's first words, what this process is like.
INSPECT = """
import json, sys, threading
from opentelemetry import trace

heavy = ("numpy", "soundfile", "requests", "langsmith", "google", "openai", "opentelemetry.sdk")
print(json.dumps({
    "loaded": [name for name in heavy if name in sys.modules],
    "threads": threading.active_count(),
    "provider": type(trace.get_tracer_provider()).__name__,
}))
"""


@pytest.mark.usefixtures("with_openai", "with_key")
def test_a_key_is_all_it_takes(run, langsmith, spool_dir):
    finished = run("openai_agent.py")
    [root] = langsmith.roots
    assert (root.name, root.status, root.metadata["ls_provider"]) == ("conversation", "success", "openai")
    assert "turn_complete" in [child.name for child in root.children]
    assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}
    assert (finished.err, list(spool_dir.iterdir())) == ("", [])


@pytest.mark.usefixtures("with_gemini", "with_key")
def test_on_gemini_live_too(run, langsmith):
    assert run("gemini_agent.py").lines_of_ours == []
    [root] = langsmith.roots
    assert (root.status, root.metadata["ls_provider"]) == ("success", "gcp.gemini")
    assert "turn_complete" in [child.name for child in root.children]


@pytest.mark.usefixtures("with_openai_live", "with_key")
def test_on_openai_live_too(run, langsmith):
    assert run("openai_live_agent.py").lines_of_ours == []
    [root] = langsmith.roots
    assert (root.status, root.metadata["ls_provider"]) == ("success", "openai")
    assert root.metadata["usage_seconds"] == 1.0
    assert "session.started" in [child.name for child in root.children]


@pytest.mark.usefixtures("with_openai")
def test_a_collector_needs_no_key(run, environ, spool_dir):
    from voicespan.testing import LangSmithServer

    with LangSmithServer(api_keys=()) as collector:
        environ["VOICESPAN_ENDPOINT"] = collector.traces_url
        run("openai_agent.py")
        [root] = collector.roots
    assert root.status == "success"
    assert list(spool_dir.iterdir()) == []


@pytest.mark.usefixtures("with_key")
def test_a_process_without_a_conversation_pays_nothing(run, spool_dir):
    told = run(INSPECT)
    assert json.loads(told.out) == {"loaded": [], "threads": 1, "provider": "ProxyTracerProvider"}
    assert told.err == ""
    assert not spool_dir.exists()


@pytest.mark.usefixtures("with_openai")
def test_without_a_key_the_calls_are_kept_and_one_line_tells(run, spool_dir):
    kept = spool_dir.parent / "kept"
    told = run("from openai_agent import call\ncall()\ncall()\n", XDG_DATA_HOME=str(kept))
    [line] = told.lines_of_ours
    assert "no LangSmith key" in line
    assert str(kept / "voicespan" / "calls") in line
    assert not spool_dir.exists()
    assert all((call / "spans.jsonl").exists() for call in (kept / "voicespan" / "calls").iterdir())
    assert len(list((kept / "voicespan" / "calls").iterdir())) == 2
    # Nor does a process say anything that has nothing to tell of.
    assert run(INSPECT).err == ""


@pytest.mark.usefixtures("with_openai")
def test_without_a_key_the_spans_go_to_the_applications_own_exporters(run):
    told = run(OWN_PROVIDER)
    [line] = told.lines_of_ours
    assert "own span exporters only" in line
    assert "conversation" in json.loads(told.out)


@pytest.mark.usefixtures("with_openai", "with_key")
@pytest.mark.parametrize(
    "mistake",
    [
        {"LANGSMITH_ENDPOINT": "ftp://somewhere"},
        {"VOICESPAN_ENDPOINT": "a collector"},
        {"VOICESPAN_ENDPOINT": "http://collector.example.com:4318/v1/traces"},
        {"LANGSMITH_ENDPOINT": "http://langsmith.example.com"},
        {"LANGSMITH_API_KEY": "two\nlines"},
        {"LANGSMITH_TRACING_SAMPLING_RATE": "half"},
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_used_is_said_once_and_the_call_is_held(run, openai, mistake):
    [line] = run("from openai_agent import call\ncall()\ncall()\n", **mistake).lines_of_ours
    assert line.startswith("Conversations are not traced: ")
    assert len(openai.connections) == 2


#: The application has a provider of its own, as without `opentelemetry-instrument`.
OWN_PROVIDER = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
from openai_agent import call
call()
call()
assert trace.get_tracer_provider() is provider
print(json.dumps([span.name for span in exporter.get_finished_spans()]))
"""


@pytest.mark.usefixtures("with_openai", "with_key")
def test_a_provider_that_the_application_sets_itself_is_joined(run, langsmith):
    told = run(OWN_PROVIDER)
    assert [root.name for root in langsmith.roots] == ["conversation"] * 2
    assert json.loads(told.out).count("conversation") == 2
    assert told.err == ""


@pytest.mark.usefixtures("with_openai")
def test_a_key_that_the_script_sets_itself(run, langsmith):
    """As `load_dotenv()` does, long after the hook has run."""
    told = run(
        f"""
import os
os.environ |= {{"LANGSMITH_API_KEY": {langsmith.api_key!r}, "LANGSMITH_ENDPOINT": {langsmith.url!r}}}
from openai_agent import call
call()
"""
    )
    assert len(langsmith.roots) == 1
    assert told.err == ""


@pytest.mark.usefixtures("with_openai", "with_key")
def test_what_the_application_configures_itself_counts_alone(run, langsmith):
    run("import voicespan\nvoicespan.configure(project='mine')\nfrom openai_agent import call\ncall()\n")
    assert [root.project for root in langsmith.roots] == ["mine"]
    # The same run in another project would be answered as a duplicate.
    assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}


@pytest.mark.usefixtures("with_openai", "with_key")
@pytest.mark.parametrize(
    "switch",
    [
        {"VOICESPAN_DISABLED": "1"},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai-realtime, google-genai-live"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai-realtime"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"LANGSMITH_TRACING": "false"},
    ],
    ids=str,
)
def test_switches(run, langsmith, openai, switch, spool_dir):
    told = run("openai_agent.py", **switch)
    assert len(openai.connections) == 1
    assert (langsmith.requests, told.err) == ([], "")
    assert not spool_dir.exists()


@pytest.mark.usefixtures("with_openai", "with_key")
@pytest.mark.parametrize("switch", ["VOICESPAN_DISABLED", "OTEL_SDK_DISABLED"])
def test_switches_count_for_what_the_application_configures_as_well(run, langsmith, switch, spool_dir):
    code = "import voicespan\nvoicespan.configure()\nfrom openai_agent import call\ncall()\n"
    assert run(code, instrumented=False, **{switch: "true"}).err == ""
    assert langsmith.requests == []
    assert not spool_dir.exists()


@pytest.mark.usefixtures("with_openai", "with_key")
def test_one_of_the_two_instrumentors_disabled(run, langsmith):
    run("openai_agent.py", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="google-genai-live")
    assert len(langsmith.roots) == 1


@pytest.mark.usefixtures("with_openai", "with_key")
def test_the_provider_that_is_built_knows_the_variables_of_opentelemetry(run, langsmith):
    run("openai_agent.py", OTEL_SERVICE_NAME="hotline", OTEL_RESOURCE_ATTRIBUTES="deployment=green")
    [root] = langsmith.roots
    assert (root.metadata["service.name"], root.metadata["deployment"]) == ("hotline", "green")


@pytest.mark.usefixtures("with_openai", "with_key")
def test_many_first_conversations_make_one_provider(run, langsmith):
    run(
        """
import threading
from openai_agent import call
together = threading.Barrier(8)
threads = [threading.Thread(target=lambda: (together.wait(), call())) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    assert len(langsmith.roots) == 8
    assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}


@pytest.mark.usefixtures("with_openai", "with_key")
def test_started_from_code(run, langsmith):
    """As the documentation of OpenTelemetry starts it where no command can be put in front."""
    run(
        """
from opentelemetry.instrumentation.auto_instrumentation import initialize
initialize()
initialize()
from openai_agent import call
call()
""",
        instrumented=False,
    )
    assert len(langsmith.roots) == 1
    assert {langsmith.received_count(each.id) for each in langsmith.runs} == {1}


@pytest.mark.usefixtures("with_openai", "with_key")
def test_a_child_process_sets_itself_up(run, langsmith):
    run(
        """
import subprocess, sys
subprocess.run([sys.executable, "-c", "from openai_agent import call; call()"], check=True)
"""
    )
    assert len(langsmith.roots) == 1


#: A person at the terminal, who has talked enough.
ENDED_BY_CTRL_C = """
import os, signal
from openai import OpenAI

try:
    with OpenAI().realtime.connect(model="gpt-realtime") as connection:
        connection.response.create()
        for event in connection:
            if event.type == "response.done":
                os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass
"""


@pytest.mark.usefixtures("with_openai", "with_key")
def test_ended_by_ctrl_c(run, langsmith, spool_dir):
    run(ENDED_BY_CTRL_C)
    [root] = langsmith.roots
    assert "turn_complete" in [child.name for child in root.children]
    assert list(spool_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("disabled", "wanted"),
    [
        ("", True),
        ("openai, requests", True),
        ("openai-realtime", True),
        ("openai-realtime,google-genai-live,openai-live", True),
        (",".join(post_instrument.INSTRUMENTORS), False),
        (" , ".join(["flask", *post_instrument.INSTRUMENTORS, " "]), False),
        ("*", False),
        ("flask,*", False),
    ],
)
def test_nothing_of_ours_runs_where_all_instrumentors_are_disabled(disabled, wanted):
    assert post_instrument.is_wanted({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled}) is wanted


def test_the_variables_are_those_that_are_read():
    import re
    from pathlib import Path

    source = Path(post_instrument.__file__).parents[1]
    read = {
        name
        for path in source.glob("**/*.py")
        if path.name != "environment_variables.py"
        for name in re.findall(r"\"(VOICESPAN_[A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    listed = {name for name in vars(environment_variables) if name.startswith("VOICESPAN_")}
    assert listed == read
    assert all(getattr(environment_variables, name) == name for name in listed)


#: What an application imports at its top; what its first call imports then is on the event loop.
FIRST_CALL = """
import json, sys
from openai_agent import call
before = set(sys.modules)
call()
new = set(sys.modules) - before
print(json.dumps(sorted(name for name in new if name.split(".")[0] in ("voicespan", "opentelemetry", "requests"))))
"""


@pytest.mark.usefixtures("with_openai", "with_key")
def test_the_first_call_imports_nothing_of_ours(run, langsmith):
    told = run(FIRST_CALL)
    assert len(langsmith.roots) == 1
    assert json.loads(told.out) == [], json.loads(told.out)


#: The same where there is no SDK, only a socket.
FIRST_SOCKET_CALL = """
import json, os, sys
from websockets.sync.client import connect
before = set(sys.modules)
with connect(os.environ["AGENT_URL"]) as socket:
    socket.send('{"type": "response.create"}')
    for message in socket:
        if json.loads(message)["type"] == "response.done":
            break
new = set(sys.modules) - before
print(json.dumps(sorted(name for name in new if name.split(".")[0] in ("voicespan", "opentelemetry", "requests"))))
"""


@pytest.mark.usefixtures("with_key")
def test_nor_does_the_first_call_over_a_socket(run, openai, langsmith):
    """It held the event loop for as long as importing all of it took."""
    told = run(
        FIRST_SOCKET_CALL,
        AGENT_URL=f"{openai.url}/v1/realtime?model=gpt-realtime",
        VOICESPAN_SOCKETS="127.0.0.1/v1/realtime=openai-realtime",
    )
    assert len(langsmith.roots) == 1
    assert json.loads(told.out) == [], json.loads(told.out)


#: The same with a client that most import for HTTP: what it needs is imported beside the event loop.
FIRST_AIOHTTP_CALL = """
import asyncio, json, os, sys, threading
import aiohttp

imported = []

class Noting:
    @staticmethod
    def find_spec(name, *_):
        imported.append((name.split(".")[0], threading.current_thread().name))

async def main():
    async with aiohttp.ClientSession() as session:
        sys.meta_path.insert(0, Noting)
        async with session.ws_connect(os.environ["AGENT_URL"]) as socket:
            await socket.send_str('{"type": "response.create"}')
            async for message in socket:
                if json.loads(message.data)["type"] == "response.done":
                    break
        sys.meta_path.remove(Noting)

asyncio.run(main())
print(json.dumps(sorted({each for each in imported if each[0] in ("voicespan", "opentelemetry", "requests")})))
"""


@pytest.mark.usefixtures("with_key")
def test_the_first_call_over_aiohttp_holds_no_event_loop(run, openai, langsmith):
    told = run(
        FIRST_AIOHTTP_CALL,
        AGENT_URL=f"{openai.url}/v1/realtime?model=gpt-realtime",
        VOICESPAN_SOCKETS="127.0.0.1/v1/realtime=openai-realtime",
    )
    assert len(langsmith.roots) == 1
    threads = {thread for _, thread in json.loads(told.out)}
    assert "voicespan-load" in threads
    assert "MainThread" not in threads, json.loads(told.out)
