"""The application's own spans nest where it works: under the open function call, or the root."""

from __future__ import annotations

import asyncio
import json
import sys
import threading

import pytest
from openai import AsyncOpenAI, OpenAI
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.propagate import inject
from opentelemetry.trace import StatusCode
from span_content import came

import voicespan
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing.openai_realtime import Answer, Expect, FunctionCall, OpenAIRealtimeServer, Send
from voicespan.tracing.registry import open_conversations
from voicespan.tracing.scope import current_conversation

CREATED = {"type": "session.created", "event_id": "e", "session": {"id": "sess_1"}}
PING = {"type": "rate_limits.updated", "event_id": "e", "rate_limits": []}


@pytest.fixture(autouse=True)
def instrumented(tracer_provider):
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    yield
    instrumentor.uninstrument()


@pytest.fixture
def tracer(tracer_provider):
    return tracer_provider.get_tracer("app")


@pytest.fixture
def parent_of(span_exporter):
    """The name of the span that a finished span of the application stands under."""

    def find(name):
        spans = {span.context.span_id: span for span in span_exporter.get_finished_spans()}
        (span,) = [span for span in spans.values() if span.name == name]
        return None if span.parent is None else spans[span.parent.span_id].name

    return find


@pytest.fixture
def frames():
    """A server that sends more frames than anybody here reads, and fewer than stop a close."""
    with OpenAIRealtimeServer([Send(CREATED, *[PING] * 8)]) as server:
        yield server


def connect(server):
    return OpenAI(api_key="k", websocket_base_url=server.url).realtime.connect(model="m")


def connect_async(server):
    return AsyncOpenAI(api_key="k", websocket_base_url=server.url).realtime.connect(model="m")


def call_frames(*call_ids):
    for call_id in call_ids:
        ids = {"response_id": "r1", "item_id": f"f-{call_id}", "call_id": call_id, "name": f"tool_{call_id}"}
        yield {"type": "response.function_call_arguments.done", "event_id": "e", **ids, "arguments": "{}"}


def answer(call_id):
    item = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
    return {"type": "conversation.item.create", "item": item}


def test_a_span_nests_under_the_one_open_call_else_under_the_root(tracer, parent_of):
    with OpenAIRealtimeServer([Send(CREATED, *call_frames("a", "b"))]) as server, connect(server) as c:
        c.recv()
        with tracer.start_as_current_span("before"):
            pass
        c.recv()
        with tracer.start_as_current_span("one open"), tracer.start_as_current_span("deeper"):
            pass
        c.recv()
        with tracer.start_as_current_span("two open"):
            pass
        c.send(answer("a"))
        with tracer.start_as_current_span("b is left"):
            pass
        c.send(answer("b"))
        with tracer.start_as_current_span("after"):
            pass
    assert parent_of("before") == "conversation"
    assert parent_of("one open") == "function_call: tool_a"
    assert parent_of("deeper") == "one open"
    assert parent_of("two open") == "conversation"
    assert parent_of("b is left") == "function_call: tool_b"
    assert parent_of("after") == "conversation"


def test_tool_call_is_exact_with_several_open(tracer, parent_of):
    with OpenAIRealtimeServer([Send(CREATED, *call_frames("a", "b"))]) as server, connect(server) as c:
        for _ in range(3):
            c.recv()
        conversation = current_conversation()
        with conversation.tool_call("b"), tracer.start_as_current_span("for b"):
            pass
        with conversation.tool_call("unknown"), tracer.start_as_current_span("for nobody"):
            pass
        c.send(answer("b"))
        with conversation.tool_call("b"), tracer.start_as_current_span("late for b"):
            pass
    assert parent_of("for b") == parent_of("late for b") == "function_call: tool_b"
    assert parent_of("for nobody") == "conversation"


async def test_under_wait_for(tracer, parent_of):
    """On Python 3.11 `wait_for` receives in a task of its own, so that its context is lost."""
    with OpenAIRealtimeServer([Send(CREATED, *call_frames("a"))]) as server:
        async with connect_async(server) as c:
            await asyncio.wait_for(c.recv(), 5)
            with tracer.start_as_current_span("root"):
                pass
            await asyncio.wait_for(c.recv(), 5)
            with tracer.start_as_current_span("tool"):
                pass
    assert parent_of("root") == "conversation"
    assert parent_of("tool") == "function_call: tool_a"


