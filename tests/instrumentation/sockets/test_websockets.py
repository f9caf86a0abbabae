"""What only `websockets` has: decoding on request, messages in pieces, several senders, its own names."""

from __future__ import annotations

import asyncio
import inspect
import json
from importlib import metadata

import pytest
from socket_clients import AsyncioWebsockets, LegacyWebsockets, SyncWebsockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from voicespan.instrumentation.sockets import WebsocketsInstrumentor
from voicespan.testing.openai_realtime import Close, Expect, OpenAIRealtimeServer, Send

CREATED = {"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "id": "sess_1"}}
LIMITS = {"type": "rate_limits.updated", "event_id": "event_1", "rate_limits": []}


VERSION = int(metadata.version("websockets").partition(".")[0])
since_14 = pytest.mark.skipif(VERSION < 14, reason="came with websockets 14")
since_15 = pytest.mark.skipif(VERSION < 15, reason="until then what is unread at the end is lost")


@pytest.fixture(autouse=True)
def _instrumented(tracer_provider, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    WebsocketsInstrumentor().instrument(tracer_provider=tracer_provider)
    yield
    WebsocketsInstrumentor().uninstrument()


def url_of(server):
    return server.url + "/realtime?model=gpt-realtime"


async def test_the_socket_is_the_librarys_own():
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        async with connect(url_of(server)) as socket:
            await socket.recv()
            assert type(socket) is ClientConnection
            for name in ("recv", "recv_streaming", "send", "close", "ping", "wait_closed"):
                method, original = getattr(socket, name), getattr(ClientConnection, name)
                assert inspect.ismethod(method)
                assert method.__self__ is socket
                assert method.__name__ == name
                assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(original)
                assert [*inspect.signature(method).parameters] == [*inspect.signature(original).parameters][
                    1:
                ]


@since_14
@pytest.mark.parametrize("decode", [None, True, False])
@pytest.mark.parametrize("binary", [True, False])
async def test_messages_are_handed_over_as_they_were_asked_for(trace, decode, binary):
    with OpenAIRealtimeServer([Send(CREATED, LIMITS, binary=binary)]) as server:
        async with connect(url_of(server)) as socket:
            messages = [await socket.recv(decode=decode) for _ in range(2)]
    text = decode if decode is not None else not binary
    assert {type(message) for message in messages} == {str if text else bytes}
    assert [json.loads(message)["event_id"] for message in messages] == ["event_0", "event_1"]
    assert trace.received == {"event_0": 1, "event_1": 1}


async def test_streaming_hands_over_pieces_and_the_whole_is_traced(trace):
    with OpenAIRealtimeServer([Send(CREATED, LIMITS), Close(4001, "over")]) as server:
        async with connect(url_of(server)) as socket:
            for expected in (CREATED, LIMITS):
                pieces = [piece async for piece in socket.recv_streaming()]
                assert json.loads("".join(pieces)) == expected
            with pytest.raises(ConnectionClosedError):
                async for _ in socket.recv_streaming():
                    pass
    assert trace.received == {"event_0": 1, "event_1": 1}
    assert trace.fact("close_code") == 4001


@since_14
async def test_messages_that_are_sent_in_pieces(trace):
    async def pieces(text):
        for start in range(0, len(text), 7):
            yield text[start : start + 7]

    with OpenAIRealtimeServer([Send(CREATED), Expect("response.create", count=4)]) as server:
        async with connect(url_of(server)) as socket:
            await socket.recv()
            text = [
                json.dumps({"type": "response.create", "event_id": f"sent_{number}"}) for number in range(4)
            ]
            await socket.send([text[0][:5], text[0][5:]])
            await socket.send([text[1][:5].encode(), text[1][5:].encode()], text=True)
            await socket.send(pieces(text[2]))
            await socket.send(bytearray(text[3].encode()), text=True)
            server.connections[0].wait_for("response.create", 4)
    assert trace.sent == {f"sent_{number}": 1 for number in range(4)}


async def test_several_senders_at_once(trace):
    async def slowly(text):
        for start in range(0, len(text), 10):
            yield text[start : start + 10]
            await asyncio.sleep(0)

    with OpenAIRealtimeServer([Send(CREATED), Expect("response.create", count=20)]) as server:
        async with connect(url_of(server)) as socket:
            await socket.recv()
            texts = [
                json.dumps({"type": "response.create", "event_id": f"sent_{number}"}) for number in range(20)
            ]
            await asyncio.gather(
                *(socket.send(slowly(text) if number % 2 else text) for number, text in enumerate(texts))
            )
    assert trace.sent == {f"sent_{number}": 1 for number in range(20)}


async def test_a_cancelled_read_loses_nothing_and_ends_nothing(trace):
    with OpenAIRealtimeServer([Send(CREATED), Expect("response.create"), Send(LIMITS)]) as server:
        async with connect(url_of(server)) as socket:
            await socket.recv()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.01)
            await socket.send(json.dumps({"type": "response.create", "event_id": "sent"}))
            assert json.loads(await socket.recv()) == LIMITS
    assert trace.received == {"event_0": 1, "event_1": 1}
    assert trace.fact("status") == "completed"


@since_15
async def test_a_send_on_a_closed_socket_does_not_end_what_is_unread(trace):
    with OpenAIRealtimeServer([Send(CREATED, LIMITS), Close(1000, "bye")]) as server:
        async with connect(url_of(server)) as socket:
            await asyncio.to_thread(server.connections[0].wait_closed)
            await socket.wait_closed()
            with pytest.raises(ConnectionClosedOK):
                await socket.send("{}")
            assert trace.roots == []
            assert [json.loads(message)["event_id"] async for message in socket] == ["event_0", "event_1"]
    assert trace.received == {"event_0": 1, "event_1": 1}
    assert (trace.fact("close_code"), trace.fact("close_reason")) == (1000, "bye")


@since_14
async def test_reconnecting_by_iteration_is_a_conversation_each(trace):
    with OpenAIRealtimeServer([Send(CREATED), Close(1011)], [Send(CREATED)]) as server:
        tries = 0
        async for socket in connect(url_of(server)):
            try:
                tries += 1
                async for _ in socket:
                    if tries == 2:
                        break
            except ConnectionClosedError:
                continue
            await socket.close()
            break
    assert [root.attributes["langsmith.metadata.close_code"] for root in trace.roots] == [1011, 1000]


@pytest.mark.parametrize(
    "client", [AsyncioWebsockets, SyncWebsockets, LegacyWebsockets], ids=lambda each: each.name
)
async def test_the_oldest_form_of_each_import(client, trace):
    """Classes are patched, so a name that was imported before is as good."""
    with OpenAIRealtimeServer([Send(CREATED)]) as server:
        async with client.opened(url_of(server)) as socket:
            await socket.receive()
    assert trace.received == {"event_0": 1}
