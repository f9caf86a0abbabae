"""Conversations with their recordings through real Collectors: application, agent, gateway, LangSmith."""

from __future__ import annotations

import base64
import signal

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
    entry = gateway()
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
