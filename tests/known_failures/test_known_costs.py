"""What tracing is known to cost the application: its event loop, threads that stay, memory that is never given back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref

import pytest
from openai import AsyncOpenAI
from opentelemetry.sdk.trace import TracerProvider
from wire import CREATED, begun, connect_async, done, said, spoken, transcribed

import voicespan
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Send
from voicespan.tracing import tracer

TURN = [
    *spoken("u1"),
    transcribed("u1", "Hello"),
    *begun("r1", "a1"),
    said("r1", "a1", "Good morning!"),
    done("r1"),
]


@pytest.fixture
def delivered(langsmith_server, tmp_path, monkeypatch):
    """A provider that delivers to a LangSmith, and everything traced with it, on the machine's own clock."""
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        LangSmithSpanProcessor(
            api_key=langsmith_server.api_key, endpoint=langsmith_server.url, spool_dir=tmp_path
        )
    )
    tracer.name_provider(provider)
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield provider
    instrumentor.uninstrument()
    tracer.name_provider(None)
    langsmith_server.clear_failures()
    langsmith_server.release()
    provider.shutdown()


async def hold(server):
    async with connect_async(server) as connection:
        for _ in range(len(TURN) + 1):
            await connection.recv()


async def test_leaving_a_call_waits_for_no_delivery(delivered, langsmith_server):
    """The requests hang, and calls go on beginning and ending."""
    langsmith_server.fail(hang="answer", times=None)
    with OpenAIRealtimeServer([Send(CREATED, *TURN)]) as server:
        for _ in range(3):
            await hold(server)
    assert langsmith_server.roots == []


def test_leaving_a_call_builds_no_recording(delivered, langsmith_server):
    """Ten minutes on both sides, handed over at once: the file is made when the application has gone on."""
    minute = bytes(2 * 24_000 * 60)
    with voicespan.conversation() as conversation:
        for _ in range(10):
            conversation.recorder.user(minute, 24_000)
            conversation.recorder.agent(minute, 24_000)
        began = time.perf_counter()
    left = time.perf_counter()
    assert delivered.force_flush(30_000)
    assert langsmith_server.roots[0].metadata["ls_audio_attach_status"] == "attached"
    # Of each other, since the machine may be busy.
    assert (left - began) < (time.perf_counter() - left) / 5


async def test_no_call_has_a_thread_of_its_own(delivered):
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(OpenAIRealtimeServer([Send(CREATED, *TURN)]))
        client = AsyncOpenAI(api_key="k", websocket_base_url=server.url)
        threads = []
        for count in (1, 49):
            for _ in range(count):
                manager = client.realtime.connect(model="gpt-realtime")
                connection = await stack.enter_async_context(manager)
                for _ in range(len(TURN) + 1):
                    await connection.recv()
            threads.append(threading.active_count())
    # Those that work for all calls may have begun in between.
    assert threads[1] - threads[0] <= 3


async def test_nothing_is_kept_of_a_call_that_is_over(delivered, langsmith_server):
    kept = weakref.WeakSet()

    async def talk(server):
        async with connect_async(server) as connection:
            await connection.recv()
            conversation = voicespan.current_conversation()
            conversation.recorder.user(bytes(48_000), 24_000)
            kept.update((connection, conversation, conversation.recorder))
            for _ in TURN:
                await connection.recv()

    with OpenAIRealtimeServer([Send(CREATED, *TURN)]) as server:
        for _ in range(3):
            # In a task of its own, whose context is gone with it.
            await asyncio.create_task(talk(server))
    assert await asyncio.to_thread(delivered.force_flush, 20_000)
    assert len(langsmith_server.roots) == 3
    deadline = time.monotonic() + 10
    while kept and time.monotonic() < deadline:
        # The thread that finishes recordings lets go of the last one when it looks for another.
        await asyncio.sleep(0.05)
        gc.collect()
    assert [type(each).__name__ for each in kept] == []
