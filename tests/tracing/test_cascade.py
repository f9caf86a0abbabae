"""A cascade of one's own: what `stt`, `llm`, `tts` and `tool_call` make of what the application says."""

from __future__ import annotations

import asyncio

import pytest
from span_content import came, given

from voicespan.runtime.settings import Settings
from voicespan.tracing.conversation import Conversation

META = "langsmith.metadata."
PARTS = ("endpointing_ms", "stt_ms", "llm_ms", "tool_ms", "tts_ms", "playout_ms", "unnamed_ms")


@pytest.fixture
def conversation(tracer_provider, fake_clock):
    made = Conversation(tracer_provider=tracer_provider, clock=fake_clock, settings=Settings(), scoped=True)
    with made.use():
        yield made
    made.end()


@pytest.fixture
def tree(conversation, span_exporter):
    """Ends the conversation; its spans in the order of their starts, as (name, parent's name)."""

    def ended():
        conversation.end()
        spans = sorted(
            span_exporter.get_finished_spans(), key=lambda span: (span.start_time, span.parent is not None)
        )
        names = {span.context.span_id: span.name for span in spans}
        return [(span.name, names.get(span.parent.span_id) if span.parent else None) for span in spans]

    return ended


@pytest.fixture
def spans(conversation, span_exporter):
    def ended(name):
        conversation.end()
        found = sorted(
            span_exporter.get_finished_spans(), key=lambda span: (span.start_time, span.parent is not None)
        )
        return [span for span in found if span.name == name]

    return ended


def facts(span):
    return {key.removeprefix(META): value for key, value in span.attributes.items()}


def messages(span, of=given):
    return [(each["role"], each["content"]) for each in of(span)["messages"]]


def transcript(root):
    return messages(root) + messages(root, came)