async def test_opened_under_wait_for(frames, tracer, parent_of):
    c = await asyncio.wait_for(connect_async(frames).enter(), 5)
    await c.recv()
    with tracer.start_as_current_span("root"):
        pass
    await c.close()
    assert parent_of("root") == "conversation"


async def test_background_tasks_started_inside(tracer, parent_of):
    with OpenAIRealtimeServer([Send(CREATED, *call_frames("a"))]) as server:
        async with connect_async(server) as c:
            await c.recv()
            go = asyncio.Event()

            async def work():
                await go.wait()
                with tracer.start_as_current_span("background"):
                    await asyncio.sleep(0)

            task = asyncio.ensure_future(work())
            await c.recv()
            go.set()
            await task
    # The task inherited the context before the call, and asks late all the same.
    assert parent_of("background") == "function_call: tool_a"


async def test_a_reader_task_that_was_started_before(frames, tracer, parent_of):
    opened: asyncio.Future = asyncio.get_running_loop().create_future()

    async def read():
        c = await opened
        with tracer.start_as_current_span("before the first frame"):
            pass
        await c.recv()
        with tracer.start_as_current_span("after it"):
            pass

    task = asyncio.ensure_future(read())
    async with connect_async(frames) as c:
        opened.set_result(c)
        await task
    assert parent_of("before the first frame") is None
    assert parent_of("after it") == "conversation"


async def test_to_thread_takes_the_context_along(frames, tracer, parent_of):
    def work():
        with tracer.start_as_current_span("thread"):
            pass

    async with connect_async(frames) as c:
        await c.recv()
        await asyncio.to_thread(work)
    assert parent_of("thread") == "conversation"


def test_a_plain_thread_needs_use(frames, tracer, parent_of):
    with connect(frames) as c:
        c.recv()
        conversation = current_conversation()

        def work(name, *, use):
            if use:
                with conversation.use(), tracer.start_as_current_span(name):
                    assert current_conversation() is conversation
            else:
                with tracer.start_as_current_span(name):
                    assert current_conversation() is None

        for name, use in (("with", True), ("without", False)):
            thread = threading.Thread(target=work, args=(name,), kwargs={"use": use})
            thread.start()
            thread.join()
    assert parent_of("with") == "conversation"
    assert parent_of("without") is None


def test_callbacks_of_dispatch_events(tracer, parent_of):
    with OpenAIRealtimeServer.conversational([Answer(calls=[FunctionCall("look", {"at": 1})])]) as server:
        with connect(server) as c:

            def on_call(event):
                with tracer.start_as_current_span("callback"):
                    c.send(answer(event.call_id))

            c.on("response.function_call_arguments.done", on_call)
            c.on("response.done", lambda _: c.close())
            c.response.create()
            c.dispatch_events()
    assert parent_of("callback") == "function_call: look"


def test_opened_inside_a_block_of_the_application(frames, tracer, span_exporter, parent_of):
    with tracer.start_as_current_span("request") as request:
        with connect(frames) as c:
            c.recv()
            with tracer.start_as_current_span("inside"):
                pass
        assert trace.get_current_span() is request
        with tracer.start_as_current_span("afterwards"):
            pass
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert parent_of("inside") == "conversation"
    assert parent_of("afterwards") == "request"


def test_a_block_of_the_application_inside_keeps_its_children(frames, tracer, parent_of):
    with connect(frames) as c:
        c.recv()
        with tracer.start_as_current_span("step"):
            c.recv()
            with tracer.start_as_current_span("child of step"):
                pass
    assert parent_of("child of step") == "step"
    assert parent_of("step") == "conversation"


def test_with_two_connections_the_last_frame_decides(frames, tracer, span_exporter):
    with connect(frames) as first, connect(frames) as second:
        for name, connection in (("1", first), ("2", second), ("3", first), ("4", first), ("5", second)):
            connection.recv()
            with tracer.start_as_current_span(name):
                pass
    spans = {span.name: span for span in span_exporter.get_finished_spans() if span.name.isdigit()}
    roots = {name: span.context.trace_id for name, span in spans.items()}
    assert roots["1"] == roots["3"] == roots["4"]
    assert roots["2"] == roots["5"]
    assert roots["1"] != roots["2"]


