"""A realtime session of the OpenAI Agents SDK as one conversation: what only the SDK knows of it."""

from __future__ import annotations

import asyncio
import io
import json

import numpy as np
import pytest
import soundfile as sf
from opentelemetry.trace import StatusCode
from span_content import came, given

from voicespan.instrumentation.sockets import WebsocketsInstrumentor
from voicespan.openai_agents import OpenAIAgentsInstrumentor
from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer

pytest.importorskip("agents.realtime", reason="in an environment of its own: tests/compat/run.py agents")


def named(runs, name):
    return [run for run in runs if run.name == name]


@pytest.mark.parametrize("counted", [(), ("ms",), ("zeros",)], ids=["bytes", "milliseconds", "zeros"])
def test_agents_handoffs_guardrails_and_what_was_played(run, environ, the_trace, counted):
    environ["VOICESPAN_RECORDING_FORMAT"] = "flac"
    tone = (8_000 * np.sin(np.arange(24_000) / 8)).astype("<i2").tobytes()
    answers = [
        Answer(calls=[FunctionCall("weather", {"city": "London"})]),
        Answer(calls=[FunctionCall("transfer_to_billing", {})]),
        Answer(audio=tone, transcript="There is fog in London."),
        Answer("I cannot say."),
    ]
    with OpenAIRealtimeServer.conversational(answers) as server:
        run("openai_agents_reception.py", server.url, *counted)
    root, runs = the_trace()
    assert (root.status, root.error) == ("success", None)
    assert root.metadata["thread_id"] == "caller-42"
    assert root.metadata["agent"] == "billing"

    (call,) = named(runs, "function_call: weather")
    (own,) = named(runs, "look_out_of_the_window")
    assert own in call.children

    (handoff,) = named(runs, "handoff: billing")
    assert handoff.metadata["from_agent"] == "reception"
    assert len(named(runs, "function_call: transfer_to_billing")) == 1

    guardrail = named(runs, "guardrail: no_fog")[0]
    assert guardrail.metadata["tripped"] is True
    assert "fog" in json.dumps(guardrail.inputs)
    assert guardrail.outputs["output_info"] == {"fog": True}

    sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
    user, agent = (np.count_nonzero(np.abs(side) > 32) / rate for side in sound.T)
    assert user == pytest.approx(0.3, abs=0.05)
    assert agent == pytest.approx(1.0, abs=0.05)
    assert "recording_dropped_bytes" not in root.metadata


# In this process.


@pytest.fixture
def traced(tracer_provider):
    instrumentors = (WebsocketsInstrumentor(), OpenAIAgentsInstrumentor())
    for each in instrumentors:
        each.instrument(tracer_provider=tracer_provider)
    yield
    for each in instrumentors:
        each.uninstrument()


async def opened(server, **agent):
    from agents import set_tracing_disabled
    from agents.realtime import RealtimeAgent, RealtimeRunner

    set_tracing_disabled(True)
    url = server.url + "/realtime?model=gpt-4o-realtime-preview"
    config = {"api_key": "sk-test", "url": url}
    return await RealtimeRunner(RealtimeAgent(name="reception", **agent)).run(model_config=config)


@pytest.mark.usefixtures("traced")
async def test_functions_that_run_at_a_time_have_each_their_own_spans(tracer_provider, span_exporter):
    from agents import function_tool

    both = asyncio.Event()
    running = []

    async def work(name):
        running.append(name)
        if len(running) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 10)
        with tracer_provider.get_tracer("application").start_as_current_span(f"work of {name}"):
            return name

    @function_tool
    async def first() -> str:
        """The first."""
        return await work("first")

    @function_tool
    async def second() -> str:
        """The second."""
        return await work("second")

    answers = [Answer(calls=[FunctionCall("first", {}), FunctionCall("second", {})]), Answer("Done.")]
    with OpenAIRealtimeServer.conversational(answers) as server:
        async with await opened(server, tools=[first, second]) as session:
            await session.send_message("Do both.")
            async for event in session:
                if event.type == "history_updated" and "Done." in str(event.history):
                    break
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    for name in ("first", "second"):
        call = spans[f"function_call: {name}"]
        assert spans[f"work of {name}"].parent.span_id == call.context.span_id


