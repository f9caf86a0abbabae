"""The real SDK with a server that converses: what the application gets, and what is told of it."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
import websockets
from openai import AsyncOpenAI, AzureOpenAI
from openai_live_client import KEY, MODEL, client, close, conversing, frame, say, silence, speech, until
from opentelemetry.trace import StatusCode
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from wire_call import content, fact

import voicespan
from voicespan.instrumentation.sockets import WebsocketsInstrumentor
from voicespan.openai_live import OpenAILiveInstrumentor
from voicespan.runtime.patching import PatchingInstrumentor
from voicespan.testing.openai_live import (
    Drop,
    Expect,
    FunctionCall,
    OpenAILiveServer,
    Refuse,
    Reply,
    Script,
    Send,
)

UTTERANCE = speech(1200) + silence(900)
STARTED = {"type": "session.started", "event_id": "event_1", "session": {"id": "live_a", "model": MODEL}}
CLOSED = {
    "type": "session.closed",
    "event_id": "event_9",
    "reason": "close_requested",
    "usage": {"seconds": 1},
    "session": {},
}


@pytest.fixture(autouse=True)
def _traced(tracer_provider):
    OpenAILiveInstrumentor().instrument(tracer_provider=tracer_provider)
    yield
    OpenAILiveInstrumentor().uninstrument()


@pytest.fixture
def trace(span_exporter):
    """The roots and the other spans, by name."""

    class Trace:
        @property
        def spans(self):
            return span_exporter.get_finished_spans()

        @property
        def roots(self):
            return [span for span in self.spans if span.parent is None]

        @property
        def root(self):
            (root,) = self.roots
            return root

        def named(self, name):
            return [span for span in self.spans if span.name == name]

        @property
        def transcript(self):
            sides = content(self.root, "in") or {}, content(self.root, "out") or {}
            return [(each["role"], each["content"]) for side in sides for each in side.get("messages", [])]

    return Trace()


def test_a_whole_session_of_the_sync_client(trace):
    reply = Reply(
        "Let me see.", delegates=True, calls=[FunctionCall("weather", {"city": "Rome"})], result="Sunny."
    )
    session = {"delegation": {"type": "responses", "responses": {"model": "gpt-5"}}}
    with conversing(reply, transcripts=["What about Rome?"], session=session) as (_, connection):
        say(connection, UTTERANCE + silence(400))
        call = until(connection, "response.event", 6)[-2]["event"]["item"]
        say(connection, silence(1500))
        item = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        connection.response.item.create(item=item)
        connection.response.create()
        say(connection, silence(1000))
        close(connection)
        with pytest.raises(ConnectionClosedError):
            connection.recv()
    assert trace.root.status.status_code is not StatusCode.ERROR
    assert fact(trace.root, "status") == "completed"
    assert fact(trace.root, "usage_seconds") == 5.0
    words = [(role, text) for role, text in trace.transcript if text and role != "tool"]
    assert words == [("user", "What about Rome?"), ("assistant", "Let me see."), ("assistant", "Sunny.")]
    assert len(trace.named("delegated_response")) == 2
    (function,), (delegation,) = trace.named("function_call: weather"), trace.named("delegation: responses")
    assert function.parent.span_id == delegation.context.span_id
    assert not [span.name for span in trace.spans if span.name.endswith((".delta", ".append"))]


async def test_a_client_delegation_of_the_async_client_holds_the_applications_own_spans(
    trace, tracer_provider
):
    with OpenAILiveServer.conversational([Reply("One moment.", delegates=True)]) as server:
        async_client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with async_client.live.connect() as connection:
            await connection.session.start(session={"model": MODEL})
            for _ in range(25):
                await connection.session.input_audio.append(audio=base64.b64encode(UTTERANCE[:4800]).decode())
            for _ in range(8):
                await connection.session.input_audio.append(audio=base64.b64encode(silence(100)).decode())
            async for event in connection:
                if event.type == "session.delegation.created":
                    with tracer_provider.get_tracer("agent").start_as_current_span("agent run"):
                        await asyncio.sleep(0)
                    await connection.session.commentary.append(
                        content="It is sunny.", delegation_id=event.delegation.id
                    )
                    await connection.session.input_audio.append(audio=base64.b64encode(silence(200)).decode())
                if event.type == "session.commentary.appended":
                    await connection.session.close()
                if event.type == "session.closed":
                    break
    (delegation,) = trace.named("delegation: client")
    (run,) = trace.named("agent run")
    assert run.parent.span_id == delegation.context.span_id
    assert content(delegation, "out")["messages"][0]["content"] == "It is sunny."
    assert delegation.status.status_code is not StatusCode.ERROR


def test_who_reads_to_the_end_gets_the_sdks_own_exception_and_the_call_was_clean(trace):
    with pytest.raises(ConnectionClosedError), conversing() as (_, connection):
        connection.session.close()
        for _event in connection:
            pass
    assert fact(trace.root, "status") == "completed"
    assert trace.root.status.status_code is not StatusCode.ERROR


def test_a_dropped_session_is_an_error(trace):
    script = [Expect("session.start"), Send(STARTED), Drop()]
    with OpenAILiveServer(script) as server:
        with pytest.raises(ConnectionClosedError), client(server).live.connect() as connection:
            connection.session.start(session={"model": MODEL})
            for _event in connection:
                pass
    assert trace.root.status.status_code is StatusCode.ERROR


def test_a_refused_handshake_is_a_trace_with_only_a_root(trace):
    with OpenAILiveServer(Refuse(401)) as server, pytest.raises(InvalidStatus):
        client(server).live.connect().enter()
    assert trace.root.status.status_code is StatusCode.ERROR
    assert len(trace.spans) == 1


def test_what_was_queued_before_the_connection_opened_is_seen(trace, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    with OpenAILiveServer() as server:
        manager = client(server).live.connect()
        manager.send({"type": "session.start", "session": {"model": MODEL}})
        with manager as connection:
            assert frame(connection)["type"] == "session.started"
            close(connection)
    assert len(trace.named("session.start")) == 1
    assert trace.root.attributes["gen_ai.request.model"] == MODEL


def test_after_a_reconnect_a_new_session_goes_on_in_the_same_conversation(trace):
    first = [Expect("session.start"), Send(STARTED), Drop()]
    second = [
        Expect("session.start"),
        Send({**STARTED, "session": {"id": "live_b", "model": MODEL}}, CLOSED),
        Drop(),
    ]
    with OpenAILiveServer(Script(first), Script(second)) as server:
        manager = client(server).live.connect(on_reconnecting=lambda _event: None, initial_delay=0.01)
        with manager as connection:
            connection.session.start(session={"model": MODEL})
            assert connection.recv().type == "session.started"
            events = iter(connection)
            sent = False
            while True:
                if not sent and len(server.connections) == 2:
                    connection.session.start(session={"model": MODEL})
                    sent = True
                try:
                    event = connection.recv()
                except ConnectionClosedError as lost:
                    if not connection._reconnect(lost):
                        raise
                    continue
                if event.type == "session.closed":
                    break
            del events
    assert fact(trace.root, "realtime_session_id") == "live_a,live_b"
    assert fact(trace.root, "reconnect_count") == 1
    assert len(trace.named("session.started")) == 2
    assert fact(trace.root, "status") == "completed"


def test_a_sideband_beside_the_primary_tells_nothing_twice(trace):
    with conversing(Reply("Hi.", delegates=True), transcripts=["Hello?"]) as (server, connection):
        (session_id,) = server.sessions
        with client(server).live.sideband.connect(session_id=session_id) as sideband:
            assert frame(sideband)["type"] == "session.started"
            say(connection, UTTERANCE + silence(600))
            delegation = until(connection, "session.delegation.created")[-1]["delegation"]["id"]
            until(sideband, "session.delegation.created")
            sideband.session.commentary.append(content="Done.", delegation_id=delegation, event_id="mine")
            sideband.send({"type": "transport.dtmf.send", "event": "5"})
            server.connections[1].wait_for("transport.dtmf.send")
            say(connection, silence(300))
            until(sideband, "session.commentary.appended")
            until(connection, "session.commentary.appended")
        close(connection)
    assert len(trace.roots) == 1
    for name in ("session.started", "input_transcription", "delegation: client", "context: commentary"):
        assert len(trace.named(name)) == 1, name
    assert trace.named("delegation: client")[0].status.status_code is not StatusCode.ERROR
    assert len(trace.named("transport.dtmf.sent")) == 1
    assert fact(trace.root, "usage_seconds") == 3.0
    assert fact(trace.root, "connection_count") == 2


def test_functions_can_be_answered_on_the_sideband(trace):
    reply = Reply("Let me see.", delegates=True, calls=[FunctionCall("weather")], result="Sunny.")
    session = {"delegation": {"type": "responses", "responses": {"model": "gpt-5"}}}
    with conversing(reply, session=session) as (server, connection):
        (session_id,) = server.sessions
        with client(server).live.sideband.connect(session_id=session_id) as sideband:
            say(connection, UTTERANCE + silence(400))
            call = until(sideband, "response.event", 4)[-1]["event"]["item"]
            until(connection, "response.event", 5)
            item = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
            sideband.response.item.create(item=item)
            sideband.response.create()
            until(sideband, "response.event", 6)
            until(connection, "response.event", 5)
        close(connection)
    assert len(trace.named("function_call: weather")) == 1
    assert len(trace.named("function_response: weather")) == 1
    for span in trace.spans:
        assert span.status.status_code is not StatusCode.ERROR, span.name
    assert fact(trace.root, "input_tokens") == 240


def test_a_sideband_alone_is_a_conversation_that_observes(trace):
    call = {
        "type": "session.input_transcript.delta",
        "event_id": "e",
        "delta": "Hi.",
        "start_ms": 0,
        "end_ms": 300,
    }
    with OpenAILiveServer([Send(call), Send(CLOSED), Drop()]) as server:
        with client(server).live.sideband.connect(session_id="live_7") as sideband:
            until(sideband, "session.closed")
    assert fact(trace.root, "observer") is True
    assert fact(trace.root, "realtime_session_id") == "live_7"
    assert trace.transcript == [("user", "Hi.")]


def test_a_fork_names_what_it_was_forked_from(trace):
    with conversing(Reply("Hi."), session={"store": True}) as (server, connection):
        close(connection)
        (session_id,) = server.sessions
        with client(server).live.forks.connect(session_id=session_id) as fork:
            fork.session.start(session={})
            assert frame(fork)["type"] == "session.started"
            close(fork)
    second = next(root for root in trace.roots if fact(root, "forked_from_session_id"))
    assert fact(second, "forked_from_session_id") == session_id
    assert fact(second, "realtime_session_id") != session_id
    assert len(trace.roots) == 2


def test_primary_and_fork_inside_one_scope_are_one_conversation(trace):
    with voicespan.conversation(thread_id="t"), conversing(session={"store": True}) as (server, connection):
        close(connection)
        (session_id,) = server.sessions
        with client(server).live.forks.connect(session_id=session_id) as fork:
            fork.session.start(session={})
            close(fork)
    assert fact(trace.root, "connection_count") == 2


def test_an_unknown_type_is_read_by_its_type_whatever_class_the_sdk_makes_of_it(trace):
    strange = {"type": "session.hologram.shown", "event_id": "e", "shape": "cube"}
    with OpenAILiveServer([Expect("session.start"), Send(STARTED, strange, CLOSED), Drop()]) as server:
        with client(server).live.connect() as connection:
            connection.session.start(session={"model": MODEL})
            seen = [connection.recv() for _ in range(3)]
    assert seen[1].type == "session.hologram.shown"
    assert len(trace.named("session.hologram.shown")) == 1
    assert len(trace.named("session.started")) == 1


def test_the_applications_frames_are_what_they_were(trace):
    with conversing() as (server, connection):
        connection.send_raw(
            json.dumps({"type": "session.thinking.append", "content": "x", "delegation_id": None})
        )
        connection.send({"type": "session.input_audio.mute"})
        assert until(connection, "session.input_audio.muted")
        close(connection)
        received = [each["type"] for each in server.connections[0].received]
    assert received == [
        "session.start", "session.thinking.append", "session.input_audio.mute", "session.close",
    ]  # fmt: skip
    assert len(trace.named("context: thinking")) == 1


def test_nothing_is_left_of_it_afterwards():
    from openai.resources.live import forks, live, sideband

    OpenAILiveInstrumentor().uninstrument()
    for module in (live, sideband, forks):
        for name in dir(module):
            kind = getattr(module, name)
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                left = [key for key, value in vars(kind).items() if "voicespan" in repr(value)]
                assert not left, (name, left)
    assert issubclass(OpenAILiveInstrumentor, PatchingInstrumentor)


def test_no_secret_gets_into_the_trace(trace):
    with conversing(Reply("Hi.")) as (_, connection):
        say(connection, UTTERANCE)
        close(connection)
    assert KEY not in "".join(span.to_json() for span in trace.spans)


@pytest.fixture
def sockets_traced(tracer_provider):
    instrumentor = WebsocketsInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    yield
    instrumentor.uninstrument()


async def end_socket(socket):
    await socket.send(json.dumps({"type": "session.close"}))
    await until_type(socket, "session.closed")


async def until_type(socket, kind):
    async for message in socket:
        event = json.loads(message)
        if event["type"] == kind:
            return event
    raise AssertionError(f"no {kind} came")


async def say_on(socket, pcm):
    for start in range(0, len(pcm), 4800):
        audio = base64.b64encode(pcm[start : start + 4800]).decode()
        await socket.send(json.dumps({"type": "session.input_audio.append", "audio": audio}))


@pytest.mark.usefixtures("sockets_traced")
async def test_any_socket_that_speaks_it_is_traced(trace):
    with OpenAILiveServer.conversational([Reply("Hi.")], ["Hello?"]) as server:
        async with websockets.connect(f"{server.url}/live/sessions") as socket:
            await socket.send(json.dumps({"type": "session.start", "session": {"model": MODEL}}))
            await say_on(socket, UTTERANCE)
            await end_socket(socket)
    assert trace.transcript[0] == ("user", "Hello?")
    assert fact(trace.root, "session_close_reason") == "close_requested"
    assert trace.root.status.status_code is not StatusCode.ERROR


async def stay_silent(socket):
    """Say nothing, for as long as it takes."""
    while True:
        await say_on(socket, silence(100))
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("sockets_traced")
async def test_a_sideband_on_a_socket_of_its_own_joins_the_primarys_trace(trace):
    with OpenAILiveServer.conversational([Reply("Hi.", delegates=True)], ["Hello?"]) as server:
        async with websockets.connect(f"{server.url}/live/sessions") as socket:
            await socket.send(json.dumps({"type": "session.start", "session": {"model": MODEL}}))
            session_id = (await until_type(socket, "session.started"))["session"]["id"]
            async with websockets.connect(f"{server.url}/live/sessions/{session_id}/attach") as sideband:
                await until_type(sideband, "session.started")
                await say_on(socket, UTTERANCE + silence(600))
                delegation = (await until_type(socket, "session.delegation.created"))["delegation"]["id"]
                append = {"content": "Done.", "delegation_id": delegation, "event_id": "mine"}
                await sideband.send(json.dumps({"type": "session.commentary.append", **append}))
                # The session's time goes on with the audio, and whether that or the commentary arrives first is open.
                silent = asyncio.create_task(stay_silent(socket))
                await until_type(sideband, "session.commentary.appended")
                await until_type(socket, "session.commentary.appended")
                silent.cancel()
            await end_socket(socket)
    assert len(trace.roots) == 1
    assert fact(trace.root, "connection_count") == 2
    for name in ("session.started", "input_transcription", "delegation: client", "context: commentary"):
        assert len(trace.named(name)) == 1, name
    assert fact(trace.root, "observer") is None


@pytest.mark.usefixtures("sockets_traced")
async def test_a_fork_on_a_socket_of_its_own_names_what_it_was_forked_from(trace):
    with OpenAILiveServer.conversational([Reply("Hi.")]) as server:
        session = {"model": MODEL, "store": True}
        async with websockets.connect(f"{server.url}/live/sessions") as socket:
            await socket.send(json.dumps({"type": "session.start", "session": session}))
            session_id = (await until_type(socket, "session.started"))["session"]["id"]
            await end_socket(socket)
        async with websockets.connect(f"{server.url}/live/sessions/{session_id}/fork") as fork:
            await fork.send(json.dumps({"type": "session.start", "session": {}}))
            await end_socket(fork)
    _, second = trace.roots
    assert fact(second, "forked_from_session_id") == session_id


@pytest.mark.usefixtures("sockets_traced")
async def test_a_sideband_of_a_gateway_that_is_told_no_beginning(trace):
    words = {"type": "session.input_transcript.delta", "event_id": "e", "delta": "Hi.", "start_ms": 0, "end_ms": 300}  # fmt: skip
    with OpenAILiveServer([Send(words, CLOSED), Drop()]) as server:
        async with websockets.connect(f"{server.url}/live/sessions/live_7/attach") as sideband:
            await until_type(sideband, "session.closed")
    assert fact(trace.root, "observer") is True
    assert fact(trace.root, "realtime_session_id") == "live_7"
    assert trace.transcript == [("user", "Hi.")]


def test_the_azure_client(trace):
    with OpenAILiveServer.conversational([Reply("Hi.")]) as server:
        endpoint = server.url.replace("ws://", "http://").removesuffix("/v1")
        azure = AzureOpenAI(azure_endpoint=endpoint, api_key=KEY, api_version="2026-07-15")
        with azure.live.connect() as connection:
            connection.session.start(session={"model": "my-deployment"})
            say(connection, UTTERANCE)
            close(connection)
    assert trace.root.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert fact(trace.root, "session_close_reason") == "close_requested"
    assert KEY not in "".join(span.to_json() for span in trace.spans)
