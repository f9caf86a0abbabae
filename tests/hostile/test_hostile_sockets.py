"""Hostile servers at the other end of a real socket: the application gets the same with voicespan and without.

Every frame, every exception and the close are compared, and what was traced arrives at LangSmith, whole.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest
from google import genai
from hostile_sessions import GEMINI, OPENAI
from mutations import mutated, wire_text
from openai import AsyncOpenAI, OpenAI
from opentelemetry.sdk.trace import TracerProvider
from witness import Kept, Loud, look_at

from voicespan import LangSmithSpanProcessor
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing.gemini_live import Close, Expect, GeminiLiveServer, Send
from voicespan.testing.openai_realtime import OpenAIRealtimeServer

#: Sessions through each client; `make hostile` plays more, others for each seed.
NIGHTLY = int(os.environ.get("HOSTILE_FRAMES", "0")) > 100_000
SEEDS = range(60 if NIGHTLY else 5)
SEED = f"socket-{os.environ.get('HOSTILE_SEED', '1')}" if NIGHTLY else "socket"
#: The most that a client of either SDK takes in one frame.
_LARGEST = 1_000_000
#: What the server waits for: the application has sent all it had to.
READY = {"type": "the application is ready"}


def _is_ready(frame: dict[str, Any]) -> bool:
    return "ready" in repr(frame)


def outcome(call, *args: Any) -> tuple[str, str]:
    """What the application sees of a call: what it returns, or what it raises."""
    try:
        return "returned", repr(call(*args))
    except Exception as error:  # noqa: BLE001  whatever it is, it has to be the same
        return type(error).__qualname__, str(error)


async def awaited(call, *args: Any) -> tuple[str, str]:
    try:
        return "returned", repr(await call(*args))
    except Exception as error:  # noqa: BLE001
        return type(error).__qualname__, str(error)


def hostile(sessions, seed: int) -> tuple[list[bytes], list[Any]]:
    """What the server and what the application sends."""
    chance = random.Random(f"{SEED}-{seed}").random

    def choose(n: int) -> int:
        return int(chance() * n)

    name = list(sessions)[seed % len(sessions)]
    from_server, from_client = [], []
    for is_client, frame in mutated(sessions[name], choose):
        if is_client:
            from_client.append(frame)
            continue
        text = wire_text(frame, choose)
        encoded = text.encode() if isinstance(text, str) else text
        if len(encoded) < _LARGEST:
            from_server.append(encoded)
    return from_server, from_client


def as_sent(frames: list[bytes]) -> list[Send]:
    """A text frame where it is text: a client closes a connection on which one is not."""
    return [Send(frame, binary="\ufffd" in frame.decode(errors="replace")) for frame in frames]


def openai_sync(server, frames: int, sent: list[Any]) -> list[Any]:
    client = OpenAI(api_key="test", websocket_base_url=server.url, max_retries=0)
    with client.realtime.connect(model="gpt-realtime") as connection:
        seen = [outcome(connection.send, frame) for frame in [*sent, READY]]
        return seen + [outcome(connection.recv) for _ in range(frames + 2)]


def openai_async(server, frames: int, sent: list[Any]) -> list[Any]:
    async def call():
        client = AsyncOpenAI(api_key="test", websocket_base_url=server.url, max_retries=0)
        async with client.realtime.connect(model="gpt-realtime") as connection:
            seen = [await awaited(connection.send, frame) for frame in [*sent, READY]]
            return seen + [await awaited(connection.recv) for _ in range(frames + 2)]

    return asyncio.run(call())


async def _send(session, frame: dict[str, Any]) -> None:
    """What an application that was told `frame` would call."""
    for key, told in frame.items():
        given = told if isinstance(told, dict) else {}
        if key == "clientContent":
            await session.send_client_content(turns=given.get("turns"))
        elif key == "toolResponse":
            await session.send_tool_response(function_responses=given.get("functionResponses"))
        elif key == "realtimeInput":
            await session.send_realtime_input(**given)


def gemini(server, frames: int, sent: list[Any]) -> list[Any]:
    async def call():
        client = genai.Client(**server.client_options())
        async with client.aio.live.connect(model="gemini-live", config={}) as session:
            seen = [await awaited(_send, session, frame) for frame in sent]
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "ready"}]})
            # The one place that `receive` and every other way read from: one message each.
            return seen + [await awaited(session._receive) for _ in range(frames + 2)]

    return asyncio.run(call())


@pytest.fixture
def langsmith(langsmith_server):
    return langsmith_server


@pytest.fixture
def traced(langsmith, tracer_provider):
    """An application with everything switched on; what it did is looked at afterwards."""
    kept = Kept()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept)
    provider.add_span_processor(LangSmithSpanProcessor(endpoint=langsmith.url, api_key=langsmith.api_key))
    instrumentors = [OpenAIRealtimeInstrumentor(), GeminiLiveInstrumentor()]

    def call(application, *args):
        for each in instrumentors:
            each.instrument(tracer_provider=provider)
        try:
            with Loud() as loud:
                seen = application(*args)
                assert provider.force_flush(20_000)
        finally:
            for each in instrumentors:
                each.uninstrument()
        return seen, kept.spans, loud.said

    yield call
    provider.shutdown()


# The SDK warns of values that its enumerations do not have, and of models that hold other types than declared.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("application", [openai_sync, openai_async, gemini])
def test_the_application_notices_nothing(traced, langsmith, application, seed, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", ("standard", "all")[seed % 2])
    # Also what is heard of it: base64 that is none, rates and cuts that cannot be.
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", ("app", "wire")[seed // 2 % 2])
    # It must end with its connection, whatever the hostile server offers to resume.
    monkeypatch.setenv("VOICESPAN_RESUME_WINDOW", "0")
    frames, sent = hostile(GEMINI if application is gemini else OPENAI, seed)
    if application is gemini:
        frames = [frame for frame in frames if frame.strip()]
        opening = [Expect("setup"), Send({"setupComplete": {}}), Expect("client_content", where=_is_ready)]
        kind = GeminiLiveServer
    else:
        opening = [Expect(READY["type"])]
        kind = OpenAIRealtimeServer
    steps = [*opening, *as_sent(frames), Close(1011, "no \U0001f600")]
    with kind(steps, steps) as server:
        alone = application(server, len(frames), sent)
        seen, spans, said = traced(application, server, len(frames), sent)
    assert seen == alone
    assert len([each for each in seen if each[0] == "returned"]) > 0
    assert [each for each in said if "records both sides" not in each] == []
    look_at(spans)
    runs = langsmith.runs
    assert len(runs) == len(spans)
