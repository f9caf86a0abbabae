"""The real SDK, over TLS, with a server that plays: what the application gets, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import os
import threading
import warnings
import weakref
from importlib import metadata

import pytest
from google.genai import live, types
from live_call import speech
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode
from sessions import (
    CLOSED,
    CONFIG,
    MODEL,
    OPENING,
    RAISES_UNKNOWN,
    TAKES_AUDIO,
    TELLS_ACTIVITY,
    TELLS_USAGE,
    TELLS_WORDS,
    VERSION,
    client,
    connect,
    content,
    say,
    scripted,
    silence,
    speak,
    turn,
    until_closed,
    voice,
)
from wire_call import content as content_of
from wire_call import fact, messages

from voicespan import current_conversation
from voicespan.gemini_live import GeminiLiveInstrumentor, sdk_connection
from voicespan.testing.gemini_live import (
    Answer,
    Close,
    Dialogue,
    Drop,
    Expect,
    FunctionCall,
    GeminiLiveServer,
    Hold,
    Refuse,
    Send,
    Turn,
)

#: The first versions say so once.
pytestmark = pytest.mark.filterwarnings("ignore:The live API is experimental")

COMPLETE = {**content(turnComplete=True), "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 5}}


def test_the_version_is_the_one_that_is_meant():
    """The compatibility run says which; the resolver may have had another idea."""
    for requirement in os.environ.get("VOICESPAN_COMPAT", "").split():
        name, _, wanted = requirement.partition("==")
        if wanted:
            found = metadata.version(name)
            assert f"{found}.".startswith(wanted.rstrip("*").rstrip(".") + "."), name


# A session.


async def test_a_block_is_a_conversation_and_every_message_is_told_once(
    instrumentor, trace, gemini_live_server
):
    steps = [
        Expect("client_content"),
        Send(
            content(outputTranscription={"text": "Good"}),
            content(modelTurn={"parts": [speech(20)]}),
            content(modelTurn={"parts": [speech(20)]}),
            content(outputTranscription={"text": " morning!"}),
            {},
            content(),
            content(generationComplete=True),
            COMPLETE,
        ),
    ]
    async with scripted(gemini_live_server, *steps) as (session, server):
        assert type(session) is live.AsyncSession
        await say(session)
        received = await turn(session)
        assert len(received) == 8
        assert received[1].data == received[2].data == b"\x01\x00" * 480
    assert trace.root.status.status_code is StatusCode.UNSET
    assert trace.root.attributes["gen_ai.provider.name"] == "gcp.gemini"
    assert trace.root.attributes["gen_ai.request.model"] == MODEL
    assert trace.root.attributes["server.address"] == "127.0.0.1"
    assert fact(trace.root, "event_count") == 9 + len(server.connections[0].received)
    assert fact(trace.root, "close_code") == 1000
    assert fact(trace.root, "status") == "completed"
    names = {"setup_complete", "client_content", "generation_complete", "turn_complete"}
    assert sorted(trace.names) == sorted(names | ({"output_transcription"} if TELLS_WORDS else set()))
    told = trace.named("turn_complete")
    assert [message["content"] for message in messages(told)] == [
        "Hi",
        "Good morning!" if TELLS_WORDS else "",
    ]
    assert fact(told, "generated_ms") == 40
    assert told.attributes.get("gen_ai.usage.total_tokens") == (5 if TELLS_USAGE else None)
    assert fact(trace.root, "realtime_session_id") == ("session-1" if VERSION >= (1, 75) else None)


async def test_a_spoken_conversation_with_a_barge_in(instrumentor, trace, gemini_live_server):
    story = Answer("Once upon a time there was a king", speed=0.1)
    server = gemini_live_server(Dialogue([story, Answer("Fine.")], ["Tell me a story", "Stop it"]))
    async with connect(server) as session:
        await speak(session, voice(500) + silence(700))
        reading = asyncio.create_task(turn(session))
        for _ in range(40):
            await speak(session, silence(100))
        await speak(session, voice(300))
        assert (await reading)[-1].server_content.turn_complete
        await speak(session, silence(900))
        await turn(session)
    heard = [messages(span)[0]["content"] for span in trace.all("input_transcription")]
    assert heard == (["Tell me a story", "Stop it"] if TELLS_WORDS else [])
    assert len(trace.all("interrupted")) == 1
    first, second = trace.all("turn_complete")
    assert (fact(first, "status"), fact(second, "status")) == ("interrupted", "completed")
    assert fact(first, "generated_ms") < 60 * len(story.text)
    assert fact(trace.root, "interruption_count") == 1


async def test_functions_and_the_application_s_own_spans(
    instrumentor, trace, tracer_provider, gemini_live_server
):
    tracer = tracer_provider.get_tracer("application")
    calls = [FunctionCall("get_weather", {"city": "Oslo"}), FunctionCall("get_time", {})]
    server = gemini_live_server(Dialogue([Answer(calls=calls[:1]), Answer("Sunny.")]))
    async with connect(server) as session:
        with tracer.start_as_current_span("before"):
            await say(session, "Weather?")
        async for message in session.receive():
            for call in message.tool_call.function_calls if message.tool_call else ():
                with tracer.start_as_current_span("lookup"):
                    pass
                answer = types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"})
                await session.send_tool_response(function_responses=answer)
    tool = trace.named("function_call: get_weather")
    assert content_of(tool, "in") == {"city": "Oslo"}
    assert content_of(tool, "out") == {"output": "sunny"}
    assert trace.named("lookup").parent.span_id == tool.context.span_id
    assert trace.named("before").parent.span_id == trace.root.context.span_id
    assert len(trace.all("turn_complete")) == 1
    assert current_conversation() is None
    assert not otel.get_current_span().get_span_context().is_valid


@pytest.mark.skipif(VERSION < (1, 20), reason="this version takes no credentials but the machine's")
async def test_vertex_ai(instrumentor, trace, gemini_live_server):
    server = gemini_live_server()
    async with client(server, vertexai=True).aio.live.connect(model=MODEL, config=CONFIG) as session:
        await say(session)
        await turn(session)
    assert "LlmBidiService" in server.connections[0].path
    assert trace.root.attributes["gen_ai.provider.name"] == "gcp.vertex_ai"
    assert trace.root.attributes["gen_ai.request.model"] == MODEL
    assert trace.named("turn_complete").attributes["gen_ai.system"] == "gcp.vertex_ai"


@pytest.mark.skipif(not TELLS_ACTIVITY, reason="this version drops it")
async def test_voice_activity(instrumentor, trace, gemini_live_server):
    server = gemini_live_server(Dialogue([Answer("Hi.")], ["Hello"], voice_activity=True))
    async with connect(server) as session:
        await speak(session, voice(500) + silence(700))
        await turn(session)
    assert len(trace.all("voice_activity")) == 2
    assert fact(trace.named("turn_complete"), "latency_to_first_audio_ms") == 0


async def test_every_way_of_sending_is_told_once(instrumentor, trace, gemini_live_server):
    server = gemini_live_server([*OPENING])
    async with connect(server) as session:
        await say(session, "one", turn_complete=False)
        await speak(session, silence(20))
        if TAKES_AUDIO:
            await session.send_realtime_input(text="two")
            await session.send_realtime_input(video=types.Blob(data=bytes(300), mime_type="image/jpeg"))
        answer = {"id": "call-1", "name": "f", "response": {"output": 1}}
        await session.send_tool_response(function_responses=[answer])
        if hasattr(session, "send_context_update"):
            await session.send_context_update(system_instruction="Be brief.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            await session.send(input="three", end_of_turn=True)
        server.connections[0].wait_for("client_content", 2)
        sent = server.connections[0].received
    assert fact(trace.root, "event_count") == len(sent) + 1
    typed = [message["content"] for message in messages(trace.root) if message["role"] == "user"]
    assert typed == (["one", "two", "[image/jpeg]", "three"] if TAKES_AUDIO else ["one", "three"])
    assert len(trace.all("function_response: f")) == 1
    assert len(trace.all("context_update")) == hasattr(live.AsyncSession, "send_context_update")


async def test_a_stream_is_told_once(instrumentor, trace, gemini_live_server):
    async def microphone():
        for _ in range(3):
            yield silence(20)

    server = gemini_live_server([*OPENING, Expect("realtime_input", 3), Send(COMPLETE)])
    async with connect(server) as session:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            async for _ in session.start_stream(stream=microphone(), mime_type="audio/pcm;rate=16000"):
                break
        server.connections[0].wait_for("realtime_input", 3)
    assert fact(trace.root, "event_count") in (5, 6)
    assert "client_content" not in trace.names


# How it ends.


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_normal_close_is_an_exception_to_the_application_and_no_error_of_the_conversation(
    instrumentor, trace, gemini_live_server, code
):
    with pytest.raises(CLOSED):
        async with scripted(gemini_live_server, Close(code, "bye")) as (session, _):
            await turn(session)
    assert trace.root.status.status_code is StatusCode.UNSET
    assert fact(trace.root, "status") == "completed"
    assert fact(trace.root, "close_code") == code
    assert fact(trace.root, "close_reason") == "bye"
    assert trace.names == ["setup_complete"]


@pytest.mark.parametrize("end", [(Close(1011, "internal"), 1011), (Drop(), 1006)], ids=["close", "drop"])
@pytest.mark.parametrize("escapes", [True, False])
async def test_an_abnormal_close_is_one(instrumentor, trace, gemini_live_server, end, escapes):
    step, code = end
    async with contextlib.AsyncExitStack() as stack:
        if escapes:
            stack.enter_context(pytest.raises(CLOSED))
        session, _ = await stack.enter_async_context(scripted(gemini_live_server, step))
        if escapes:
            await turn(session)
        else:
            await until_closed(session)
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["error.type"] == "connection_closed"
    assert fact(trace.root, "close_code") == code
    told = trace.named("error")
    assert told.status.status_code is StatusCode.ERROR
    assert str(code) in told.events[0].attributes["exception.message"]
    assert fact(trace.root, "error_count") == 1


async def test_an_abnormal_close_that_nobody_read_is_noticed_at_the_end(
    instrumentor, trace, gemini_live_server
):
    async with scripted(gemini_live_server, Close(1011)) as (session, server):
        await asyncio.to_thread(server.connections[0].wait_closed)
        await session._ws.wait_closed()
    assert trace.root.status.status_code is StatusCode.ERROR
    assert fact(trace.root, "close_code") == 1011
    assert len(trace.all("error")) == 1


async def test_an_exception_that_leaves_the_block_is_an_error_and_goes_on(
    instrumentor, trace, gemini_live_server
):
    with pytest.raises(LookupError, match="mine") as raised:
        async with scripted(gemini_live_server):
            raise LookupError("mine")
    assert trace.root.attributes["error.type"] == "LookupError"
    assert sdk_connection.__file__ not in [str(entry.path) for entry in raised.traceback[-1:]]


async def test_a_group_of_nothing_but_the_close_is_the_close(instrumentor, trace, gemini_live_server):
    group = getattr(__builtins__, "ExceptionGroup", None) or __builtins__.get("ExceptionGroup")
    if group is None:
        pytest.skip("Python 3.11 has groups")
    with pytest.raises(group):
        async with scripted(gemini_live_server, Close(1000)) as (session, _):
            raise group("tasks", [await until_closed(session)])
    assert trace.root.status.status_code is StatusCode.UNSET


async def test_a_cancelled_block_is_cancelled(instrumentor, trace, gemini_live_server):
    async def talk():
        async with scripted(gemini_live_server, Hold()) as (session, _):
            started.set()
            await turn(session)

    started = asyncio.Event()
    task = asyncio.create_task(talk())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert trace.root.status.status_code is StatusCode.UNSET
    assert fact(trace.root, "status") == "cancelled"


async def test_a_read_that_is_cancelled_loses_nothing(instrumentor, trace, gemini_live_server):
    said = Send(content(modelTurn={"parts": [{"text": "Hi"}]}), COMPLETE)
    async with scripted(gemini_live_server, Hold(), said) as (session, server):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session._receive(), 0.05)
        server.release()
        assert len(await turn(session)) == 2
    assert messages(trace.named("turn_complete"))[-1]["content"] == "Hi"


@pytest.mark.parametrize("status", [401, 503])
async def test_a_refused_handshake_is_a_trace_of_a_root(instrumentor, trace, gemini_live_server, status):
    with pytest.raises(Exception, match=str(status)):
        async with connect(gemini_live_server(Refuse(status))):
            pytest.fail("it was refused")
    assert trace.names == []
    assert trace.root.status.status_code is StatusCode.ERROR
    assert trace.root.attributes["gen_ai.request.model"] == MODEL


async def test_a_refused_setup_is_a_trace_of_a_root(instrumentor, trace, gemini_live_server):
    with pytest.raises(CLOSED):
        async with connect(gemini_live_server([Expect("setup"), Close(1007, "no such model")])):
            pytest.fail("it was refused")
    assert trace.names == []
    assert trace.root.status.status_code is StatusCode.ERROR
    assert "no such model" in trace.root.events[0].attributes["exception.message"]


@pytest.mark.skipif(not RAISES_UNKNOWN, reason="this version makes it an empty message")
async def test_a_message_of_unknown_fields_alone_is_raised_to_the_application_and_told(
    instrumentor, trace, gemini_live_server
):
    error = {"error": {"code": 400, "message": "no such voice", "status": "INVALID_ARGUMENT"}}
    async with scripted(gemini_live_server, Send({"code": 400, **error}), Send(COMPLETE)) as (session, _):
        with pytest.raises(CLOSED):
            await turn(session)
        await turn(session)
    told = trace.named("error")
    assert told.attributes["error.type"] == "INVALID_ARGUMENT"
    assert trace.root.status.status_code is StatusCode.UNSET
    assert len(trace.all("turn_complete")) == 1


class Ended(SpanProcessor):
    """Tells when a conversation's root has ended, in whichever thread."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def on_end(self, span):
        if span.name == "conversation":
            self.told.set()


