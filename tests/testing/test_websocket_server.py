"""What the WebSocket servers share: ends of all kinds, failures that come out, waiting and leaving."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading

import pytest
from openai import AsyncOpenAI
from openai_realtime_client import (
    KEY,
    MODEL,
    client,
    connected,
    conversing,
    next_frame,
    read,
    say,
    silence,
)
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.http11 import Request

from voicespan.testing import _websocket
from voicespan.testing.openai_realtime import (
    Answer,
    Close,
    Connection,
    Dialogue,
    Expect,
    OpenAIRealtimeServer,
    Refuse,
    Send,
)

GREETING = {"type": "session.created", "event_id": "event_1", "session": {"id": "sess_1", "type": "realtime"}}


def test_connections_are_dropped_on_demand():
    with conversing() as (server, connection):
        server.drop_connections()
        with pytest.raises(ConnectionClosedError) as caught:
            connection.recv()
        assert caught.value.rcvd is None
        assert server.connections[0].wait_closed()[0] == 1006


def test_connections_are_closed_on_demand():
    with conversing() as (server, connection):
        server.close_connections(1001, "maintenance")
        with pytest.raises(ConnectionClosedOK) as caught:
            connection.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "maintenance")
        assert server.connections[0].wait_closed() == (1001, "maintenance")


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_handshake_is_refused(status):
    refusal = Refuse(status, "no such key", headers={"retry-after": "7"})
    with OpenAIRealtimeServer(refusal, Dialogue()) as server:
        with pytest.raises(InvalidStatus) as caught, client(server).realtime.connect(model=MODEL):
            pass
        response = caught.value.response
        assert (response.status_code, response.headers["retry-after"]) == (status, "7")
        assert json.loads(response.body)["error"]["message"] == "no such key"
        with connected(server):
            pass
        assert [connection.status for connection in server.connections] == [status, 101]


async def test_a_reconnecting_client_gets_the_next_script():
    first = [Send(GREETING), Close(1011, "internal error")]
    second = [Send(GREETING | {"event_id": "event_2"}), Expect("response.create"), Close(1000, "bye")]
    reconnected = []
    with OpenAIRealtimeServer(first, second) as server:
        async_client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with async_client.realtime.connect(
            model=MODEL, on_reconnecting=reconnected.append, initial_delay=0.0, max_retries=1
        ) as connection:
            seen = []
            async for event in connection:
                seen.append(event.event_id)
                if event.event_id == "event_2":
                    await connection.response.create()
                    break
            # The client answers the close in this very loop.
            closed = await asyncio.to_thread(server.connections[1].wait_closed)
    assert closed == (1000, "bye")
    assert seen == ["event_1", "event_2"]
    assert [event.close_code for event in reconnected] == [1011]


def test_a_dialogue_goes_on_over_a_new_connection():
    with OpenAIRealtimeServer.conversational([Answer("One."), Answer("Two.")]) as server:
        said = []
        for _ in range(2):
            with connected(server) as connection:
                connection.response.create()
                said.append(read(connection, "response.output_audio_transcript.done")[-1]["transcript"])
    assert said == ["One.", "Two."]


def leave(server: OpenAIRealtimeServer, connections: int = 1, create: int = 0) -> None:
    """Clients that read until the server's failure ends their connection."""
    with server:
        for _ in range(connections):
            with client(server).realtime.connect(model=MODEL) as connection:
                for _ in range(create):
                    connection.response.create()
                with pytest.raises(ConnectionClosedError) as caught:
                    read(connection, "nothing that comes")
                assert caught.value.rcvd.code == 1011


def test_a_dialogue_that_has_run_out_is_a_failure():
    server = OpenAIRealtimeServer.conversational([Answer("One.")])
    with pytest.raises(AssertionError, match="has 1 answers and was asked for one more"):
        leave(server, create=2)


def test_an_exception_in_a_test_s_own_model_comes_out():
    def model(turn):
        raise LookupError(f"no answer to turn {turn.number}")

    with pytest.raises(LookupError, match="no answer to turn 0"):
        leave(OpenAIRealtimeServer.conversational(model), create=1)


UNMET = [Expect("session.update", timeout=0.01)]


def test_several_failures_are_told_together():
    told = r"2 failures in the server:\n- AssertionError: .*\n- AssertionError"
    with pytest.raises(AssertionError, match=told):
        leave(OpenAIRealtimeServer(UNMET), connections=2)


def test_the_server_s_failure_is_told_and_the_client_s_is_its_context():
    server = OpenAIRealtimeServer(UNMET)

    def run():
        with server, client(server).realtime.connect(model=MODEL) as connection:
            connection.recv()

    with pytest.raises(AssertionError, match=r"expected session\.update 1 times, it came 0 times") as caught:
        run()
    assert isinstance(caught.value.__cause__, ConnectionClosedError)


