"""The send path: what tracing adds to each chunk of the microphone, on the application's thread.

python -m benchmarks.send [--quick]
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from benchmarks import frames_gemini, frames_openai, pairs, peers, sessions, ways
from benchmarks.results import UNTRACED, VOICESPAN, Result, Row, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from benchmarks.sessions import Opening, Session
    from benchmarks.ways import Way

    Send = Callable[[Session, int], Awaitable[None]]

CHUNK = "microphone chunk"

_WARM_UP = 64
_BLOCK = 256
_METHOD = """\
The application sends 20 ms of audio after the other, as it does all the time while a call lasts. What the SDK
hands to its socket is taken and forgotten. Blocks of 256 chunks in turn, as on the receive path."""

_NOTE = """\
`wrap_realtime` and `wrap_gemini_live` do not look at what is sent (but for Gemini's tool responses): what they
add is the way through their proxy, and what the user typed is in no trace of theirs."""


async def openai_async(session: Session, count: int) -> None:
    """As an application does it with `AsyncOpenAI`."""
    append = session.application.input_audio_buffer.append
    for _ in range(count):
        await append(audio=frames_openai.MICROPHONE)


async def openai_sync(session: Session, count: int) -> None:
    """With `OpenAI`."""
    append = session.application.input_audio_buffer.append
    for _ in range(count):
        append(audio=frames_openai.MICROPHONE)


async def gemini(session: Session, count: int) -> None:
    """With `google.genai`."""
    from google.genai import types

    send = session.application.send_realtime_input
    chunk = types.Blob(data=frames_gemini.MICROPHONE, mime_type="audio/pcm;rate=16000")
    for _ in range(count):
        await send(audio=chunk)


_SENDS: dict[str, Send] = {"openai": openai_async, "openai-sync": openai_sync, "gemini": gemini}


def compared(client: str, kind: str, names: list[str], *, quick: bool) -> pairs.Paired:
    """Chunks sent by one kind of client, in the ways that are named."""
    del kind
    made = ways.made(names)
    with sessions.opening(client) as opening:
        return asyncio.run(_chunks(opening, made, _SENDS[client], quick=quick))


async def _chunks(opening: Opening, compared: list[Way], send: Send, *, quick: bool) -> pairs.Paired:
    async with contextlib.AsyncExitStack() as stack:
        blocks: dict[str, Any] = {}
        for way in compared:
            blocks[way.name] = _block(way, await stack.enter_async_context(opening(way)), send)
        rounds, each = (2, 4) if quick else (9, 16)
        return await pairs.interleaved(blocks, frames=_BLOCK, rounds=rounds, each=each)


def _block(way: Way, session: Session, send: Send) -> Callable[[], Awaitable[float]]:
    async def block() -> float:
        with way.at_work():
            await send(session, _WARM_UP)
            begun = time.thread_time()
            await send(session, _BLOCK)
            return time.thread_time() - begun

    return block


def measure(*, quick: bool) -> Iterator[Result]:
    """One table."""
    rows: list[Row] = []
    for client, title, peer in sessions.CLIENTS:
        label = f"{CHUNK}, {title}"
        names = [UNTRACED, VOICESPAN, *([peer] if peer else [])]
        rows += pairs.rows(label, compared(client, CHUNK, names, quick=quick), ratio=False)
        rows += peers.rows("send", client, CHUNK, label, quick=quick)
    yield Result(
        name="send",
        title="A chunk of the microphone",
        chapter="send",
        method=_METHOD,
        rows=rows,
        notes=[_NOTE],
        versions=peers.versions(),
    )


if __name__ == "__main__":
    run(measure)