async def test_a_session_that_is_dropped_ends_its_conversation(
    instrumentor, trace, tracer_provider, gemini_live_server
):
    ended = Ended()
    tracer_provider.add_span_processor(ended)
    server = gemini_live_server([*OPENING])
    manager = connect(server)
    session = await manager.__aenter__()
    assert type(session) is live.AsyncSession
    del manager
    gc.collect()
    # The loop closes the socket of a generator that nobody runs; a thread ends the conversation.
    await session._ws.wait_closed()
    assert await asyncio.to_thread(ended.told.wait, 10)
    assert fact(trace.root, "status") == "completed"


async def test_what_is_over_is_freed_without_a_garbage_collection(instrumentor, gemini_live_server):
    """However long the application keeps the session and its manager."""

    async def call():
        async with manager as session:
            await say(session)
            await turn(session)
            return session, weakref.ref(current_conversation())

    server = gemini_live_server([*OPENING, Expect("client_content"), Send(COMPLETE)])
    manager = connect(server)
    gc.collect()
    gc.disable()
    try:
        session, conversation = await asyncio.create_task(call())
        assert session is not None
        assert conversation() is None
    finally:
        gc.enable()


async def test_what_is_open_when_tracing_ends_is_untraced(instrumentor, trace, gemini_live_server):
    async with scripted(gemini_live_server, Expect("client_content"), Send(COMPLETE)) as (session, _):
        instrumentor.uninstrument()
        assert fact(trace.root, "status") == "untraced"
        await say(session)
        await turn(session)
    assert len(trace.roots) == 1
    assert trace.names == ["setup_complete"]


