"""Which attribute of a span decides what about its run, and which wins."""

from __future__ import annotations

import json

import pytest
from otlp_requests import START_NS, Spans, post

from voicespan.testing import LangSmithServer

USER = {"role": "user", "content": "hello"}
AGENT = {"role": "assistant", "content": "hi"}


@pytest.fixture(scope="module")
def shared_server():
    with LangSmithServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared_spans():
    return Spans(resource={"service.name": "shop"})


@pytest.fixture
def run(shared_server, shared_spans):
    """The run that LangSmith makes of a span."""

    def run_of(attributes=None, *, name="the span", events=(), parent=None, **request_headers):
        span = shared_spans.make(name, attributes, events=events, parent=parent)
        assert post(shared_server, span, **request_headers).status_code == 200
        return next(run for run in shared_server.runs if run.otel_span_id == f"{span.context.span_id:016x}")

    return run_of


@pytest.mark.parametrize(
    ("attributes", "run_type"),
    [
        ({}, "chain"),
        ({"langsmith.span.kind": "LLM"}, "llm"),
        ({"langsmith.span.kind": "parser"}, "parser"),
        ({"langsmith.span.kind": "no such kind"}, "chain"),
        # Present is present: the unknown value does not let the next attribute decide.
        ({"langsmith.span.kind": "no such kind", "gen_ai.operation.name": "chat"}, "chain"),
        ({"langsmith.span.kind": "retriever", "gen_ai.operation.name": "chat"}, "retriever"),
        ({"gen_ai.operation.name": "chat", "llm.request.type": "embedding"}, "llm"),
        ({"gen_ai.operation.name": "embedding"}, "embedding"),
        ({"gen_ai.operation.name": "execute_tool", "traceloop.span.kind": "llm"}, "chain"),
        ({"llm.request.type": "chat", "openinference.span.kind": "TOOL"}, "llm"),
        ({"openinference.span.kind": "TOOL", "traceloop.span.kind": "llm"}, "tool"),
        ({"traceloop.span.kind": "workflow"}, "chain"),
        # Forced, whatever was asked for.
        ({"langsmith.span.kind": "chain", "gen_ai.tool.name": "get_weather"}, "tool"),
        ({"langsmith.span.kind": "llm", "llm.prompt_template.variables": "{}"}, "prompt"),
    ],
)
def test_run_type(run, attributes, run_type):
    assert run(attributes).run_type == run_type


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "the span"),
        ({"tool.name": "tool"}, "the span"),
        ({"tool.name": "tool", "openinference.span.kind": "TOOL"}, "tool"),
        (
            {"tool.name": "tool", "openinference.span.kind": "TOOL", "traceloop.entity.name": "entity"},
            "entity",
        ),
        ({"traceloop.entity.name": "entity", "langsmith.trace.name": "trace"}, "trace"),
    ],
)
def test_name(run, attributes, name):
    assert run(attributes).name == name