@pytest.mark.usefixtures("traced")
async def test_guardrails_of_functions_that_trip_are_told(span_exporter):
    guardrails = pytest.importorskip("agents.tool_guardrails", reason="the oldest have none")
    from agents import function_tool

    verdict = guardrails.ToolGuardrailFunctionOutput

    def no_rome(asked):
        return (
            verdict.reject_content("Not Rome.", {"city": "Rome"})
            if "Rome" in asked.context.tool_arguments
            else verdict.allow()
        )

    def no_fog(asked):
        return verdict.reject_content("Something else.", "fog") if "fog" in asked.output else verdict.allow()

    @function_tool(
        tool_input_guardrails=[guardrails.ToolInputGuardrail(no_rome)],
        tool_output_guardrails=[guardrails.ToolOutputGuardrail(no_fog, name="fog")],
    )
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"foggy in {city}"

    calls = [FunctionCall("weather", {"city": city}, call_id=city) for city in ("Rome", "London")]
    with OpenAIRealtimeServer.conversational(
        [Answer(calls=calls), Answer("Well."), Answer("Well.")]
    ) as server:
        async with await opened(server, tools=[weather]) as session:
            await session.send_message("How is the weather?")
            # Both are rejected: the one before it runs, the other one afterwards.
            left = {"Not Rome.", "Something else."}
            async for event in session:
                left.discard(getattr(event, "output", None))
                if not left:
                    break
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    city, fog = spans["guardrail: no_rome"], spans["guardrail: fog"]
    assert given(city) == {"arguments": '{"city": "Rome"}'}
    assert given(fog) == {"output": "foggy in London"}
    assert came(fog) == {"output_info": "fog"}
    told = {name.rpartition(".")[2]: value for name, value in city.attributes.items() if "metadata" in name}
    assert (told["tool_call_id"], told["function"], told["agent"]) == ("Rome", "weather", "reception")
    assert (told["tripped"], told["behavior"]) == (True, "reject_content")


def test_audio_that_was_not_played_yet_is_taken_in_its_order():
    from voicespan.openai_agents import received_audio

    received = received_audio.ReceivedAudio()
    for item_id, pcm in (("a", b"12345678"), ("b", b"abcd"), ("b", b"efgh")):
        received.put(item_id, pcm)
    assert [received.take("a", 4), received.take("a", 2), received.take("other", 4)] == [b"1234", b"56", b""]
    assert [received.take("b", 6), received.take("b", 100), received.take("b", 2)] == [b"abcdef", b"gh", b""]
    received.put("c", bytes(received_audio._MOST))
    received.put("c", b"more")
    received.put("d", b"more")
    assert received.is_short
    assert received.take("d", 4) == b""
    received.put("e", b"room")
    assert received.take("e", 4) == b"room"


@pytest.mark.usefixtures("traced")
async def test_what_leaves_the_block_is_the_applications_own_exception(span_exporter):
    with OpenAIRealtimeServer.conversational([]) as server:
        with pytest.raises(LookupError):
            async with await opened(server):
                raise LookupError("no such customer")
    (root,) = (span for span in span_exporter.get_finished_spans() if span.parent is None)
    assert root.status.status_code is StatusCode.ERROR
    assert root.attributes["error.type"] == "LookupError"


@pytest.mark.usefixtures("traced")
async def test_a_service_that_cannot_be_reached_is_a_trace_with_only_a_root(span_exporter):
    with OpenAIRealtimeServer.conversational([]) as server:
        session = await opened(server)
    with pytest.raises(OSError):
        await session.__aenter__()
    (root,) = span_exporter.get_finished_spans()
    assert root.status.status_code is StatusCode.ERROR


def test_nothing_is_left_of_it_afterwards(tracer_provider):
    from agents.realtime import model, session

    owners = (session.RealtimeSession, model.RealtimePlaybackTracker)
    before = [dict(vars(owner)) for owner in owners]
    OpenAIAgentsInstrumentor().instrument(tracer_provider=tracer_provider)
    assert [dict(vars(owner)) for owner in owners] != before
    OpenAIAgentsInstrumentor().uninstrument()
    assert [dict(vars(owner)) for owner in owners] == before
