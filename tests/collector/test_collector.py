"""Conversations with their recordings through real Collectors: application, agent, gateway, LangSmith."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor


def all_whole(server, application):
    roots = server.roots
    return len(roots) == len(application.recordings) and all(application.is_whole(root) for root in roots)


def test_a_conversation_through_agent_and_gateway(gateway, agent, application, langsmith, backend):
    app = application(agent(gateway()))
    call = app.converse()
    assert app.deliver()
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=30)
    [root] = langsmith.roots
    assert (root.id, root.project) == (call.run_id, "voices")
    assert root.metadata["ls_audio_attach_status"] == "attached"
    assert {langsmith.received_count(run.id) for run in langsmith.runs} == {1}
    assert backend.requests == []


def send_span(collector):
    """What the application's own exporter does."""
    own = TracerProvider(shutdown_on_exit=False)
    own.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")))
    own.get_tracer("the-app").start_span("a web request").end()
    own.shutdown()


def test_everything_else_goes_where_it_went_before(gateway, agent, application, langsmith, backend):
    through = agent(gateway())
    app = application(through)
    send_span(through)
    check_both(app, langsmith, backend)


def test_an_existing_collector_with_the_lines_of_the_diff(patched, gateway, application, langsmith, backend):
    existing = gateway(base=patched, pipeline="traces")
    app = application(existing)
    send_span(existing)
    check_both(app, langsmith, backend)


def check_both(app, langsmith, backend):
    app.converse()
    assert app.deliver()
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=30)
    backend.wait_for(lambda server: server.roots, timeout=30)
    assert [run.name for run in backend.runs] == ["a web request"]
    assert [root.name for root in langsmith.roots] == ["conversation"]


def test_a_recording_larger_than_what_receivers_take_by_default(gateway, agent, application, langsmith):
    app = application(agent(gateway()))
    app.converse(recording=40_000_000)
    assert app.deliver()
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=50)


@pytest.mark.timeout(600)
def test_a_hundred_through_a_gateway_that_dies_and_an_outage_behind_it(
    gateway, agent, application, langsmith, tmp_path
):
    langsmith.down()
    entry = gateway("gateway-queue.yaml")
    app = application(agent(entry))
    for _ in range(100):
        app.converse()
    assert app.deliver()
    # LangSmith has none of it yet, and the application nothing any more: it is on the gateway's disk.
    assert list((tmp_path / "spool").iterdir()) == []
    assert langsmith.roots == []
    entry.stop(signal.SIGKILL)
    entry.start()
    langsmith.up()
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=120)
    assert len(langsmith.roots) == 100


@pytest.mark.timeout(600)
def test_what_the_gateway_could_not_take_waits_in_the_application(
    gateway, agent, application, langsmith, tmp_path
):
    entry = gateway()
    app = application(agent(entry))
    entry.stop()
    for _ in range(10):
        app.converse()
    assert not app.deliver(seconds=2)
    assert len(list((tmp_path / "spool").iterdir())) == 10
    entry.start()
    assert app.deliver(seconds=60)
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=30)


@pytest.mark.timeout(600)
def test_a_wrong_key_of_the_gateway_loses_nothing(either_gateway, agent, application, langsmith, caplog):
    entry = either_gateway(key="lsv2_pt_mistyped")
    app = application(agent(entry))
    for _ in range(3):
        app.converse()
    assert not app.deliver(seconds=2)
    assert len(app.waiting) == 3
    # In the application's log stands whose key it is, and which server would not take it.
    assert f"the Collector at {app.processor.destination.url} has no valid key for LangSmith" in caplog.text
    assert f"(401: {langsmith.traces_url} answered 401)" in caplog.text
    entry.stop()
    entry.start(LANGSMITH_API_KEY=langsmith.api_key)
    assert app.deliver(seconds=60)
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=30)
    assert len(langsmith.roots) == 3


def test_a_queue_loses_what_a_wrong_key_is_refused_for(gateway, application, langsmith):
    """As docs/collector.md says: the exporter drops it, and no option of it helps."""
    entry = gateway("gateway-queue.yaml", key="lsv2_pt_mistyped")
    app = application(entry)
    app.converse()
    assert app.deliver()
    langsmith.wait_for(lambda server: len(server.requests) >= 2, timeout=30)
    entry.stop()
    assert "Dropping data" in entry.log
    assert "HTTP Status Code 401" in entry.log


