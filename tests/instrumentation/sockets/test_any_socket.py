"""What holds for every library: which sockets are traced, what of them, and how they end."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import socket

import pytest
from opentelemetry.trace import StatusCode
from socket_clients import EndedError, read_all
from span_content import came

import voicespan
from voicespan.instrumentation import sockets
from voicespan.instrumentation.sockets.traced_socket import traced_socket
from voicespan.testing.openai_realtime import (
    Answer,
    Close,
    Drop,
    Expect,
    FunctionCall,
    OpenAIRealtimeServer,
    Refuse,
    Send,
)
from voicespan.tracing.registry import open_conversations

CREATED = {
    "type": "session.created",
    "event_id": "event_0",
    "session": {"type": "realtime", "id": "sess_1", "model": "gpt-realtime"},
}
LIMITS = {"type": "rate_limits.updated", "event_id": "event_1", "rate_limits": []}
DONE = {
    "type": "response.done",
    "event_id": "event_2",
    "response": {"id": "resp_1", "status": "completed", "output": []},
}


def url_of(server, path="/realtime?model=gpt-realtime"):
    return server.url + path


def ends(trace):
    return trace.fact("status"), trace.fact("close_code"), trace.fact("close_reason")


async def converse(client, url):
    """A question, a function call, an answer."""
    async with client.opened(url) as socket:
        await socket.send(json.dumps({"type": "response.create", "event_id": "sent_0"}))
        done = 0
        while done < 2:
            event = json.loads(await socket.receive())
            if event["type"] == "response.function_call_arguments.done":
                item = {"type": "function_call_output", "call_id": event["call_id"], "output": "foggy"}
                await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            if event["type"] == "response.done":
                done += 1
                if done == 1:
                    await socket.send(json.dumps({"type": "response.create", "event_id": "sent_1"}))


async def test_a_conversation_is_one_complete_trace(instrumented, trace):
    answers = [Answer(calls=[FunctionCall("weather", {"city": "London"})]), Answer("It is foggy.")]
    with OpenAIRealtimeServer.conversational(answers) as server:
        await converse(instrumented, url_of(server))
    names = [span.name for span in trace.spans]
    assert names.count("function_call: weather") == 1
    assert names.count("turn_complete") == 2
    assert names.count("conversation") == 1
    assert trace.root.attributes["gen_ai.request.model"] == "gpt-realtime"
    assert trace.root.attributes["server.address"] == "127.0.0.1"
    assert trace.root.status.status_code is StatusCode.UNSET
    assert ends(trace)[:2] == ("completed", 1000)
    transcript = came(trace.root)["messages"]
    assert transcript[-1]["content"] == "It is foggy."


async def test_the_trace_is_that_of_the_openai_client(instrumented, trace, span_exporter, tracer_provider):
    pytest.importorskip("openai")
    from openai import AsyncOpenAI

    from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

    def server():
        answers = [Answer(calls=[FunctionCall("weather", {"city": "London"})]), Answer("It is foggy.")]
        return OpenAIRealtimeServer.conversational(answers)

    def told():
        spans = sorted(span_exporter.get_finished_spans(), key=lambda span: (span.start_time, span.end_time))
        found = [(span.name, came(span)) for span in spans]
        span_exporter.clear()
        return found

    with server() as ours:
        await converse(instrumented, url_of(ours))
    by_socket = told()
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=tracer_provider)
    try:
        with server() as theirs:
            openai = AsyncOpenAI(api_key="k", websocket_base_url=theirs.url)

            class Client:
                def __init__(self, connection):
                    self.send = connection.send_raw
                    self.receive = connection.recv_bytes

                @classmethod
                def opened(cls, _url):
                    return cls.Opened()

                class Opened:
                    async def __aenter__(self):
                        self.manager = openai.realtime.connect(model="gpt-realtime")
                        return Client(await self.manager.__aenter__())

                    async def __aexit__(self, *exc):
                        await self.manager.__aexit__(*exc)

            await converse(Client, "")
    finally:
        OpenAIRealtimeInstrumentor().uninstrument()
    by_client = told()
    assert [name for name, _ in by_socket] == [name for name, _ in by_client]
    ids = [
        content for _, content in by_client if content and "event_id" not in content and "id" not in content
    ]
    assert [content for _, content in by_socket if content in ids] == ids


# Which sockets.


async def test_a_socket_with_another_path_runs_the_librarys_own_code(instrumented, trace):
    with OpenAIRealtimeServer([Send(CREATED), Expect("hello")]) as server:
        async with instrumented.opened(url_of(server, "/other")) as socket:
            assert not [name for name in vars(socket.socket) if "voicespan" in name]
            await socket.receive()
            await socket.send(json.dumps({"type": "hello"}))
            server.connections[0].wait_for("hello")
    assert trace.spans == []
    assert open_conversations() == []


async def test_a_socket_on_a_host_that_nobody_knows_is_let_go_when_its_first_frame_says_something_else(
    instrumented, trace
):
    with OpenAIRealtimeServer(
        [Expect("hello"), Send({"message_type": "session_started"}, CREATED)]
    ) as server:
        async with instrumented.opened(url_of(server)) as socket:
            await socket.send(json.dumps({"type": "hello"}))
            assert json.loads(await socket.receive()) == {"message_type": "session_started"}
            assert not [name for name in vars(socket.socket) if "voicespan" in name]
            await socket.receive()
    assert trace.spans == []
    assert open_conversations() == []


async def test_what_was_sent_before_the_first_frame_is_told(instrumented, trace, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    with OpenAIRealtimeServer([Expect("response.create", count=2), Send(CREATED)]) as server:
        async with instrumented.opened(url_of(server)) as socket:
            for number in range(2):
                await socket.send(json.dumps({"type": "response.create", "event_id": f"sent_{number}"}))
            await socket.receive()
    assert trace.sent == {"sent_0": 1, "sent_1": 1}
    assert trace.received == {"event_0": 1}


async def test_voicespan_sockets_names_hosts_and_off_names_none(
    instrumented, trace, monkeypatch, span_exporter
):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        monkeypatch.setenv(
            "VOICESPAN_SOCKETS", "other.example/live=openai-realtime,127.0.0.1/v1/calls=openai-realtime"
        )
        async with instrumented.opened(url_of(server, "/calls/7")) as socket:
            await socket.receive()
        assert len(trace.roots) == 1
        span_exporter.clear()
        monkeypatch.setenv("VOICESPAN_SOCKETS", "off")
        async with instrumented.opened(url_of(server)) as socket:
            await socket.receive()
    assert trace.spans == []


async def test_a_provider_that_is_disabled_stays_so(instrumented, trace, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "openai-realtime")
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        async with instrumented.opened(url_of(server)) as socket:
            await socket.receive()
    assert trace.spans == []


# How they end.


@pytest.mark.parametrize(
    ("end", "status", "code", "reason"),
    [
        (Close(1000, "good bye"), "completed", 1000, "good bye"),
        (Close(1001, "going away"), "completed", 1001, "going away"),
        (Close(4001, "session expired"), "error", 4001, "session expired"),
        (Close(1011, "internal error"), "error", 1011, "internal error"),
        (Drop(), "error", 1006, None),
    ],
    ids=lambda each: str(each) if isinstance(each, int) else "",
)
async def test_the_other_sides_end_comes_after_its_last_frame(  # noqa: PLR0917  a table
    instrumented, trace, end, status, code, reason
):
    with OpenAIRealtimeServer([Send(CREATED, LIMITS, DONE), end]) as server:
        async with instrumented.opened(url_of(server)) as socket:
            if instrumented.answers and not isinstance(end, Drop):
                await asyncio.to_thread(server.connections[0].wait_closed)
            assert len(await read_all(socket)) == 3
            # The end has been read: nothing has to be closed for the trace to be there.
            assert len(trace.roots) == 1
    assert trace.fact("event_count") == 3
    assert ends(trace) == (status, code, reason)
    assert trace.root.status.status_code is (StatusCode.ERROR if status == "error" else StatusCode.UNSET)


async def test_the_application_closes(instrumented, trace):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        async with instrumented.opened(url_of(server)) as socket:
            await socket.receive()
            await socket.close()
            assert len(trace.roots) == 1
    assert ends(trace) == ("completed", 1000, None)
    assert not [name for name in vars(socket.socket) if "voicespan" in name]


async def test_what_leaves_the_block_is_the_applications_own_exception(instrumented, trace):
    if not instrumented.has_block:
        pytest.skip("it has no block")
    mistake = LookupError("no such customer")
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        with pytest.raises(LookupError) as caught:
            async with instrumented.opened(url_of(server)) as socket:
                await socket.receive()
                raise mistake
    assert caught.value is mistake
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["error.type"] == "LookupError"


async def test_a_refused_handshake_of_a_known_host_is_a_trace_with_only_a_root(
    instrumented, trace, monkeypatch
):
    monkeypatch.setenv("VOICESPAN_SOCKETS", "127.0.0.1/v1=openai-realtime")
    with OpenAIRealtimeServer(Refuse(401)) as server:
        with pytest.raises(Exception) as caught:
            async with instrumented.opened(url_of(server)):
                pass
    assert type(caught.value).__name__ == instrumented.refused
    assert [span.name for span in trace.spans] == ["conversation"]
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["error.type"] == instrumented.refused


async def test_a_service_that_cannot_be_reached_is_a_trace_with_only_a_root(instrumented, trace, monkeypatch):
    monkeypatch.setenv("VOICESPAN_SOCKETS", "127.0.0.1/v1=openai-realtime")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(Exception) as caught:
        async with instrumented.opened(f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"):
            pass
    assert [span.name for span in trace.spans] == ["conversation"]
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["error.type"] == type(caught.value).__name__
    assert trace.root.attributes["server.port"] == port


async def test_nothing_is_told_of_a_host_that_nobody_knows_and_nobody_reached(instrumented, trace):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(OSError):
        async with instrumented.opened(f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"):
            pass
    assert trace.spans == []


async def test_a_socket_that_is_dropped_without_a_close_does_not_stay_open(instrumented, trace):
    with OpenAIRealtimeServer([Send(CREATED), Drop()]) as server:
        manager = instrumented.opened(url_of(server))
        socket = await manager.__aenter__()
        await socket.receive()
        connection = traced_socket(socket.socket).connection
        if inspect.iscoroutinefunction(getattr(socket.socket, "wait_closed", None)):
            await socket.socket.wait_closed()
        # A library's own tasks hold a socket until its transport is gone.
        manager.gen = None
        del socket, manager
        for _ in range(100):
            await asyncio.sleep(0.01)
            gc.collect()
            if connection.ended:
                break
    assert connection.ended
    assert len(trace.roots) == 1


async def test_uninstrument_takes_everything_off(client, tracer_provider, trace):
    instrumentor = getattr(sockets, client.instrumentor)()
    modules = [importlib.import_module(name) for name in instrumentor.modules]
    kinds = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    before = [dict(vars(each)) for each in (*modules, *kinds)]
    instrumentor.instrument(tracer_provider=tracer_provider)
    with OpenAIRealtimeServer([Send(CREATED), Expect("hello"), Send(LIMITS)]) as server:
        async with client.opened(url_of(server)) as socket:
            await socket.receive()
            instrumentor.uninstrument()
            assert ends(trace)[0] == "untraced"
            assert not [name for name in vars(socket.socket) if "voicespan" in name]
            await socket.send(json.dumps({"type": "hello"}))
            assert json.loads(await socket.receive()) == LIMITS
    assert [dict(vars(each)) for each in (*modules, *kinds)] == before
    assert len(trace.roots) == 1


# Not twice.


@pytest.mark.parametrize("patched", [True, False])
async def test_the_openai_clients_socket_is_its_own(instrumented, trace, tracer_provider, patched):
    pytest.importorskip("openai")
    from openai import AsyncOpenAI, OpenAI

    from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

    if patched:
        OpenAIRealtimeInstrumentor().instrument(tracer_provider=tracer_provider)
    try:
        with OpenAIRealtimeServer([Send(CREATED, LIMITS)]) as server:
            options = {"api_key": "k", "websocket_base_url": server.url}
            async with AsyncOpenAI(**options).realtime.connect(model="m") as connection:
                await connection.recv()
            with OpenAI(**options).realtime.connect(model="m") as connection:
                connection.recv()
    finally:
        if patched:
            OpenAIRealtimeInstrumentor().uninstrument()
    counts = [root.attributes["langsmith.metadata.event_count"] for root in trace.roots]
    assert counts == ([1, 1] if patched else [])


# Which conversation.


async def test_sockets_of_one_scope_are_one_conversation(instrumented, trace, tracer_provider):
    from voicespan.tracing import tracer

    tracer.name_provider(tracer_provider)
    with OpenAIRealtimeServer([Send(CREATED), Close(1011)], [Send(CREATED)]) as server:
        async with voicespan.conversation():
            async with instrumented.opened(url_of(server)) as socket:
                await read_all(socket)
            async with instrumented.opened(url_of(server)) as socket:
                await socket.receive()
    assert trace.fact("connection_count") == 2
    assert trace.fact("event_count") == 2


async def test_the_applications_spans_nest(instrumented, trace, tracer_provider):
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        async with instrumented.opened(url_of(server)) as socket:
            await socket.receive()
            with tracer_provider.get_tracer("app").start_as_current_span("mine"):
                pass
    (mine,) = [span for span in trace.spans if span.name == "mine"]
    assert mine.parent.span_id == trace.root.context.span_id


async def test_no_secret_of_the_request_gets_into_the_trace(instrumented, trace):
    key, other = "k3y-of-an-unknown-shape", "an0ther-one-in-the-query"
    error = {
        "type": "error",
        "event_id": "e",
        "error": {"type": "x", "message": f"wrong key {key} and {other}"},
    }
    with OpenAIRealtimeServer([Send(CREATED, error)]) as server:
        url = url_of(server, f"/realtime?model=m&api-key={other}")
        async with instrumented.opened(url, headers={"Authorization": f"Bearer {key}"}) as socket:
            await socket.receive()
            await socket.receive()
    text = str([(span.attributes, span.events, span.status.description) for span in trace.spans])
    assert "wrong key" in text
    assert key not in text
    assert other not in text


async def test_a_suppressed_block_is_not_traced(instrumented, trace):
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        with suppress_instrumentation():
            async with instrumented.opened(url_of(server)) as socket:
                await socket.receive()
    assert trace.spans == []


async def test_many_at_once(instrumented, trace):
    with OpenAIRealtimeServer([Send(CREATED, LIMITS)]) as server:

        async def hold():
            async with instrumented.opened(url_of(server)) as socket:
                await socket.receive()
                await socket.receive()

        await asyncio.gather(*(hold() for _ in range(8)))
    assert [root.attributes["langsmith.metadata.event_count"] for root in trace.roots] == [2] * 8


async def test_the_end_is_an_exception_of_the_library(instrumented):
    with OpenAIRealtimeServer([Send(CREATED), Close(4001, "no")]) as server:
        async with instrumented.opened(url_of(server)) as socket:
            await socket.receive()
            with pytest.raises(EndedError):
                await socket.receive()
