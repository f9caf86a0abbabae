"""A process that holds one long call, many times as fast as people speak; started by `event_loop`.

    python -m benchmarks.long_call --way voicespan --url ws://... --minutes 60

Its time is a clock that is moved by hand, so that an hour of audio is an hour in the recording. The turns come
over a real socket and are read by the real client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from benchmarks.call_audio import CHUNKS_A_SECOND, voices
from benchmarks.delays import Delays, probe
from benchmarks.results import UNTRACED, VOICESPAN
from voicespan.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

#: How many times as fast as time the call goes by. Its turns go by at the speed of the server.
SPEED = 60.0
#: Seconds after the end in which the event loop is still watched: background threads do the rest by then.
_AFTERWARDS = 3.0
_TICK = 0.02


async def call(way: str, url: str, minutes: float, clock: FakeClock) -> dict[str, Any]:
    """Hold the call; how long the loop was held while it lasted, and from its end on."""
    async with _connected(UNTRACED, url, clock):
        pass  # what is imported with the first connection is not what is measured
    during, ending = Delays(), Delays()
    noted = during

    def note(seconds: float) -> None:
        noted.add(seconds)

    watching = asyncio.create_task(probe(note, every=0.002))
    async with contextlib.AsyncExitStack() as open_call:
        connection, user, agent = await open_call.enter_async_context(_connected(way, url, clock))
        reading = asyncio.create_task(_read(connection))
        await _talk(clock, minutes, user, agent)
        noted = ending
        begun = time.monotonic()
    closing = time.monotonic() - begun
    await asyncio.sleep(_AFTERWARDS)
    watching.cancel()
    return {
        "frames": await reading,
        "during_ms": during.milliseconds(),
        "ending_ms": ending.milliseconds(),
        "closing_ms": round(closing * 1000, 3),
    }


async def _read(connection: Any) -> int:
    frames = 0
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            frames += 1
    return frames


async def _talk(
    clock: FakeClock, minutes: float, user: Callable[[bytes], Any], agent: Callable[[bytes], Any]
) -> None:
    said = voices()
    begun = time.monotonic()
    handed_over = 0
    while handed_over < minutes * 60 * CHUNKS_A_SECOND:
        await asyncio.sleep(_TICK)
        while handed_over < (time.monotonic() - begun) * SPEED * CHUNKS_A_SECOND:
            place = handed_over % len(said.user)
            user(said.user[place])
            answer = said.agent[place]
            if answer is not None:
                agent(answer)
            handed_over += 1
            clock.advance(1 / CHUNKS_A_SECOND)


@contextlib.asynccontextmanager
async def _connected(way: str, url: str, clock: FakeClock) -> AsyncIterator[tuple[Any, Any, Any]]:
    """A connection, and what takes the audio of both sides."""
    client = AsyncOpenAI(api_key="k", websocket_base_url=url)
    connecting = client.realtime.connect(model="gpt-realtime")
    if way == VOICESPAN:
        from voicespan.tracing.scope import ConversationScope

        async with ConversationScope(clock=clock) as conversation, connecting as connection:
            yield connection, conversation.recorder.user, conversation.recorder.agent
    elif way == UNTRACED:
        async with connecting as connection:
            yield connection, _nowhere, _nowhere
    else:
        from langsmith.integrations.openai_realtime import wrap_realtime

        async with connecting as connection, wrap_realtime(connection) as wrapped:
            yield wrapped, wrapped.record_user_audio, wrapped.record_agent_audio


def _nowhere(_: bytes) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    clock = FakeClock(time_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())
    if asked.way == VOICESPAN:
        import voicespan
        from voicespan.recording import recording_thread

        voicespan.configure()
        # The one writer of the process goes by the same clock as the call.
        recording_thread.SHARED._clock = clock
    print(json.dumps(asyncio.run(call(asked.way, asked.url, asked.minutes, clock))), flush=True)
    # What is left to send is not what is measured.
    os._exit(0)


if __name__ == "__main__":
    main()