@pytest.mark.timeout(600)
def test_with_nginx_behind_it_a_queue_keeps_what_a_wrong_key_is_refused_for(
    gateway, keeper, application, langsmith
):
    entry = gateway("gateway-queue.yaml", key="lsv2_pt_mistyped", endpoint=keeper)
    app = application(entry)
    app.converse()
    assert app.deliver()
    assert app.waiting == []
    langsmith.wait_for(lambda server: len(server.requests) >= 2, timeout=30)
    entry.stop()
    assert "HTTP Status Code 503" in entry.log
    assert "Permanent error" not in entry.log
    entry.start(LANGSMITH_API_KEY=langsmith.api_key)
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=60)


@pytest.mark.parametrize("status", [413, 422])
def test_what_langsmith_does_not_take_is_mended_where_it_came_from(
    gateway, agent, application, langsmith, status
):
    app = application(agent(gateway()))
    call = app.converse(recording=300_000)
    langsmith.fail(status=status, match=lambda request: request.length > 200_000, times=None)
    assert app.deliver()
    [root] = langsmith.roots
    assert (root.id, root.attachments) == (call.run_id, {})
    assert [child.name for child in root.children] == ["turn_complete"]


def test_what_langsmith_has_already_is_delivered(gateway, agent, application, langsmith):
    app = application(agent(gateway()))
    app.converse()
    # It is taken and the answer is wrong; the second time LangSmith says 409, of which a Collector makes 500.
    langsmith.fail(status=500, stored=True, times=2)
    assert app.deliver()
    assert app.waiting == []
    assert all_whole(langsmith, app)


@pytest.mark.parametrize("key", ["right", "wrong"])
def test_the_doctor_sends_a_conversation_the_whole_way(gateway, agent, application, langsmith, key):
    # For the environment that it makes.
    application(agent(gateway(key=None if key == "right" else "lsv2_pt_mistyped")))
    command = [sys.executable, "-m", "voicespan.cli.main", "doctor", "--send", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    told = {each["check"]: each for each in json.loads(found.stdout)["findings"]}
    sent = told["send.conversation"]
    if key == "right":
        assert [each for each in told.values() if each["mark"] == "problem"] == []
        assert (found.returncode, sent["mark"]) == (0, "ok")
        [root] = langsmith.roots
        assert (root.id, root.name) == (sent["facts"]["run_id"], "voicespan doctor")
        assert root.attachments
    else:
        assert (found.returncode, sent["mark"]) == (1, "problem")
        assert f"{langsmith.traces_url} answered 401" in sent["text"]
        assert langsmith.roots == []


def test_redaction_spares_the_recording_and_what_holds_the_tree_together(gateway, application, langsmith):
    app = application(gateway("redaction.yaml"))
    words = '{"messages": [{"role": "user", "content": "4111 1111 1111 1111, ann@example.org"}]}'
    # As digits look in base64, between characters that end a number.
    sound = base64.b64decode("+/+/4111111111111111+/+/") * 1000
    app.converse(sound=sound, thread_id="4111-1111-1111-1111", **{"gen_ai.prompt": words})
    assert app.deliver()
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=30)
    [root] = langsmith.roots
    [turn] = root.children
    assert turn.inputs == {"messages": [{"role": "user", "content": "****, ****"}]}
    assert turn.thread_id == root.thread_id == "4111-1111-1111-1111"


#: Instead of a name that resolves to all of them.
STATIC = """
exporters:
  load_balancing/conversations:
    resolver:
      dns: null
      static: {{hostnames: ["127.0.0.1:{first}", "127.0.0.1:{second}"]}}
"""


@pytest.mark.timeout(600)
def test_with_several_gateways_a_trace_goes_through_one(collector, gateway, application, langsmith):
    first, second = gateway(name="first", project="first"), gateway(name="second", project="second")
    balanced = collector(
        "agent",
        "agent.yaml",
        "agent-balanced.yaml",
        overlay=STATIC.format(first=first.grpc, second=second.grpc),
    )
    app = application(balanced)
    for _ in range(20):
        app.converse()
    assert app.deliver()
    langsmith.wait_for(lambda server: all_whole(server, app), timeout=60)
    # Each names the project for what it passes on.
    assert {root.project for root in langsmith.roots} == {"first", "second"}
    assert all(child.project == root.project for root in langsmith.roots for child in root.children)
    assert {langsmith.received_count(run.id) for run in langsmith.runs} == {1}