def test_an_exit_of_the_test_is_not_replaced():
    server = OpenAIRealtimeServer(UNMET)

    def run():
        with server, client(server).realtime.connect(model=MODEL) as connection:
            with contextlib.suppress(ConnectionClosedError):
                connection.recv()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(server.failures) == 1


def test_a_test_waits_for_frames():
    with conversing() as (server, connection):
        sender = threading.Thread(target=say, args=(connection, silence(300)))
        sender.start()
        frames = server.connections[0].wait_for("input_audio_buffer.append", count=3)
        sender.join()
        assert [base64.b64decode(frame["audio"]) for frame in frames] == [silence(100)] * 3
        with pytest.raises(AssertionError, match=r"sent response\.cancel 0 times of 1; it sent: .*append x3"):
            server.connections[0].wait_for("response.cancel", timeout=0.01)
        with pytest.raises(AssertionError, match="was not closed"):
            server.connections[0].wait_closed(timeout=0.01)


class Record:
    """As much of a server as a record of frames needs."""

    changed = threading.Condition()
    most_bytes = 1000

    def frame_name(self, frame):
        return "numbered" if isinstance(frame, dict) else "other"

    def wait_until(self, condition, timeout=None):
        for number in range(100):
            assert not condition()
            self.connection.record(json.dumps({"number": number}))
        assert condition()


def test_of_very_many_frames_the_newer_are_kept():
    server = Record()
    connection = Connection(Request("/v1/realtime", Headers()), number=0, status=101, server=server)
    server.connection = connection
    # Every frame is seen once, also by who waits while older ones are dropped.
    assert [frame["number"] for frame in connection.wait_for("numbered", 100)] == list(range(100))
    kept = [frame["number"] for frame in connection.received]
    assert kept == list(range(100 - len(kept), 100))
    assert 30 < len(kept) < 70
    assert connection.frames_since(95, 2) == (97, ['{"number": 95}', '{"number": 96}'])
    assert connection.frames_since(0, 1) == (101 - len(kept), [json.dumps({"number": kept[0]})])


def test_an_unknown_dialect_is_refused():
    with pytest.raises(ValueError, match="dialects are ga, beta, xai"):
        OpenAIRealtimeServer(dialect="klingon")


def test_leaving_closes_connections_that_are_open():
    with OpenAIRealtimeServer() as server:
        connection = client(server).realtime.connect(model=MODEL).enter()
    assert server.connections[0].closed[0] == 1001
    next_frame(connection)
    with pytest.raises(ConnectionClosedOK) as caught:
        connection.recv()
    assert caught.value.rcvd.code == 1001
    connection.close()


async def test_leaving_is_quick_though_the_client_s_loop_is_blocked_by_it():
    with OpenAIRealtimeServer() as server:
        connection = (
            await AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
            .realtime.connect(model=MODEL)
            .enter()
        )
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2.0
    await connection.close()


def test_an_answer_that_does_not_come_is_a_failure(monkeypatch):
    monkeypatch.setattr(_websocket, "_CLOSE_TIMEOUT", 0.0)
    decided = threading.Event()
    threads = []

    def model(_turn):
        threads.append(threading.current_thread())
        decided.wait()
        return Answer("At last.")

    server = OpenAIRealtimeServer.conversational(model, timeout=0.2)
    connections = []

    def run():
        with server:
            connections.append(client(server).realtime.connect(model=MODEL).enter())
            connections[0].response.create()
            server.connections[0].wait_for("response.create", timeout=5.0)

    with pytest.raises(AssertionError, match="thread does not end"):
        run()
    decided.set()
    threads[0].join()
    with contextlib.suppress(ConnectionClosedOK):
        read(connections[0], "nothing that comes")


def test_no_thread_is_left():
    before = set(threading.enumerate())

    def threads() -> list[str]:
        new = [thread.name for thread in threading.enumerate() if thread not in before]
        return [name for name in new if name.startswith("voicespan")]

    with OpenAIRealtimeServer() as server, connected(server):
        assert threads() == ["voicespan OpenAIRealtimeServer"]
    assert threads() == []


def test_a_client_may_send_for_long_before_it_reads():
    """Neither side may wait for the other: 200 answers are on their way while nobody reads."""
    with conversing(lambda _turn: Answer("word " * 20)) as (server, connection):
        for _ in range(200):
            connection.response.create(response={"conversation": "none"})
        assert len(server.connections[0].wait_for("response.create", 200)) == 200
        done = [f for f in read(connection, "response.done", 200) if f["type"] == "response.done"]
        assert len({frame["response"]["id"] for frame in done}) == 200


def test_a_server_s_close_is_seen():
    server = OpenAIRealtimeServer([Send(GREETING), Close(1000, "good bye")])
    with server, client(server).realtime.connect(model=MODEL) as connection:
        assert [event.type for event in connection] == ["session.created"]
        with pytest.raises(ConnectionClosedOK):
            connection.recv()
