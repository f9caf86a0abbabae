"""Sessions with the real SDKs, opened with a real server, traced in one way each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import frames_openai
from benchmarks.transport import AsyncPrefilled, Prefilled, SyncPrefilled
from benchmarks.ways import WRAP_GEMINI_LIVE, WRAP_REALTIME
from voicespan.testing import GeminiLiveServer, OpenAIRealtimeServer
from voicespan.testing.gemini_live import Expect as ExpectMessage
from voicespan.testing.gemini_live import Send as SendMessage
from voicespan.testing.openai_realtime import Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from benchmarks.ways import Way

    Opening = Callable[[Way], contextlib.AbstractAsyncContextManager["Session"]]

#: Each kind of client, what it is called, and the peer that is installed with voicespan.
CLIENTS = (
    ("openai", "OpenAI async", WRAP_REALTIME),
    ("openai-sync", "OpenAI sync", None),
    ("gemini", "Gemini", WRAP_GEMINI_LIVE),
)


@dataclass
class Session:
    """An open session.

    Attributes:
        application: what the application holds: the SDK's object, or a wrapper round it.
        transport: what stands in its socket's place.
        read: reads so many frames as an application does.
    """

    application: Any
    transport: Prefilled
    read: Callable[[int], Awaitable[None]]


@contextlib.asynccontextmanager
async def openai_async(url: str, way: Way, *, prefilled: bool = True) -> AsyncIterator[Session]:
    """A session of `AsyncOpenAI`; without `prefilled` it keeps its socket."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="test", websocket_base_url=url)
    with way.at_work():
        manager = client.realtime.connect(model="gpt-realtime")
        connection = await manager.__aenter__()
    try:
        with way.at_work():
            await connection.recv()
        if prefilled:
            connection._connection = AsyncPrefilled(connection._connection, [])
        async with way.around(connection) as application:

            async def read(count: int) -> None:
                recv = application.recv
                for _ in range(count):
                    await recv()

            yield Session(application, connection._connection, read)
    finally:
        with way.at_work():
            await manager.__aexit__(None, None, None)


@contextlib.asynccontextmanager
async def openai_sync(url: str, way: Way) -> AsyncIterator[Session]:
    """A session of `OpenAI`. It blocks, which nobody minds here."""
    from openai import OpenAI

    client = OpenAI(api_key="test", websocket_base_url=url)
    with way.at_work():
        manager = client.realtime.connect(model="gpt-realtime")
        connection = manager.__enter__()
    try:
        with way.at_work():
            connection.recv()
        connection._connection = SyncPrefilled(connection._connection, [])

        async def read(count: int) -> None:
            recv = connection.recv
            for _ in range(count):
                recv()

        yield Session(connection, connection._connection, read)
    finally:
        with way.at_work():
            manager.__exit__(None, None, None)


@contextlib.asynccontextmanager
async def gemini(server: GeminiLiveServer, way: Way) -> AsyncIterator[Session]:
    """A session of `google.genai`, which is always async."""
    from google import genai

    client = genai.Client(**server.client_options())
    config = {"response_modalities": ["AUDIO"], "output_audio_transcription": {}}
    with way.at_work():
        manager = client.aio.live.connect(model="gemini-live", config=config)
        session = await manager.__aenter__()
    try:
        session._ws = AsyncPrefilled(session._ws, [])
        async with way.around(session) as application:
            read = _receiving(application)
            yield Session(application, session._ws, read)
    finally:
        with way.at_work():
            await manager.__aexit__(None, None, None)


def _receiving(application: Any) -> Callable[[int], Awaitable[None]]:
    messages = application.receive()

    async def read(count: int) -> None:
        nonlocal messages
        while count:
            async for _ in messages:
                count -= 1
                if not count:
                    return
            # The SDK's iterator ends with a turn.
            messages = application.receive()

    return read


@contextlib.contextmanager
def opening(client: str) -> Iterator[Opening]:
    """How a session of `client` is opened in a given way, as long as its server runs."""
    if client == "gemini":
        with GeminiLiveServer([ExpectMessage("setup"), SendMessage({"setupComplete": {}})]) as live:
            yield lambda way: gemini(live, way)
        return
    opened = openai_async if client == "openai" else openai_sync
    with OpenAIRealtimeServer([Send(frames_openai.session_created())]) as server:
        yield lambda way: opened(server.url, way)


def over_the_socket(url: str) -> Opening:
    """How a session of `AsyncOpenAI` is opened that keeps its socket."""
    return lambda way: openai_async(url, way, prefilled=False)
