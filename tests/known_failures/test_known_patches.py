"""What tracers of voice are known to do to a process beside tracing it: patch others, print, set globals, mix sessions."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
import websockets
import websockets.asyncio.client
import websockets.sync.client
from openai import AsyncOpenAI
from opentelemetry.instrumentation.utils import suppress_instrumentation
from wire import CREATED, begun, connect, done, fact, frame, said, spoken

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.runtime import settings
from voicespan.testing.openai_realtime import Close, Expect, OpenAIRealtimeServer, Send


def test_websockets_of_others_are_left_alone(instrumented, told):
    GeminiLiveInstrumentor().instrument()
    try:
        for module in (websockets, websockets.asyncio.client, websockets.sync.client):
            assert module.connect.__module__.startswith("websockets.")
        for kind in (
            websockets.asyncio.client.ClientConnection,
            websockets.sync.client.ClientConnection,
            websockets.asyncio.client.connect,
        ):
            for method in vars(kind).values():
                assert getattr(method, "__module__", "websockets").split(".")[0] != "voicespan"
        with OpenAIRealtimeServer([Send(CREATED), Close()]) as server:
            url = f"{server.url}/realtime?model=gpt-realtime"
            with websockets.sync.client.connect(url) as socket:
                assert "session.created" in socket.recv()

            async def read():
                async with websockets.connect(url) as socket:
                    return await socket.recv()

            assert "session.created" in asyncio.run(read())
    finally:
        GeminiLiveInstrumentor().uninstrument()
    assert told.spans == []


def test_who_suppresses_instrumentation_is_obeyed(instrumented, told):
    with OpenAIRealtimeServer([Send(CREATED), Close()]) as server, suppress_instrumentation():
        with connect(server) as connection:
            assert not hasattr(connection, "_voicespan")
            assert [event.type for event in connection] == ["session.created"]
    assert told.spans == []


#: A call from beginning to end, in a process where nothing was set up for traces, metrics or logs.
QUIET = """
import sys
from opentelemetry import _logs, metrics, trace
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

before = [metrics.get_meter_provider(), _logs.get_logger_provider(), trace.get_tracer_provider()]
OpenAIRealtimeInstrumentor().instrument()
GeminiLiveInstrumentor().instrument()

from openai import OpenAI

with OpenAI(api_key="k", websocket_base_url=sys.argv[1]).realtime.connect(model="gpt-realtime") as connection:
    assert len(list(connection)) > 1
after = [metrics.get_meter_provider(), _logs.get_logger_provider(), trace.get_tracer_provider()]
assert [type(each) for each in after] == [type(each) for each in before], after
"""


def test_nothing_is_printed_and_no_global_is_set():
    frames = [CREATED, *spoken("u1"), *begun("r1", "a1"), frame("of.the.future"), done("r1")]
    with OpenAIRealtimeServer([Send(*frames), Close()]) as server:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", QUIET, server.url],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


async def test_sessions_that_tell_no_id_are_kept_apart(instrumented, told):
    nameless = {"type": "session.created", "event_id": "e", "session": {"type": "realtime"}}
    limits = frame("rate_limits.updated", rate_limits=[])
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(OpenAIRealtimeServer([Send(nameless, *[limits] * 5)]))
        client = AsyncOpenAI(api_key="k", websocket_base_url=server.url)
        connections = [
            await stack.enter_async_context(client.realtime.connect(model=f"model-{number}"))
            for number in range(5)
        ]
        for turn in range(6):
            for number, connection in enumerate(connections):
                if turn <= number + 1:
                    await connection.recv()
    models = {
        span.context.trace_id: span.attributes["gen_ai.request.model"]
        for span in told.spans
        if span.parent is None
    }
    assert len(models) == 5
    read = Counter(models[span.context.trace_id] for span in told.spans if span.parent is not None)
    assert read == {f"model-{number}": number + 2 for number in range(5)}
    assert len({fact(span, "thread_id") for span in told.spans}) == 5


@pytest.fixture
def overlaps(monkeypatch):
    """How often two threads were writing of one conversation at the same time; none is quick about it."""
    found, writing = [], threading.Lock()

    def redact(text, *, role, place):
        alone = writing.acquire(blocking=False)
        if not alone:
            found.append(place)
        time.sleep(0.0005)
        if alone:
            writing.release()
        return text

    monkeypatch.setattr(settings, "_redact", redact)
    return found


def test_a_microphone_s_thread_and_a_reader_s_do_not_disturb_each_other(instrumented, told, overlaps):
    """Barge-ins and answers to calls from one thread while the other reads what the model says."""
    answers = 50
    call = {"type": "function_call", "name": "look", "arguments": "{}"}
    frames = []
    for n in range(answers):
        output = [{**call, "id": f"f{n}", "call_id": f"c{n}"}]
        frames += [*spoken(f"u{n}"), *begun(f"r{n}", f"a{n}"), said(f"r{n}", f"a{n}", "Good morning!")]
        frames.append(done(f"r{n}", output=output))

    def microphone():
        for n in range(answers):
            connection.input_audio_buffer.append(audio="AAAA")
            connection.conversation.item.truncate(item_id=f"a{n}", content_index=0, audio_end_ms=50)
            output = {"type": "function_call_output", "call_id": f"c{n}", "output": "{}"}
            connection.conversation.item.create(item=output)

    last_answer = Expect("conversation.item.create", count=answers, timeout=30)
    steps = [Send(CREATED, *frames), last_answer, Close()]
    with OpenAIRealtimeServer(steps) as server, connect(server) as connection:
        speaking = threading.Thread(target=microphone)
        speaking.start()
        events = list(connection)
        speaking.join(30)
    assert overlaps == []
    assert len(events) == len(frames) + 1
    assert (told.names.count("turn_complete"), told.names.count("interrupted")) == (answers, answers)
    assert fact(told.root, "event_count") == len(frames) + 1 + 3 * answers