async def test_what_was_open_before_is_left_alone(tracer_provider, trace, gemini_live_server):
    async with scripted(gemini_live_server, Expect("client_content"), Send(COMPLETE)) as (session, _):
        instrumentor = GeminiLiveInstrumentor()
        instrumentor.instrument(tracer_provider=tracer_provider)
        await say(session)
        await turn(session)
    instrumentor.uninstrument()
    assert trace.finished == ()


async def test_what_is_not_sampled_is_left_alone(span_exporter, gemini_live_server):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(span_exporter))
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        async with connect(gemini_live_server()) as session:
            assert sdk_connection.traced(session) is None
            assert current_conversation() is None
            await say(session)
            assert await turn(session)
    finally:
        instrumentor.uninstrument()
    assert span_exporter.get_finished_spans() == ()


# Many.


async def test_sessions_at_once_do_not_mix(instrumentor, trace, gemini_live_server):
    def echo(asked: Turn) -> Answer:
        return Answer(asked.contents[-1]["parts"][0]["text"].replace("ping", "pong"))

    server = gemini_live_server(Dialogue(echo))

    async def talk(number):
        async with connect(server, response_modalities=["TEXT"]) as session:
            for count in range(3):
                await say(session, f"ping {number} {count}")
                await turn(session)

    await asyncio.gather(*(talk(number) for number in range(12)))
    assert len(trace.roots) == 12
    for root in trace.roots:
        told = [message["content"] for message in messages(root)]
        number = told[0].split()[1]
        assert told == [f"{word} {number} {count}" for count in range(3) for word in ("ping", "pong")]


