"""Spans of GenAI instrumentations outside of blocks: each stands for the `llm`, and is not doubled."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from opentelemetry.trace import SpanKind, Status, StatusCode
from span_content import came, given

from voicespan.runtime.settings import Settings
from voicespan.tracing.scope import ConversationScope

META = "langsmith.metadata."
CALLED = [
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {}}]}
]
#: What the packages write of a call when it begins and when it ends: name, and both sets of attributes.
CONVENTIONS = {
    "conventions": (
        "chat gpt-5",
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5"},
        {
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.output.messages": json.dumps(CALLED),
        },
    ),
    "named at its end": (
        "chat gpt-5",
        {},
        {
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.output.messages": json.dumps(CALLED),
        },
    ),
    "openinference": (
        "ChatCompletion",
        {"openinference.span.kind": "LLM", "llm.model_name": "gpt-5"},
        {
            "llm.token_count.prompt": 7,
            "llm.token_count.completion": 2,
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
        },
    ),
}


@pytest.fixture
def scope(tracer_provider, fake_clock):
    return ConversationScope(tracer_provider=tracer_provider, clock=fake_clock, settings=Settings())


@pytest.fixture
def chat(tracer_provider, fake_clock):
    """A call of a language model as an instrumentation of its client sees it."""
    tracer = tracer_provider.get_tracer("opentelemetry.instrumentation.genai.openai")

    @contextmanager
    def chat(convention="conventions", seconds=0.3, calls=False):
        name, begun, ended = CONVENTIONS[convention]
        with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=begun) as span:
            yield span
            fake_clock.advance(seconds)
            span.set_attributes(
                {key: value for key, value in ended.items() if calls or "messages" not in key}
            )

    return chat


@pytest.fixture
def spans(span_exporter):
    return lambda name: [span for span in span_exporter.get_finished_spans() if span.name == name]


def facts(span):
    return {key.removeprefix(META): value for key, value in span.attributes.items()}


def transcript(root):
    return [(each["role"], each["content"]) for of in (given, came) for each in of(root)["messages"]]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_it_stands_for_the_llm(scope, chat, spans, fake_clock, convention):
    tracer = scope._arguments["tracer_provider"].get_tracer("app")
    with scope as conversation:
        with conversation.stt() as stt:
            fake_clock.advance(0.2)
            stt.output("What is the weather?")
        with tracer.start_as_current_span("answer"), chat(convention):
            pass
        for words in ("Sunny.", "And warm."):
            with conversation.tts(words) as tts:
                fake_clock.advance(0.1)
                tts.first_byte()
                tts.output(seconds=1.0)
    (root,), (call,), (answer,) = spans("conversation"), spans(CONVENTIONS[convention][0]), spans("answer")
    assert spans("llm") == []
    assert (call.parent.span_id, answer.parent.span_id) == (answer.context.span_id, root.context.span_id)
    assert (facts(root)["total_tokens"], facts(root)["turn_count"]) == (9, 1)
    assert facts(root)["answers_completed"] == 1
    assert transcript(root) == [
        ("user", "What is the weather?"),
        ("assistant", "Sunny."),
        ("assistant", "And warm."),
    ]
    first, second = spans("tts")
    assert (facts(first)["llm_ms"], facts(first)["tts_ms"], facts(first)["response_gap_ms"]) == (
        300,
        100,
        600,
    )
    assert "response_gap_ms" not in facts(second)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_its_functions_are_those_of_the_conversation(scope, chat, spans, convention):
    with scope as conversation:
        with chat(convention, calls=True):
            pass
        with conversation.tool_call("c1") as tool:
            with chat():
                # A function that asks a model itself.
                pass
            tool.output("sunny")
        with chat():
            pass
    (root,), (tool,) = spans("conversation"), spans("function_call: weather")
    assert tool.parent.span_id == root.context.span_id
    assert came(tool) == {"text": "sunny"}
    within = [span for span in spans("chat gpt-5") if span.parent.span_id == tool.context.span_id]
    assert len(within) == 1
    assert facts(root)["turn_count"] == 2
    assert facts(root)["total_tokens"] == 18


@pytest.mark.parametrize("block", [True, False])
def test_of_spans_in_each_other_the_outermost_counts(scope, chat, spans, tracer_provider, block):
    """The client of Anthropic makes a span itself, inside of an instrumentation's."""
    client = tracer_provider.get_tracer("com.anthropic.sdk.python")
    own = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2}

    def answer():
        with chat(), client.start_as_current_span("anthropic.messages.create", attributes=own):
            pass
        # And where the outer one does not count, as in a stream, the inner one does.
        with tracer_provider.get_tracer("app").start_as_current_span("chat claude"):
            client.start_span("anthropic.messages.create", attributes=own).end()

    with scope as conversation:
        if block:
            with conversation.llm() as llm:
                answer()
                llm.output("Yes.")
        else:
            answer()
    (root,) = spans("conversation")
    assert facts(root)["total_tokens"] == 18


def test_one_that_fails_and_one_that_is_stopped(scope, chat, spans):
    with scope as conversation:
        with pytest.raises(ValueError, match="no"), chat():
            raise ValueError("no")
        with pytest.raises(GeneratorExit), chat() as span:
            span.set_attribute("error.type", "asyncio.exceptions.CancelledError")
            span.set_status(Status(StatusCode.ERROR))
            raise GeneratorExit
        assert conversation.recording
    (root,) = spans("conversation")
    assert (facts(root)["answers_failed"], facts(root)["answers_cancelled"]) == (1, 1)


def test_where_a_framework_says_of_each_call_no_span_stands_for_one(scope, chat, spans):
    with scope as conversation:
        conversation.lifecycle.has_framework = True
        with chat():
            pass
    assert facts(spans("conversation")[0])["turn_count"] == 0


@pytest.mark.parametrize("name", ["embeddings m", "execute_tool weather", "chat", "GET"])
def test_other_spans_stand_for_nothing(scope, spans, tracer_provider, name):
    with scope:
        tracer_provider.get_tracer("opentelemetry.util.genai.handler").start_span(name).end()
    assert facts(spans("conversation")[0])["turn_count"] == 0


def test_the_oldest_of_a_thousand_calls_is_still_looked_after(scope, chat, spans):
    from voicespan.tracing.cascade import nested_spans

    with scope as conversation:
        kept = nested_spans.nested_spans(conversation.lifecycle.root.tracer)
        for other in range(10_000):
            kept.watch(other + 1, conversation)
        with chat():
            pass
        assert len(kept._around) < 20_000
    assert facts(spans("conversation")[0])["turn_count"] == 1


def test_no_more_is_kept_than_is_open(scope, chat):
    from voicespan.tracing.cascade import nested_spans

    with scope as conversation:
        for _ in range(3):
            with chat():
                pass
        kept = nested_spans.nested_spans(conversation.lifecycle.root.tracer)
        assert [len(each) for each in (kept._blocks, kept._found, kept._calls, kept._around)] == [0, 0, 0, 1]
    assert not kept._around
