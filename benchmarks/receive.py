"""The receive path: what tracing adds to each frame, on the application's thread.

python -m benchmarks.receive [--quick]
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import frames_gemini, frames_openai, pairs, peers, servers, sessions, ways
from benchmarks.results import UNTRACED, VOICESPAN, Result, Row, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from benchmarks.sessions import Opening, Session
    from benchmarks.ways import Way

AUDIO = "audio delta"
OTHER = "any other frame"
WHOLE = "whole session"

_NAMES = {AUDIO: "receive-audio", OTHER: "receive-other", WHOLE: "receive-session"}

_NOTE = """\
How many runs each way makes of a turn stands beside what it adds: they do not tell the same. A sync client has no
peer in the `langsmith` package, whose wrapper is async only."""

#: Frames that a block reads before its time is taken: the interpreter has to find out first that other
#: methods stand in the classes.
_WARM_UP = 64
_BLOCK = 256
#: How many processes read audio deltas, and how many rounds each.
_PROCESSES = 5
_ROUNDS = 5
#: Turns of a session.
_TURNS = 40

_METHOD = {
    AUDIO: """\
The SDK reads frames of 200 ms of audio, one after the other. Each session is opened with a real server; then
something that has all frames already takes the place of its socket, and in the last rows it does not: there
they come through a loopback socket from a server in another process. All sessions are open at once, and
blocks of 256 frames are read in turn, each way beside the untraced one. A round is the median of 16 paired
differences (8 over the socket, whose own figures move by more than what is added, so that no ratio is formed of them); shown
are the median of the rounds and their quartiles. But for the socket's, the rounds of what is installed together are made
in five processes, one after the other: where things lie in a process's memory changes what a way adds by half a microsecond, for as long as it
runs.""",
    OTHER: """\
Whole sessions of 40 turns without their audio, each new, in turn in each way, and each delivered to a LangSmith
server in another process before the next begins. Counted is what the application's thread does while it
reads; voicespan writes most spans on a thread of its own, which shares the interpreter, and what all threads of the
process use stands in the last table of this chapter. A round is one paired difference.""",
    WHOLE: """\
The same with the audio: 20 frames of it in each answer.""",
}


async def audio_deltas(
    opening: Opening, compared: list[Way], frames: list[bytes], *, quick: bool
) -> pairs.Paired:
    """Blocks of audio frames on sessions that are all open at once; without `frames` they keep their sockets."""
    async with contextlib.AsyncExitStack() as stack:
        blocks = {}
        for way in compared:
            session = await stack.enter_async_context(opening(way))
            if frames:
                session.transport.fill(frames)
            # The answer begins.
            with way.at_work():
                await session.read(max(len(frames), 8))
            if frames:
                session.transport.fill(frames[-1:])
            blocks[way.name] = _block(way, session)
        # A socket's frames take longer to come than to read.
        rounds, each = (2, 4) if quick else (_ROUNDS, 16) if frames else (9, 8)
        return await pairs.interleaved(blocks, frames=_BLOCK, rounds=rounds, each=each)


def _block(way: Way, session: Session) -> Callable[[], Awaitable[float]]:
    async def block() -> float:
        with way.at_work():
            await session.read(_WARM_UP)
            begun = time.thread_time()
            await session.read(_BLOCK)
            return time.thread_time() - begun

    return block


async def whole_sessions(
    opening: Opening, compared: list[Way], frames: list[bytes], *, quick: bool
) -> pairs.Paired:
    """One session after the other, each new."""
    found_runs: dict[str, int] = {}

    def session_of(way: Way) -> Callable[[], Awaitable[float]]:
        async def block() -> float:
            ways.forget()
            async with opening(way) as session:
                session.transport.fill(frames)
                with way.at_work():
                    begun = time.thread_time()
                    await session.read(len(frames))
                    taken = time.thread_time() - begun
            way.flush()
            found_runs[way.name] = ways.received()["runs"]
            return taken

        return block

    blocks = {way.name: session_of(way) for way in compared}
    found = await pairs.interleaved(blocks, frames=len(frames), rounds=2 if quick else 9)
    return replace(found, runs={name: runs / _TURNS for name, runs in found_runs.items()})


def compared(client: str, kind: str, names: list[str], *, quick: bool) -> pairs.Paired:
    """One kind of frame, read by one kind of client, in the ways that are named."""
    source = frames_gemini if client == "gemini" else frames_openai
    made = ways.made(names)
    with sessions.opening(client) as opening:
        if kind == AUDIO:
            return asyncio.run(audio_deltas(opening, made, source.audio_frames(3), quick=quick))
        frames = source.turns(_TURNS, audio=kind == WHOLE)
        return asyncio.run(whole_sessions(opening, made, frames, quick=quick))


def in_several_processes(client: str, kind: str, names: list[str], *, quick: bool) -> pairs.Paired:
    """The same in one new process after the other."""
    found = []
    for _ in range(1 if quick else _PROCESSES):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found.append(process.submit(compared, client, kind, names, quick=quick).result())
    return pairs.together(found)


def over_a_socket(names: list[str], *, quick: bool) -> pairs.Paired:
    """Audio deltas that come through the kernel."""
    head = [frames_openai.session_created(), *frames_openai.audio_frames(1)]
    made = ways.made(names)
    with servers.endless(head, head[-1:]) as server:
        opening = sessions.over_the_socket(server.url)
        return asyncio.run(audio_deltas(opening, made, [], quick=quick))


def measure(*, quick: bool) -> Iterator[Result]:
    """One table for each kind of frame."""
    for kind in (AUDIO, OTHER, WHOLE):
        rows: list[Row] = []
        notes: list[str] = []
        for client, title, peer in sessions.CLIENTS:
            label = f"{kind}, {title}"
            names = [UNTRACED, VOICESPAN, *([peer] if peer else [])]
            measured = in_several_processes if kind == AUDIO else compared
            rows += pairs.rows(label, measured(client, kind, names, quick=quick), **_targets(kind))
            rows += peers.rows("receive", client, kind, label, quick=quick)
        if kind == AUDIO:
            names = [UNTRACED, VOICESPAN, ways.WRAP_REALTIME]
            found = over_a_socket(names, quick=quick)
            rows += pairs.rows("audio delta, OpenAI async, loopback socket", found, at_most=2.0, ratio=False)
        else:
            notes.append("A sync client has no peer in the `langsmith` package, whose wrapper is async only.")
        yield Result(
            name=_NAMES[kind],
            title=f"{kind.capitalize()}{'s' if kind == AUDIO else ''}",
            chapter="receive",
            method=_METHOD[kind],
            rows=rows,
            notes=notes,
            versions=peers.versions(),
        )


def _targets(kind: str) -> dict[str, float]:
    if kind == AUDIO:
        return {"at_most": 2.0, "ratio_at_most": 1.0}
    return {"ratio_at_most": 0.5} if kind == OTHER else {}


if __name__ == "__main__":
    run(measure)