async def test_two_sessions_in_one_task_are_two_conversations(instrumentor, trace, gemini_live_server):
    server = gemini_live_server()
    async with connect(server) as one, connect(server) as two:
        first, second = (sdk_connection.traced(each).conversation.context.conversation for each in (one, two))
        await say(one)
        await say(two)
        await turn(two)
        assert current_conversation() is second
        await turn(one)
        assert current_conversation() is first
    assert len({root.context.trace_id for root in trace.roots}) == 2


# What the application can see of the SDK.


def looks():
    return {
        (kind.__name__, name): (
            function.__qualname__,
            function.__module__,
            function.__doc__,
            str(inspect.signature(function)),
            inspect.iscoroutinefunction(function),
            inspect.isasyncgenfunction(function),
        )
        for kind in (live.AsyncLive, live.AsyncSession)
        for name, function in inspect.getmembers(kind, inspect.isfunction)
    }


def test_the_classes_look_as_before_and_are_restored(tracer_provider):
    before = looks()
    held = [dict(vars(kind)) for kind in (live.AsyncLive, live.AsyncSession)]
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    assert looks() == before
    assert vars(live.AsyncSession)["send"] is held[1]["send"]
    instrumentor.uninstrument()
    assert [dict(vars(kind)) for kind in (live.AsyncLive, live.AsyncSession)] == held


