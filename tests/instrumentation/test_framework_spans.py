"""A framework's own spans, inside and outside of a conversation."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from voicespan.instrumentation.framework_spans import FrameworkTracer, within_framework
from voicespan.livekit.cloud import cloud_tracer
from voicespan.tracing.conversation import Conversation


@pytest.fixture
def conversation(tracer_provider):
    conversation = Conversation(scoped=True, tracer_provider=tracer_provider)
    with conversation.use():
        yield conversation


def framework(provider, tracer_provider):
    return FrameworkTracer(provider.get_tracer("framework"), lambda: tracer_provider.get_tracer("voicespan"))


def names_and_parents(spans):
    names = {span.context.span_id: span.name for span in spans}
    return {span.name: names.get(span.parent.span_id) if span.parent else None for span in spans}


def test_what_nests_in_them_nests_where_they_would_have_stood(conversation, tracer_provider, span_exporter):
    tracer = framework(tracer_provider, tracer_provider)
    application = tracer_provider.get_tracer("application")
    with tracer.start_as_current_span("agent_turn") as turn:
        assert not turn.is_recording()
        with tracer.start_as_current_span("function_tool"):
            with application.start_as_current_span("look up"), tracer.start_as_current_span("request"):
                application.start_span("query").end()
    conversation.end()
    assert names_and_parents(span_exporter.get_finished_spans()) == {
        "query": "look up",
        "look up": "conversation",
        "conversation": None,
    }


def test_its_own_exporter_gets_them_as_before(conversation, tracer_provider, span_exporter):
    exporter = InMemorySpanExporter()
    elsewhere = TracerProvider()
    elsewhere.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = framework(elsewhere, tracer_provider)
    with tracer.start_as_current_span("agent_session", attributes={"a": 1}) as outer:
        outer.set_attribute("b", 2)
        context = trace.set_span_in_context(outer)
        inner = tracer.start_span("agent_turn", context=context)
        tracer_provider.get_tracer("application").start_span("look up", context=context).end()
        inner.end()
    conversation.end()
    assert names_and_parents(exporter.get_finished_spans()) == {
        "agent_turn": "agent_session",
        "agent_session": None,
    }
    assert dict(exporter.get_finished_spans()[-1].attributes) == {"a": 1, "b": 2}
    assert names_and_parents(span_exporter.get_finished_spans())["look up"] == "conversation"


def test_its_own_exporter_keeps_its_parents_across_our_spans(conversation, tracer_provider, span_exporter):
    exporter = InMemorySpanExporter()
    elsewhere = TracerProvider()
    elsewhere.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = framework(elsewhere, tracer_provider)
    stage = conversation.llm(model="m").start()
    with (
        tracer.start_as_current_span("llm_node"),
        conversation.context.attached(within_framework(stage.span)),
    ):
        tracer.start_span("llm_request").end()
        tracer_provider.get_tracer("application").start_span("POST").end()
    stage.end()
    conversation.end()
    assert names_and_parents(exporter.get_finished_spans()) == {"llm_request": "llm_node", "llm_node": None}
    assert names_and_parents(span_exporter.get_finished_spans())["POST"] == "llm"


def test_an_exception_in_one_is_recorded_by_its_own_exporter(conversation, tracer_provider):
    exporter = InMemorySpanExporter()
    elsewhere = TracerProvider()
    elsewhere.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = framework(elsewhere, tracer_provider)
    with pytest.raises(ValueError, match="no"), tracer.start_as_current_span("llm_node"):
        raise ValueError("no")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert [event.name for event in span.events] == ["exception"]


def test_outside_of_a_conversation_nothing_is_changed(tracer_provider, span_exporter):
    tracer = framework(tracer_provider, tracer_provider)
    with tracer.start_as_current_span("job_entrypoint"):
        tracer.start_span("room_connect").end()
    assert names_and_parents(span_exporter.get_finished_spans()) == {
        "room_connect": "job_entrypoint",
        "job_entrypoint": None,
    }


def test_livekit_clouds_exporter_on_our_provider_gets_them_and_nobody_else(
    conversation, tracer_provider, span_exporter
):
    exporter = type(
        "_GatedSpanExporter", (InMemorySpanExporter,), {"__module__": "livekit.agents.telemetry"}
    )()
    batch = BatchSpanProcessor(exporter)
    tracer_provider.add_span_processor(batch)
    tracer = FrameworkTracer(
        tracer_provider.get_tracer("livekit-agents"),
        lambda: tracer_provider.get_tracer("voicespan"),
        cloud_tracer,
    )
    with tracer.start_as_current_span("agent_session"):
        tracer.start_span("agent_turn").end()
        tracer_provider.get_tracer("application").start_span("look up").end()
    conversation.end()
    batch.force_flush()
    livekits = [span for span in exporter.get_finished_spans() if span.name.startswith("agent_")]
    assert names_and_parents(livekits) == {"agent_turn": "agent_session", "agent_session": None}
    assert names_and_parents(span_exporter.get_finished_spans()) == {
        "look up": "conversation",
        "conversation": None,
    }


async def test_as_a_decorator_of_a_coroutine(conversation, tracer_provider):
    tracer = framework(tracer_provider, tracer_provider)

    @tracer.start_as_current_span("llm_node")
    async def node():
        return trace.get_current_span()

    current = await node()
    assert not current.is_recording()
    assert current.get_span_context().trace_id == int(conversation.trace_id, 16)


def test_when_it_is_not_instrumented_any_more(conversation, tracer_provider, span_exporter):
    tracer = FrameworkTracer(tracer_provider.get_tracer("framework"), lambda: None)
    tracer.start_span("agent_turn").end()
    assert [span.name for span in span_exporter.get_finished_spans()] == ["agent_turn"]
