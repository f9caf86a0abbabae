"""Memory: of a conversation that is open and silent, and of one that goes on for two hours.

    python -m benchmarks.memory [--quick]

Each figure is of a process of its own, as what one way has imported or keeps must not count for another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.call_audio import CHUNKS_A_SECOND, voices
from benchmarks.call_centre import resident
from benchmarks.call_servers import CallServers, stamped, turn_frames
from benchmarks.many_conversations import environment
from benchmarks.results import ROOT, UNTRACED, VOICESPAN, Result, Row, row, run
from voicespan.recording.recording_thread import PERIOD
from voicespan.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

LANGSMITH = "wrap_realtime"
RECORDED = "voicespan, recorder"
#: In pieces of 20 ms of a call: one turn of both sides, two passes of the writer, a minute.
_TURN = round(4.8 * CHUNKS_A_SECOND)
_PASS = round(PERIOD * CHUNKS_A_SECOND)
_MINUTE = 60 * CHUNKS_A_SECOND


def measure(*, quick: bool) -> Iterator[Result]:
    """Idle conversations, then a long one."""
    count = 50 if quick else 500
    yield Result(
        name="memory-idle",
        title="Memory: an open conversation in which nothing happens",
        chapter="memory",
        method=f"{count} connections are opened in one process, to servers in another. The figure is what resident "
        "memory grew by, divided by their number, less the same without tracing. With the recorder each has "
        "handed over a second of audio.",
        rows=list(_idle(count, rounds=1 if quick else 3)),
    )
    minutes = 10 if quick else 120
    yield Result(
        name="memory-long-call",
        title=f"Memory: a recorded call of {minutes} minutes",
        chapter="memory",
        method="All frames of a turn every 4.8 seconds, 1,500 in two hours, and 20 ms of audio at a time, on a clock "
        "that is moved by hand; with the processor, its spool, the recorder and the encoder at work. Growth is "
        "from the fifth minute on. Objects: what tracemalloc counts, in a run of its own. The transcript, "
        "which the root carries at the end, is kept up to 4 MB.",
        rows=list(_long(minutes, rounds=1 if quick else 3)),
    )


def _idle(count: int, rounds: int) -> Iterator[Row]:
    grown: dict[str, list[float]] = {way: [] for way in (UNTRACED, VOICESPAN, RECORDED, LANGSMITH)}
    for _ in range(rounds):
        for way, found in grown.items():
            found.append(_measured("idle", way, count)["grown"] / count / 1000)
    for way, found in grown.items():
        yield row("a connection", way, found, "kB")
    for way in (VOICESPAN, RECORDED, LANGSMITH):
        more = [each - bare for each, bare in zip(grown[way], grown[UNTRACED], strict=True)]
        goal = None if way == LANGSMITH else 200.0
        yield row("more than untraced", way, more, "kB", at_most=goal)


def _long(minutes: int, rounds: int) -> Iterator[Row]:
    runs = [_measured("long", VOICESPAN, minutes) for _ in range(rounds)]
    label = f"growth from minute 5 to {minutes}"
    yield row(label, VOICESPAN, [each["grown"] / 1e6 for each in runs], "MB", at_most=2.0)
    yield row("at the end, above minute 5", VOICESPAN, [each["ended"] / 1e6 for each in runs], "MB")
    traced = _measured("traced", VOICESPAN, minutes)
    yield Row(f"{label}, objects", VOICESPAN, traced["grown"] / 1e6, "MB", note=traced["where"])


def _measured(what: str, way: str, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, CallServers(Path(folder) / "sent", speed=0) as servers:
        found = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", "--of", what, way, str(size), servers.realtime_url],
            cwd=ROOT,
            env=environment(servers, Path(folder) / "spool"),
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(found.stdout.splitlines()[-1])


# In a process of their own.


async def idle(way: str, count: int, url: str) -> dict[str, Any]:
    """Open so many connections; bytes that resident memory grew by."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="k", websocket_base_url=url)
    async with contextlib.AsyncExitStack() as connections:
        for _ in range(5):  # what is imported, and what is made once
            await connections.enter_async_context(_connection(client, way))
        await asyncio.sleep(2)
        gc.collect()
        before = resident()
        for _ in range(count):
            await connections.enter_async_context(_connection(client, way))
        await asyncio.sleep(2)
        gc.collect()
        print(json.dumps({"grown": resident() - before}), flush=True)
        os._exit(0)
    return {}