async def test_connect_returns_what_it_did_and_can_do_the_same(instrumentor, trace, gemini_live_server):
    server = gemini_live_server()
    manager = connect(server)
    assert isinstance(manager, contextlib._AsyncGeneratorContextManager)

    @manager
    async def talk():
        return "done"

    assert await talk() == "done"
    assert await talk() == "done"
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(connect(server))
    assert len(trace.roots) == 3


async def test_a_manager_that_somebody_else_made_is_left_alone(tracer_provider, trace, gemini_live_server):
    original = live.AsyncLive.connect

    @contextlib.asynccontextmanager
    async def wrapped(self, **arguments):
        async with original(self, **arguments) as session:
            yield session

    live.AsyncLive.connect = wrapped
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        async with connect(gemini_live_server()) as session:
            await say(session)
            await turn(session)
    finally:
        instrumentor.uninstrument()
        live.AsyncLive.connect = original
    assert len(trace.roots) == 1
    assert len(trace.all("turn_complete")) == 1


@pytest.mark.skipif(VERSION < (1, 20), reason="this version warns of nothing")
async def test_warnings_say_the_same_line_as_before(tracer_provider, gemini_live_server):
    async def warned():
        server = gemini_live_server([*OPENING])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            config = types.LiveConnectConfig(generation_config=types.GenerationConfig(temperature=0.5))
            async with client(server).aio.live.connect(model=MODEL, config=config) as session:
                await session.send(input="Hi", end_of_turn=True)
                server.connections[0].wait_for("client_content")
        return [
            (each.filename, each.lineno, str(each.message))
            for each in caught
            if each.category is DeprecationWarning
        ]

    before = await warned()
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        during = await warned()
    finally:
        instrumentor.uninstrument()
    assert during == before
    assert {filename for filename, *_ in before} == {__file__}


async def test_no_key_stands_anywhere(instrumentor, trace, gemini_live_server, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    monkeypatch.setenv("VOICESPAN_RAW_EVENTS", "1")
    server = gemini_live_server()
    options = server.client_options()
    options["api_key"] = "AIzaSySecretSecretSecretSecretSecret"
    from google import genai

    config = {**CONFIG, "session_resumption": {}}
    async with genai.Client(**options).aio.live.connect(model=MODEL, config=config) as session:
        await say(session)
        await turn(session)
    written = json.dumps([[span.name, dict(span.attributes)] for span in trace.finished])
    assert "Secret" not in written
    assert "handle-0" not in written


def test_the_server_is_the_public_one():
    from voicespan import testing

    assert testing.GeminiLiveServer is GeminiLiveServer
