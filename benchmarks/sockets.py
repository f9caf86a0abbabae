"""Sockets of other libraries: what tracing adds to each frame, and to those of nobody's protocol.

python -m benchmarks.sockets [--quick]
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks import frames_openai, pairs, receive, ways
from benchmarks.results import UNTRACED, VOICESPAN, Result, Row, row, run
from voicespan.instrumentation.sockets import (
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    WebsocketsInstrumentor,
)
from voicespan.testing import OpenAIRealtimeServer
from voicespan.testing.openai_realtime import Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    #: Reads so many frames, which are there already.
    Read = Callable[[int], Awaitable[None]]
    Opened = Callable[[str, bytes], contextlib.AbstractAsyncContextManager[Read]]

FOREIGN = "voicespan, another path"
_BLOCK, _WARM_UP = 256, 64
#: What a frame may cost more than through the client's own patches, in microseconds, and as a part of those.
_MORE, _PART = 1.0, 0.1
#: Less than this cannot be told from nothing.
_NOTHING = 0.2
_INSTRUMENTORS = (WebsocketsInstrumentor, AiohttpInstrumentor, WebsocketClientInstrumentor)

_METHOD = """\
Frames of 200 ms of audio that a socket of each library has received already are read, one after the other, in blocks of 256
in turn: on a socket that was opened untraced, on one that is traced, and on one to a path that is no provider's. The target
is what the `openai` client's own patches add in the same run, and 1 µs or a tenth more. A socket of somebody else's protocol
runs the library's own methods, so nothing must be seen there."""


@contextlib.asynccontextmanager
async def websockets_asyncio(url: str, frame: bytes) -> AsyncIterator[Read]:
    """A socket of `websockets.asyncio.client`."""
    from websockets.asyncio.client import connect
    from websockets.frames import Frame, Opcode

    async with connect(url) as socket:
        await socket.recv()

        async def fill(count: int) -> None:
            for _ in range(count):
                socket.recv_messages.put(Frame(Opcode.TEXT, frame))

        async def read(count: int) -> None:
            for _ in range(count):
                await socket.recv()

        yield _filled(fill, read)


@contextlib.asynccontextmanager
async def websockets_sync(url: str, frame: bytes) -> AsyncIterator[Read]:
    """A socket of `websockets.sync.client`. It blocks, which nobody minds here."""
    from websockets.frames import Frame, Opcode
    from websockets.sync.client import connect

    with connect(url) as socket:
        socket.recv()

        async def fill(count: int) -> None:
            for _ in range(count):
                socket.recv_messages.put(Frame(Opcode.TEXT, frame))

        async def read(count: int) -> None:
            for _ in range(count):
                socket.recv()

        yield _filled(fill, read)


@contextlib.asynccontextmanager
async def aiohttp_client(url: str, frame: bytes) -> AsyncIterator[Read]:
    """A socket of `aiohttp`."""
    import aiohttp

    text = frame.decode()
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        message = await socket.receive()

        async def fill(count: int) -> None:
            for _ in range(count):
                socket._reader.feed_data(message._replace(data=text), len(text))

        async def read(count: int) -> None:
            for _ in range(count):
                await socket.receive()

        yield _filled(fill, read)


@contextlib.asynccontextmanager
async def websocket_client(url: str, frame: bytes) -> AsyncIterator[Read]:
    """A socket of `websocket-client`. It blocks, too."""
    import websocket

    socket = websocket.create_connection(url)
    try:
        socket.recv()
        its_own = socket.frame_buffer.recv_frame
        received = websocket.ABNF(fin=1, opcode=websocket.ABNF.OPCODE_TEXT, data=frame)
        # `validate_utf8` looks at each byte, and costs a hundred times what is to be seen.
        socket.cont_frame.skip_utf8_validation = True

        async def fill(_: int) -> None:
            socket.frame_buffer.recv_frame = lambda: received

        async def read(count: int) -> None:
            for _ in range(count):
                socket.recv()

        yield _filled(fill, read)
        socket.frame_buffer.recv_frame = its_own
    finally:
        socket.close()


LIBRARIES: dict[str, Opened] = {
    "websockets asyncio": websockets_asyncio,
    "websockets sync": websockets_sync,
    "aiohttp": aiohttp_client,
    "websocket-client": websocket_client,
}


def _filled(fill: Callable[[int], Awaitable[None]], read: Read) -> Read:
    read.fill = fill  # type: ignore[attr-defined]
    return read


def _block(read: Any) -> Callable[[], Awaitable[float]]:
    async def block() -> float:
        await read.fill(_WARM_UP + _BLOCK)
        await read(_WARM_UP)
        begun = time.thread_time()
        await read(_BLOCK)
        return time.thread_time() - begun

    return block


async def through_a_socket(opened: Opened, server_url: str, *, quick: bool) -> pairs.Paired:
    """The same library three times."""
    frame = frames_openai.audio_frames(1)[-1]
    provider = ways.made([VOICESPAN])[0].provider  # type: ignore[attr-defined]
    async with contextlib.AsyncExitStack() as stack:
        reads = {UNTRACED: await stack.enter_async_context(opened(f"{server_url}/realtime", frame))}
        for instrumentor in _INSTRUMENTORS:
            instrumentor().instrument(tracer_provider=provider)
            stack.callback(instrumentor().uninstrument)
        reads[VOICESPAN] = await stack.enter_async_context(opened(f"{server_url}/realtime", frame))
        reads[FOREIGN] = await stack.enter_async_context(opened(f"{server_url}/other", frame))
        blocks = {way: _block(read) for way, read in reads.items()}
        rounds, each = (3, 6) if quick else (9, 16)
        return await pairs.interleaved(blocks, frames=_BLOCK, rounds=rounds, each=each)


def measure(*, quick: bool) -> Iterator[Result]:
    """One table for all libraries."""
    own = receive.compared("openai", receive.AUDIO, [UNTRACED, VOICESPAN], quick=quick)
    label = "audio delta, the openai client's own"
    rows: list[Row] = pairs.rows(label, own)
    more = max(_MORE, _PART * statistics.median(own.added(VOICESPAN)))
    limit = statistics.median(own.added(VOICESPAN)) + more
    with OpenAIRealtimeServer([Send(frames_openai.session_created())]) as server:
        for name, opened in LIBRARIES.items():
            found = asyncio.run(through_a_socket(opened, server.url, quick=quick))
            label = f"audio delta, {name}"
            rows.append(row(label, UNTRACED, found.absolute(UNTRACED), "µs"))
            rows.append(
                row(
                    label,
                    VOICESPAN,
                    found.added(VOICESPAN),
                    "µs more",
                    best=found.best(VOICESPAN),
                    at_most=limit,
                )
            )
            rows.append(
                row(
                    label,
                    FOREIGN,
                    found.added(FOREIGN),
                    "µs more",
                    best=found.best(FOREIGN),
                    at_most=_NOTHING,
                )
            )
    yield Result(
        name="receive-sockets",
        title="Audio deltas on sockets of other libraries",
        chapter="receive",
        method=_METHOD,
        rows=rows,
    )


if __name__ == "__main__":
    run(measure)