def test_inside_a_scope_both_are_one(frames, tracer, span_exporter):
    with voicespan.conversation(), connect(frames) as first, connect(frames) as second:
        for connection in (first, second):
            connection.recv()
            with tracer.start_as_current_span("work"):
                pass
    assert len({span.context.trace_id for span in span_exporter.get_finished_spans()}) == 1


def test_enter_without_a_block(frames, tracer, parent_of):
    c = connect(frames).enter()
    c.recv()
    with tracer.start_as_current_span("work"):
        pass
    c.close()
    assert parent_of("work") == "conversation"


def test_two_thousand_conversations_in_one_task(tracer, span_exporter):
    depth = sys.getrecursionlimit()
    with tracer.start_as_current_span("server") as outer:
        for number in range(max(2000, depth + 500)):
            conversation = voicespan.conversation()
            scope = conversation.__enter__()
            if number % 2:
                # As when it is closed in another context: nothing is given back here.
                scope._before = None
            conversation.__exit__(None, None, None)
        # Whatever is current is a plain context by now, and still the one from before.
        assert trace.get_current_span().get_span_context() == outer.get_span_context()
        with tracer.start_as_current_span("afterwards"):
            pass
    roots = [span for span in span_exporter.get_finished_spans() if span.name == "conversation"]
    assert {link.context.span_id for root in roots for link in root.links} == {
        outer.get_span_context().span_id
    }
    afterwards = next(span for span in span_exporter.get_finished_spans() if span.name == "afterwards")
    assert afterwards.parent.span_id == outer.get_span_context().span_id
    assert not open_conversations()


def test_baggage_is_kept(frames):
    token = otel_context.attach(baggage.set_baggage("tenant", "t1"))
    with connect(frames) as c:
        c.recv()
        assert baggage.get_baggage("tenant") == "t1"
        inner = otel_context.attach(baggage.set_baggage("step", "s1"))
        c.recv()
        assert baggage.get_baggage("step") == "s1"
        otel_context.detach(inner)
    assert baggage.get_baggage("tenant") == "t1"
    otel_context.detach(token)


def test_outgoing_requests_carry_what_is_current(tracer, span_exporter):
    with OpenAIRealtimeServer([Send(CREATED, *call_frames("a"))]) as server, connect(server) as c:
        headers: list[dict[str, str]] = [{}, {}]
        c.recv()
        inject(headers[0])
        c.recv()
        inject(headers[1])
        c.send(answer("a"))
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    for header, name in zip(headers, ("conversation", "function_call: tool_a"), strict=True):
        context = spans[name].context
        assert (
            header["traceparent"]
            == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        )


def test_what_the_application_does_to_the_current_span(span_exporter):
    with OpenAIRealtimeServer([Send(CREATED, *call_frames("a"))]) as server, connect(server) as c:
        c.recv()
        c.recv()
        current = trace.get_current_span()
        assert current.is_recording()
        current.set_attribute("app.key", "value")
        current.set_attributes({"app.other": 1})
        current.add_event("noted")
        current.record_exception(ValueError("seen"))
        current.update_name("mine")
        current.set_status(StatusCode.ERROR, "not mine to say")
        current.end()
        c.send(answer("a"))
        trace.get_current_span().set_attribute("app.root", True)
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    tool, root = spans["function_call: tool_a"], spans["conversation"]
    assert tool.attributes["app.key"] == "value"
    assert tool.attributes["app.other"] == 1
    assert [event.name for event in tool.events] == ["noted", "exception"]
    assert tool.status.status_code is root.status.status_code is StatusCode.UNSET
    assert root.attributes["app.root"] is True
    assert came(tool) == {}


def test_after_the_conversation_what_is_left_of_it_is_harmless(frames):
    with connect(frames) as c:
        c.recv()
        left_over = trace.get_current_span()
    assert not left_over.is_recording()
    left_over.set_attribute("late", 1)
    assert left_over.get_span_context() == trace.INVALID_SPAN_CONTEXT


def test_expected_frames_arrive_unchanged(tracer):
    """The same bytes, the same object types, whether or not anything is traced."""
    with OpenAIRealtimeServer([Send(CREATED), Expect("session.update")]) as server, connect(server) as c:
        frame = c.recv_bytes()
        assert type(frame) is bytes
        assert json.loads(frame) == CREATED
        c.session.update(session={"type": "realtime"})