@contextlib.asynccontextmanager
async def _connection(client: Any, way: str) -> AsyncIterator[None]:
    connecting = client.realtime.connect(model="gpt-realtime")
    if way == UNTRACED:
        async with connecting as connection:
            await connection.recv()
            yield
    elif way == LANGSMITH:
        from langsmith.integrations.openai_realtime import wrap_realtime

        async with connecting as connection, wrap_realtime(connection) as wrapped:
            await wrapped.recv()
            yield
    else:
        import voicespan

        async with voicespan.conversation() as conversation, connecting as connection:
            await connection.recv()
            if way == RECORDED:
                for chunk in voices().user[:CHUNKS_A_SECOND]:
                    conversation.recorder.user(chunk)
            yield


def long_call(minutes: int, size: Callable[[], int]) -> dict[str, Any]:
    """Hold it; by how much `size` grew after its fifth minute, until its end and until after that."""
    from voicespan.openai_realtime.protocol import Protocol
    from voicespan.recording import recording_thread
    from voicespan.tracing.scope import ConversationScope

    clock = FakeClock(time_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())
    # The one writer of the process goes by the call's time, and is not left behind by it.
    recording_thread.SHARED._clock, recording_thread.SHARED._threaded = clock, False
    frames, said = [frame for _, frame in turn_frames()], voices()
    sizes: dict[int, int] = {}
    with ConversationScope(clock=clock) as conversation:
        connection = conversation.connect(Protocol(), {})
        recorder = conversation.recorder
        for chunk in range(minutes * _MINUTE):
            place = chunk % len(said.user)
            recorder.user(said.user[place])
            answer = said.agent[place]
            if answer is not None:
                recorder.agent(answer)
            clock.advance(1 / CHUNKS_A_SECOND)
            if chunk % _PASS == 0:
                recording_thread.SHARED.run_once()
            if chunk % _TURN == 0:
                for frame in frames:
                    connection.received(stamped(frame, chunk))
                time.sleep(0.005)  # for the spool's thread, and the encoder's
            if chunk % _MINUTE == 0:
                time.sleep(0.2)
                sizes[chunk // _MINUTE] = size()
        time.sleep(1)
        sizes[minutes] = size()
        connection.closed(1000)
    time.sleep(3)
    return {"grown": sizes[minutes] - sizes[5], "ended": size() - sizes[5], "sizes": sizes}


def _of(what: str, way: str, size: str, url: str) -> None:
    warnings.simplefilter("ignore")
    if way.startswith(VOICESPAN):
        import voicespan

        voicespan.configure()
    if what == "idle":
        asyncio.run(idle(way, int(size), url))
        return
    found = _traced(int(size)) if what == "traced" else long_call(int(size), resident)
    print(json.dumps(found), flush=True)
    os._exit(0)


def _traced(minutes: int) -> dict[str, Any]:
    tracemalloc.start()
    snapshots = []

    def size() -> int:
        gc.collect()
        snapshots.append(tracemalloc.take_snapshot())
        return tracemalloc.get_traced_memory()[0]

    found = long_call(minutes, size)
    grown = snapshots[-2].compare_to(snapshots[5], "lineno")[:4]
    where = ", ".join(
        f"{Path(each.traceback[0].filename).name}:{each.traceback[0].lineno} {each.size_diff / 1e3:.0f} kB"
        for each in grown
    )
    return {**found, "where": where}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--of", nargs=4)
    asked, rest = parser.parse_known_args()
    if asked.of:
        _of(*asked.of)
    else:
        sys.argv[1:] = rest
        run(measure)