@pytest.mark.parametrize(
    ("attributes", "events", "inputs"),
    [
        ({"gen_ai.prompt": "hello"}, (), {"input": "hello"}),
        ({"gen_ai.prompt": '["no", "object"]'}, (), {"input": '["no", "object"]'}),
        ({"gen_ai.prompt": "{}"}, (), {}),
        ({"gen_ai.prompt": json.dumps({"messages": [USER]})}, (), {"messages": [USER]}),
        ({"prompt": "p", "gen_ai.prompt": "g"}, (), {"input": "g"}),
        ({"gen_ai.prompt": "g", "traceloop.entity.input": "t"}, (), {"input": "t"}),
        ({"traceloop.entity.input": "t", "input.value": "i"}, (), {"input": "i"}),
        (
            {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hello", "input.value": "i"},
            (),
            {"messages": [USER]},
        ),
        ({"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hello"}, (),
         {"messages": [USER]}),
        ({"gen_ai.input.messages": json.dumps([USER]), "gen_ai.prompt": "g"}, (), {"messages": [USER]}),
        # An event hides every attribute.
        ({"gen_ai.prompt": "hidden"}, [("gen_ai.user.message", USER)], {"messages": [USER]}),
        ({}, [("gen_ai.system.message", {"content": "be brief"}), ("gen_ai.user.message", USER)],
         {"messages": [{"content": "be brief"}, USER]}),
        ({}, [("gen_ai.user.message", {"gen_ai.event.content": json.dumps(USER)})], {"messages": [USER]}),
        ({}, [("gen_ai.content.prompt", {"gen_ai.prompt": "asked"})], {"input": "asked"}),
        ({"events": json.dumps([{"event.name": "gen_ai.user.message", **USER}])}, (),
         {"input": [{"event.name": "gen_ai.user.message", **USER}]}),
        ({"langsmith.span.kind": "retriever", "input.value": "what?"}, (), {"query": "what?"}),
        ({"an.attribute": "nobody knows"}, [("an event", {"content": "unknown"})], {}),
    ],
)  # fmt: skip
def test_inputs(run, attributes, events, inputs):
    assert run(attributes, events=events).inputs == inputs


@pytest.mark.parametrize(
    ("attributes", "events", "outputs"),
    [
        ({"gen_ai.completion": "hi"}, (), {"text": "hi"}),
        ({"gen_ai.completion": json.dumps({"messages": [AGENT]})}, (), {"messages": [AGENT]}),
        ({"gen_ai.completion": "g", "traceloop.entity.output": "t"}, (), {"text": "t"}),
        ({"traceloop.entity.output": "t", "output.value": "o"}, (), {"text": "o"}),
        ({"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hi", "output.value": "o"}, (),
         {"messages": [AGENT]}),
        ({"gen_ai.output.messages": json.dumps([AGENT]), "output.value": "o"}, (), {"messages": [AGENT]}),
        ({"gen_ai.completion": "hidden"}, [("gen_ai.assistant.message", AGENT)], {"messages": [AGENT]}),
        ({}, [("gen_ai.tool.message", {"role": "tool", "content": "4", "id": "call_1"})],
         {"messages": [{"content": "4", "role": "tool", "tool_call_id": "call_1"}]}),
        ({}, [("gen_ai.content.completion", {"gen_ai.completion": "said"})], {"output": "said"}),
        (
            {},
            [("gen_ai.choice", {
                "finish_reason": "tool_calls", "message.role": "assistant", "tool_calls.0.id": "call_1",
                "tool_calls.0.type": "function", "tool_calls.0.function.name": "get_weather",
                "tool_calls.0.function.arguments": "{}",
            })],
            {"choices": [{
                "finish_reason": "tool_calls",
                "message": {"role": "assistant"},
                "tool_calls": [{
                    "id": "call_1", "type": "function",
                    "function": {"name": "get_weather", "arguments": "{}"},
                }],
            }]},
        ),
        ({"langsmith.span.kind": "retriever", "retrieval.documents.0.document.content": "page",
          "retrieval.documents.0.document.metadata": '{"n": 1}'}, (),
         {"documents": [{"page_content": "page", "metadata": {"n": 1}, "type": "Document"}]}),
    ],
)  # fmt: skip
def test_outputs(run, attributes, events, outputs):
    assert run(attributes, events=events).outputs == outputs


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        ({"gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 2, "gen_ai.usage.total_tokens": 3},
         {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        ({"gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.input_tokens": 1, "llm.token_count.completion": 6},
         {"input_tokens": 5, "output_tokens": 6}),
        ({"gen_ai.usage.details.reasoning_tokens": 4}, {"reasoning_tokens": 4}),
        # The whole replaces the parts.
        ({"langsmith.usage_metadata": '{"input_tokens": 9}', "gen_ai.usage.output_tokens": 2},
         {"input_tokens": 9}),
    ],
)  # fmt: skip
def test_usage(run, attributes, usage):
    assert run({"gen_ai.completion": "hi", **attributes}).usage == usage
    # It is kept inside the outputs, so a run that has none loses it.
    assert run(attributes).usage == {}
    assert run({"gen_ai.prompt": "inputs do not help", **attributes}).usage == {}


def test_metadata_is_layered(run):
    made = run(
        {
            "traceloop.association.properties.a": "traceloop",
            "traceloop.association.properties.b": "traceloop",
            "traceloop.association.properties.c": "traceloop",
            "langsmith.metadata.b": "langsmith",
            "langsmith.metadata.c": "langsmith",
            "langsmith.metadata.count": 3,
            "metadata": '{"c": "openinference"}',
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-realtime",
            "gen_ai.response.model": "gpt-realtime-2025-08-28",
            "unlisted": "lost",
        }
    )
    assert made.metadata == {
        "service.name": "shop",
        "a": "traceloop",
        "b": "langsmith",
        "c": "openinference",
        "count": 3,
        "ls_provider": "openai",
        "ls_model_name": "gpt-realtime",
    }


def test_the_resource_is_the_roots_metadata_alone(shared_server, shared_spans):
    root = shared_spans.make("root of two")
    child = shared_spans.make("child", {"gen_ai.provider.name": "openai"}, parent=root)
    post(shared_server, root, child)
    made = next(run for run in shared_server.roots if run.name == "root of two")
    assert made.metadata == {"service.name": "shop"}
    assert made.children[0].metadata == {"ls_provider": "openai"}


def test_invocation_params(run):
    made = run(
        {
            "gen_ai.request.temperature": 0.8,
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.model": "asked",
            "gen_ai.response.model": "answered",
            "llm.invocation_parameters": '{"top_k": 3}',
            "tools": '["a", "b"]',
            "gen_ai.tool.name": "get_weather",
            "tool_arguments": '{"city": "Oslo"}',
        }
    )
    assert made.invocation_params == {
        "temperature": 0.8,
        "max_tokens": 100,
        "model": "answered",
        "top_k": 3,
        "tools": ["a", "b"],
        "tool_name": "get_weather",
        "tool_arguments": {"city": "Oslo"},
    }


def test_tags_are_trimmed(run):
    assert run({"langsmith.span.tags": "voice, prod ,,"}).tags == ["voice", "prod"]


@pytest.mark.parametrize(
    ("metadata", "thread"),
    [
        ({}, None),
        ({"thread_id": "t"}, "t"),
        ({"thread_id": "t", "conversation_id": "c"}, "c"),
        ({"thread_id": "t", "conversation_id": "c", "session_id": "s"}, "s"),
    ],
)
def test_thread(run, metadata, thread):
    assert run({f"langsmith.metadata.{key}": value for key, value in metadata.items()}).thread_id == thread


def test_only_an_exception_event_makes_an_error(run, shared_spans, shared_server):
    from opentelemetry.trace import StatusCode

    exception = {
        "exception.type": "ValueError",
        "exception.message": "boom",
        "exception.stacktrace": "line 1",
    }
    failed = run(events=[("exception", exception)])
    assert (failed.status, failed.error) == ("error", "boom\n\nStacktrace:\nline 1")
    silent = run(events=[("exception", {})])
    assert (silent.status, silent.error) == ("error", None)

    span = shared_spans.start("red")
    span.set_status(StatusCode.ERROR, "only the status")
    span.end()
    assert post(shared_server, span).status_code == 200
    made = next(one for one in shared_server.runs if one.name == "red")
    assert (made.status, made.error) == ("success", None)


def test_times_and_derived_ids(run):
    made = run()
    assert made.start_ns == START_NS
    assert made.end_ns == START_NS + 1_000_000
    assert made.id == made.trace_id == f"00000000-0000-0000-{made.otel_span_id[:4]}-{made.otel_span_id[4:]}"
    # Cut to microseconds, not rounded.
    assert made.dotted_order == f"20260102T030405123456Z{made.id}"


def test_explicit_ids(run):
    root_id, child_id = "01950000-0000-7000-8000-000000000001", "01950000-0000-7000-8000-000000000002"
    root_order = f"20260102T030405000000Z{root_id}"
    root = run(
        {
            "langsmith.span.id": root_id,
            "langsmith.trace.id": root_id,
            "langsmith.span.dotted_order": root_order,
            "langsmith.trace.session_id": "the project's id",
            "langsmith.reference_example_id": "example",
        }
    )
    assert (root.id, root.trace_id, root.dotted_order) == (root_id, root_id, root_order)
    assert (root.project_id, root.reference_example_id) == ("the project's id", "example")
    child = run(
        {
            "langsmith.span.id": child_id,
            "langsmith.trace.id": root_id,
            "langsmith.span.parent_id": root_id,
            "langsmith.span.dotted_order": f"{root_order}.20260102T030406000000Z{child_id}",
        }
    )
    assert root.children == [child]


def test_is_root_drops_the_parent(run, shared_spans):
    elsewhere = shared_spans.make("a web framework's span, never sent")
    made = run({"langsmith.is_root": True}, parent=elsewhere)
    assert made.parent_run_id is None


def test_project(run):
    assert run().project == "default"
    assert run(Langsmith_Project="voice").project == "voice"
    routed = run({"langsmith.trace.session_name": "own"}, Langsmith_Project="voice")
    assert routed.project == "own"
