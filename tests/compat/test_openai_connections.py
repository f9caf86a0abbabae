"""Every way a connection opens, ends and comes back: one conversation each, and nothing changed for the application."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from opentelemetry.trace import StatusCode
from realtime_api import APIS, arrived, iterated, opened, settled
from recorded import Trace
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing.openai_realtime import Close, Drop, Expect, Refuse, Send

RECONNECTING = [api for api in APIS if api.has("reconnect")]


def created(session_id, **session):
    session = {"type": "realtime", "id": session_id, "model": "gpt-realtime-2025-08-28", **session}
    return {"type": "session.created", "event_id": f"event_of_{session_id}", "session": session}


CREATED = created("sess_1")
LIMITS = {"type": "rate_limits.updated", "event_id": "event_1", "rate_limits": []}


# Opening and closing.


async def test_a_block_is_one_conversation(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await settled(connection.recv())
        assert trace.roots == []
    server.connections[0].wait_closed()
    assert trace.root.name == "conversation"
    assert trace.root.status.status_code is StatusCode.UNSET
    assert trace.root.attributes["gen_ai.request.model"] == "gpt-realtime-2025-08-28"
    assert trace.root.attributes["server.address"] == "127.0.0.1"
    assert (trace.fact("status"), trace.fact("close_code"), trace.fact("connection_count")) == (
        "completed",
        1000,
        1,
    )


async def test_enter_and_close_without_a_block(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    connection = await settled(api.connect(api.client(server), model="gpt-realtime").enter())
    await settled(connection.recv())
    assert trace.roots == []
    await settled(connection.close(code=1001, reason="going home"))
    assert server.connections[0].wait_closed() == (1001, "going home")
    assert trace.fact("close_code") == 1001
    await settled(connection.close())
    assert len(trace.roots) == 1


async def test_close_inside_the_block_and_leaving_it_are_one_end(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await settled(connection.recv())
        await settled(connection.close())
        assert len(trace.roots) == 1
    assert len(trace.roots) == 1
    server.connections[0].wait_closed()


async def test_a_manager_that_is_entered_twice_is_two_conversations(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    manager = api.connect(api.client(server), model="gpt-realtime")
    for _ in range(2):
        async with opened(manager) as connection:
            await settled(connection.recv())
    assert [root.attributes["langsmith.metadata.event_count"] for root in trace.roots] == [1, 1]
    assert trace.received == {"event_of_sess_1": 2}


async def test_what_leaves_the_block_is_the_applications_own_exception(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED)])
    mistake = LookupError("no such customer")
    with pytest.raises(LookupError) as caught:
        async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
            await settled(connection.recv())
            raise mistake
    assert caught.value is mistake
    assert mistake.__cause__ is None
    assert mistake.__context__ is None
    server.connections[0].wait_closed()
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["error.type"] == "LookupError"


async def test_a_refused_handshake(api, trace, openai_realtime_server):
    server = openai_realtime_server(Refuse(401))
    with pytest.raises(InvalidStatus) as caught:
        await settled(api.connect(api.client(server), model="gpt-realtime").enter())
    assert caught.value.response.status_code == 401
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["error.type"] == "InvalidStatus"
    assert trace.fact("event_count") == 0


async def test_what_a_closed_socket_raises(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED), Close(1011, "internal error")])
    with pytest.raises(ConnectionClosedError) as caught:
        async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
            await settled(connection.recv())
            await settled(connection.recv_bytes())
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "internal error")
    assert trace.root.status.status_code is StatusCode.ERROR
    assert (trace.fact("close_code"), trace.fact("close_reason")) == (1011, "internal error")


async def test_a_normal_close_by_the_server_ends_the_iteration(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(CREATED, LIMITS), Close()])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        assert [event.event_id async for event in iterated(connection)] == ["event_of_sess_1", "event_1"]
    assert (trace.fact("status"), trace.fact("close_code"), trace.fact("event_count")) == (
        "completed",
        1000,
        2,
    )


# The kinds of clients and sessions.


@pytest.mark.parametrize("deployment", [None, "voice-in-sweden"])
async def test_azure(api, deployment, trace, openai_realtime_server):
    server = openai_realtime_server([])
    client = api.azure_client(server, **({"azure_deployment": deployment} if deployment else {}))
    async with opened(api.connect(client, model="gpt-realtime-of-ours")) as connection:
        pass
    named = deployment or "gpt-realtime-of-ours"
    assert server.connections[0].query["deployment"] == named
    assert trace.root.attributes["gen_ai.request.model"] == named
    assert trace.root.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert type(connection) is api.connection_class


@pytest.mark.parametrize("api", [api for api in APIS if api.has("call_id")], ids=str)
async def test_joining_a_call_whose_session_was_created_elsewhere(api, trace, openai_realtime_server):
    updated = {**created("sess_of_the_call"), "type": "session.updated"}
    server = openai_realtime_server([Send(updated)])
    async with opened(api.connect(api.client(server), call_id="rtc_1")) as connection:
        await settled(connection.recv())
    assert server.connections[0].query == {"call_id": "rtc_1"}
    assert trace.fact("realtime_session_id") == "sess_of_the_call"
    assert trace.root.attributes["gen_ai.request.model"] == "gpt-realtime-2025-08-28"
    assert trace.received == {"event_of_sess_of_the_call": 1}


async def test_a_transcription_session(api, trace, openai_realtime_server):
    ids = {"item_id": "item_1", "content_index": 0}
    kind = "conversation.item.input_audio_transcription"
    session = created("sess_1", type="transcription", model=None)
    server = openai_realtime_server([
        Send(session),
        Send({"type": f"{kind}.delta", "event_id": "event_1", "delta": "Good ", **ids}),
        Send({"type": f"{kind}.completed", "event_id": "event_2", "transcript": "Good day.", **ids}),
    ])  # fmt: skip
    # Before `model` became optional, whoever transcribed had to give one beside the intent.
    model = {} if api.has("call_id") else {"model": "gpt-4o-transcribe"}
    manager = api.connect(api.client(server), extra_query={"intent": "transcription"}, **model)
    async with opened(manager) as connection:
        for _ in range(3):
            await settled(connection.recv())
    assert server.connections[0].query["intent"] == "transcription"
    assert [span.name for span in trace.spans] == ["session.created", "input_transcription", "conversation"]
    assert (trace.fact("event_count"), trace.fact("turn_count")) == (3, 0)
    assert trace.root.attributes.get("gen_ai.request.model") == model.get("model")


async def test_clients_of_before_and_after_and_their_copies(
    api, tracer_provider, span_exporter, monkeypatch, openai_realtime_server
):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    server = openai_realtime_server([Send(CREATED)])
    before = api.client(server)
    untouched = api.connect(before, model="gpt-realtime")
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        clients = [before, api.client(server), before.with_options(timeout=3), before.copy()]
        managers = [untouched, *(api.connect(client, model="gpt-realtime") for client in clients)]
        for manager in managers:
            async with opened(manager) as connection:
                await settled(connection.recv())
                await settled(connection.response.create(event_id="sent"))
    finally:
        instrumentor.uninstrument()
    trace = Trace(span_exporter)
    assert [root.attributes["langsmith.metadata.event_count"] for root in trace.roots] == [2] * 5
    assert trace.sent == {"sent": 5}


# Connections that were open when tracing began or ended.


async def test_a_connection_that_was_open_before_is_left_alone(
    api, tracer_provider, span_exporter, openai_realtime_server
):
    server = openai_realtime_server([Send(CREATED, LIMITS)])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await settled(connection.recv())
        instrumentor = OpenAIRealtimeInstrumentor()
        instrumentor.instrument(tracer_provider=tracer_provider)
        try:
            await settled(connection.recv())
            await settled(connection.response.create())
        finally:
            instrumentor.uninstrument()
    assert [frame["type"] for frame in arrived(server)] == ["response.create"]
    assert span_exporter.get_finished_spans() == ()


async def test_a_connection_that_is_open_at_the_end_of_tracing_goes_on(
    api, instrumentor, trace, openai_realtime_server
):
    server = openai_realtime_server([Send(CREATED), Expect("response.create"), Send(LIMITS)])
    async with opened(api.connect(api.client(server), model="gpt-realtime")) as connection:
        await settled(connection.recv())
        instrumentor.uninstrument()
        assert (trace.fact("status"), trace.fact("event_count")) == ("untraced", 1)
        await settled(connection.response.create())
        assert (await settled(connection.recv())).event_id == "event_1"
    assert len(trace.roots) == 1
    assert trace.root.status.status_code is StatusCode.UNSET


# The package's own reconnect.


async def until(connection, count):
    found = []
    async for event in iterated(connection):
        found.append(event.event_id)
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize("end", [Drop(), Close(1011, "restarting")], ids=["dropped", "closed"])
@pytest.mark.parametrize("api", RECONNECTING, ids=str)
async def test_a_reconnect_goes_on_with_the_conversation(api, end, trace, openai_realtime_server):
    server = openai_realtime_server([Send(created("sess_1")), end], [Send(created("sess_2"), LIMITS)])
    attempts = []
    manager = api.connect(
        api.client(server),
        model="gpt-realtime",
        on_reconnecting=lambda event: attempts.append(event.close_code),
        initial_delay=0.001,
    )
    async with opened(manager) as connection:
        assert await until(connection, 3) == ["event_of_sess_1", "event_of_sess_2", "event_1"]
        await settled(connection.send({"type": "response.create", "event_id": "sent"}))
        assert type(connection) is api.connection_class
    assert attempts == [1006 if isinstance(end, Drop) else 1011]
    assert [frame["event_id"] for frame in arrived(server, 1)] == ["sent"]
    assert trace.fact("realtime_session_id") == "sess_1,sess_2"
    assert (trace.fact("reconnect_count"), trace.fact("connection_count")) == (1, 1)
    assert trace.received == {"event_of_sess_1": 1, "event_of_sess_2": 1, "event_1": 1}
    assert (trace.sent, trace.fact("event_count")) == ({"sent": 1}, 4)
    assert (trace.fact("status"), trace.fact("close_code")) == ("completed", 1000)
    assert trace.root.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("way", ["send", "send_raw"])
@pytest.mark.parametrize("api", RECONNECTING, ids=str)
async def test_what_is_sent_during_a_reconnect_is_seen_when_it_goes_out(
    api, way, trace, openai_realtime_server
):
    server = openai_realtime_server(
        [Send(created("sess_1")), Drop()], [Expect("response.create"), Send(LIMITS)]
    )
    pending = []

    def on_reconnecting(_event):
        event = {"type": "response.create", "event_id": "sent"}
        sending = connection.send(event) if way == "send" else connection.send_raw(json.dumps(event))
        # The package's hook is a plain function, so an async send goes on in a task.
        pending.append(asyncio.ensure_future(sending) if api.asynchronous else sending)

    manager = api.connect(
        api.client(server), model="gpt-realtime", on_reconnecting=on_reconnecting, initial_delay=0.05
    )
    async with opened(manager) as connection:
        assert await until(connection, 2) == ["event_of_sess_1", "event_1"]
        for sending in pending:
            await settled(sending)
    assert [frame["event_id"] for frame in arrived(server, 1)] == ["sent"]
    assert trace.sent == {"sent": 1}
    assert trace.fact("event_count") == 3
    assert trace.fact("frames_unsent") is None


@pytest.mark.parametrize("api", RECONNECTING, ids=str)
async def test_a_reconnect_that_fails_ends_the_conversation_with_an_error(api, trace, openai_realtime_server):
    server = openai_realtime_server([Send(created("sess_1")), Drop()], Refuse(503))
    manager = api.connect(
        api.client(server),
        model="gpt-realtime",
        on_reconnecting=lambda _event: None,
        max_retries=2,
        initial_delay=0.001,
    )
    with pytest.raises(ConnectionClosedError):
        async with opened(manager) as connection:
            await until(connection, 2)
    assert len(server.connections) == 3
    assert trace.root.status.status_code is StatusCode.ERROR
    assert (trace.fact("close_code"), trace.fact("event_count")) == (1006, 1)
    assert trace.fact("reconnect_count") is None


@pytest.mark.parametrize("api", RECONNECTING, ids=str)
async def test_what_is_sent_during_a_reconnect_and_never_goes_out_is_counted(
    api, trace, openai_realtime_server
):
    server = openai_realtime_server([Send(created("sess_1")), Drop()], Refuse(503))
    pending = []

    def on_reconnecting(_event):
        sending = connection.send({"type": "response.create", "event_id": "never sent"})
        pending.append(asyncio.ensure_future(sending) if api.asynchronous else sending)

    manager = api.connect(
        api.client(server),
        model="gpt-realtime",
        on_reconnecting=on_reconnecting,
        max_retries=2,
        initial_delay=0.01,
    )
    with pytest.raises(openai.WebSocketConnectionClosedError):
        async with opened(manager) as connection:
            await until(connection, 2)
    assert len(pending) == 2
    assert trace.sent == {}
    assert (trace.fact("event_count"), trace.fact("frames_unsent")) == (1, 2)
    assert trace.root.status.status_code is StatusCode.ERROR