def call(name, call_id, arguments="{}"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def ask(conversation, clock, words, seconds=0.2):
    with conversation.stt(model="whisper-1", language="en") as stt:
        clock.advance(seconds)
        stt.output(words)


def say(conversation, clock, words, seconds=1.0):
    with conversation.tts(words, model="tts-1", voice="alloy") as tts:
        clock.advance(0.1)
        tts.first_byte()
        tts.output(seconds=seconds)


def test_one_question_and_its_answer(conversation, tree, spans, fake_clock):
    ask(conversation, fake_clock, "What is the weather?")
    with conversation.llm(
        model="gpt-5", provider="openai", messages=[{"role": "user", "content": "What is the weather?"}]
    ) as llm:
        fake_clock.advance(0.3)
        llm.first_token()
        llm.output("Sunny.")
        llm.usage(input_tokens=7, output_tokens=2)
    say(conversation, fake_clock, "Sunny.")

    assert tree() == [("conversation", None), *((name, "conversation") for name in ("stt", "llm", "tts"))]
    (root,), (stt,), (llm,), (tts,) = spans("conversation"), spans("stt"), spans("llm"), spans("tts")
    assert transcript(root) == [("user", "What is the weather?"), ("assistant", "Sunny.")]
    assert {span.attributes["langsmith.span.kind"] for span in (stt, llm, tts)} == {"llm"}
    assert (stt.end_time - stt.start_time, llm.end_time - llm.start_time) == (200_000_000, 300_000_000)
    assert facts(stt)["language"] == "en"
    assert facts(stt)["ls_message_view_exclude"] is True
    assert "ls_message_view_exclude" not in facts(llm)
    assert facts(llm)["time_to_first_token_ms"] == 300
    assert facts(llm)["gen_ai.usage.input_tokens"] == 7
    assert facts(root)["total_tokens"] == 9
    assert facts(tts)["time_to_first_byte_ms"] == 100
    assert (facts(tts)["voice"], facts(tts)["characters"], facts(tts)["audio_seconds"]) == ("alloy", 6, 1.0)


def test_the_gap_is_made_of_the_stages(conversation, spans, fake_clock):
    ask(conversation, fake_clock, "What is the weather?", seconds=0.2)
    fake_clock.advance(0.05)
    with conversation.llm(messages=[{"role": "user", "content": "What is the weather?"}]) as llm:
        fake_clock.advance(0.3)
        llm.output(tool_calls=[call("weather", "c1")])
    with conversation.tool_call("c1") as tool:
        fake_clock.advance(0.5)
        tool.output({"sky": "clear"})
    with conversation.llm() as llm:
        fake_clock.advance(0.4)
        llm.output("Sunny.")
    say(conversation, fake_clock, "Sunny.")
    (tts,) = spans("tts")
    gap = {name: facts(tts)[name] for name in PARTS if name in facts(tts)}
    assert gap == {"stt_ms": 200, "endpointing_ms": 50, "llm_ms": 700, "tool_ms": 500, "tts_ms": 100}
    assert facts(tts)["response_gap_ms"] == sum(gap.values())
    assert facts(tts)["response_gap_from"] == "commit"


def test_parallel_tools_run_when_they_run_and_the_applications_spans_nest_in_them(
    conversation, tree, spans, fake_clock, tracer_provider
):
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Paris and Rome?"}]
    ask(conversation, fake_clock, "Paris and Rome?")
    calls = [call("weather", "c1", '{"city":"Paris"}'), call("weather", "c2", '{"city":"Rome"}')]
    with conversation.llm(messages=history) as llm:
        llm.output(None, tool_calls=calls)
    history.append({"role": "assistant", "content": None, "tool_calls": calls})
    for each, sky in zip(calls, ("sunny", "rainy"), strict=True):
        with conversation.tool_call(each["id"]):
            tracer_provider.get_tracer("app").start_span("GET").end()
            fake_clock.advance(0.5)
        history.append({"role": "tool", "tool_call_id": each["id"], "content": sky})
    fake_clock.advance(0.2)
    with conversation.llm(messages=history) as llm:
        fake_clock.advance(0.1)
        llm.output("Sunny, and rainy.")

    ours = [pair for pair in tree() if pair[0] != "GET"]
    called = ("function_call: weather", "conversation")
    assert ours[1:] == [
        ("stt", "conversation"),
        ("llm", "conversation"),
        called,
        called,
        ("llm", "conversation"),
    ]
    first, second = spans("function_call: weather")
    assert [span.parent.span_id for span in spans("GET")] == [first.context.span_id, second.context.span_id]
    assert (first.end_time - first.start_time, second.start_time - first.end_time) == (500_000_000, 0)
    assert came(second) == {"text": "rainy"}
    one, other = spans("llm")
    assert messages(one) == [("system", "Be brief."), ("user", "Paris and Rome?")]
    assert messages(other) == [("tool", "sunny"), ("tool", "rainy")]


def test_a_call_that_is_cancelled_is_no_error(conversation, spans, fake_clock):
    async def talk():
        async with conversation.llm() as llm:
            llm.delta("Once upon")
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(talk())
    (llm,) = spans("llm")
    assert (facts(llm)["status"], llm.status.is_ok) == ("cancelled", True)
    assert messages(llm, came) == [("assistant", "Once upon")]


def test_a_call_that_fails_has_its_error_and_the_exception_goes_on(conversation, spans):
    with pytest.raises(ZeroDivisionError), conversation.stt():
        1 / 0  # noqa: B018
    (stt,) = spans("stt")
    assert stt.attributes["error.type"] == "ZeroDivisionError"
    assert [event.name for event in stt.events] == ["exception"]
    assert not stt.status.is_ok


def test_a_call_that_is_over_is_told_with_its_times(conversation, spans, fake_clock):
    now = fake_clock.monotonic_ns()
    fake_clock.advance(5)
    llm = conversation.llm(model="m").start(at=now + 1_000_000_000)
    llm.first_token(at=now + 1_250_000_000)
    llm.output("Yes.")
    llm.end(at=now + 2_000_000_000)
    (root,), (llm,) = spans("conversation"), spans("llm")
    assert llm.start_time - root.start_time == 1_000_000_000
    assert llm.end_time - llm.start_time == 1_000_000_000
    assert facts(llm)["time_to_first_token_ms"] == 250


def test_an_untraced_conversation_has_blocks_that_do_nothing(tracer_provider, span_exporter):
    untraced = Conversation(settings=Settings(enabled=False), tracer_provider=tracer_provider)
    with (
        untraced.stt() as stt,
        untraced.llm(messages=[{"role": "user", "content": "?"}]) as llm,
        untraced.tts("!") as tts,
    ):
        stt.output("?")
        llm.delta("!")
        llm.output("!", tool_calls=[call("f", "c")])
        with untraced.tool_call("c") as tool:
            tool.output("done")
        tts.first_byte()
        tts.output(seconds=1)
        assert not llm.span.is_recording()
    untraced.end()
    assert span_exporter.get_finished_spans() == ()


@pytest.mark.parametrize("own", [True, False])
def test_tokens_that_a_span_inside_counts_are_counted_once(conversation, spans, tracer_provider, own):
    """As the GenAI instrumentations of the clients write them."""
    tracer = tracer_provider.get_tracer("opentelemetry.instrumentation.openai_v2")
    with conversation.llm(model="gpt-5") as llm:
        with tracer.start_as_current_span("retries"), tracer.start_as_current_span("chat gpt-5") as chat:
            chat.set_attributes({"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2})
        llm.output("Sunny.")
        if own:
            llm.usage(input_tokens=7, output_tokens=2)
    with conversation.llm(model="gpt-5") as llm:
        llm.output("Rainy.")
        llm.usage(input_tokens=1, output_tokens=1)
    (root,), (first, second), (chat,) = spans("conversation"), spans("llm"), spans("chat gpt-5")
    assert facts(root)["total_tokens"] == 11
    assert [name for name in first.attributes if "usage" in name] == []
    assert facts(second)["gen_ai.usage.total_tokens"] == 2
    assert "ls_message_view_exclude" not in facts(first)
    assert came(first)["messages"][0]["content"] == "Sunny."


def test_messages_that_a_span_inside_has_are_left_out_of_the_view_once(conversation, spans, tracer_provider):
    with conversation.llm() as llm:
        with tracer_provider.get_tracer("openinference").start_as_current_span("ChatCompletion") as chat:
            chat.set_attributes(
                {"llm.token_count.prompt": 7, "llm.token_count.completion": 2, "input.value": "?"}
            )
        llm.output("Sunny.")
    (llm,) = spans("llm")
    assert facts(llm)["ls_message_view_exclude"] is True
