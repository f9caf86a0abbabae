"""A process that holds many calls at once: what is measured, under load.

Started by `many_conversations` and `event_loop`, once for each way. The application is as simple as one can
be: real `openai` clients, one task that reads, one that sends the microphone, and one for all calls that
stands for the audio callbacks and hands over 20 ms at a time. Everything is due at absolute times.

A lean one (`--lean`) leaves to the client what it must: it sends frames that were made before (`send_raw`) and
takes frames as they come (`recv_bytes`). With models made of each frame, and each chunk of the microphone
checked and encoded by the client, 500 calls take the whole of a core before anything is traced.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gc
import itertools
import json
import logging
import os
import random
import resource
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from benchmarks.call_audio import CHUNKS_A_SECOND, voices
from benchmarks.call_servers import APPEND, sent_at
from benchmarks.delays import Delays, probe
from benchmarks.results import DELIVERED, UNTRACED, VOICESPAN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_OURS = (VOICESPAN, DELIVERED)
#: The audio callbacks of all calls are spread over so many moments of the 20 ms.
_SHARDS = 4
#: How many calls begin a second, before there are as many as asked for.
_BEGIN_A_SECOND = 20
#: Milliseconds: a frame that is later is counted. What a microphone has in a frame, and what a listener notices.
_LATE = (20, 150)
#: A figure of each is kept for so many seconds.
_EVERY = 15.0


class Call:
    """One call, from its connection to its end."""

    def __init__(self, centre: CallCentre, seconds: float) -> None:
        self.handed_over = 0
        self._centre = centre
        self._seconds = seconds
        self._user: Callable[..., Any] = _nowhere
        self._agent: Callable[..., Any] = _nowhere
        self._first_at = 0.0
        self._said = centre.said

    async def hold(self) -> None:
        """Connect, talk, hang up."""
        async with self._connected() as connection:
            tasks = [asyncio.create_task(each) for each in (self._read(connection), self._send(connection))]
            with self._centre.feeding(self):
                await asyncio.sleep(self._seconds)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def feed(self) -> None:
        """What the audio callbacks hand over next."""
        number = self.handed_over
        if not number:
            self._first_at = self._centre.loop.time()
        # When it was captured, or is heard, as the clock of a device tells: so a call whose loop was held is laid
        # out as it was heard.
        at = self._first_at + number / CHUNKS_A_SECOND
        said, answer = self._said[number % len(self._said)]
        self._user(said, at=at)
        if answer is not None:
            self._agent(answer, at=at)
        self.handed_over = number + 1

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connecting = self._centre.client.realtime.connect(model="gpt-realtime")
        if self._centre.way in _OURS:
            import voicespan

            async with voicespan.conversation(metadata={"load": True}) as conversation:
                recorder = conversation.recorder
                self._user, self._agent = recorder.user, recorder.agent
                async with connecting as connection:
                    yield connection
                conversation.set_metadata(handed_over=self.handed_over)
        elif self._centre.way == UNTRACED:
            async with connecting as connection:
                yield connection
        else:
            from langsmith.integrations.openai_realtime import wrap_realtime

            async with connecting as connection, wrap_realtime(connection, sample_rate=24_000) as wrapped:
                self._user = lambda pcm, at: wrapped.record_user_audio(pcm)  # noqa: ARG005  it knows no time
                self._agent = lambda pcm, at: wrapped.record_agent_audio(pcm)  # noqa: ARG005
                yield wrapped

    async def _read(self, connection: Any) -> None:
        if self._centre.lean and self._centre.way in (UNTRACED, *_OURS):
            while True:
                frame = await connection.recv_bytes()
                self._centre.arrived((time.monotonic_ns() - sent_at(frame)) / 1e9)
        # The `langsmith` package's wrapper sees what is read like this, and nothing else.
        async for event in connection:
            self._centre.arrived((time.monotonic_ns() - sent_at(event.event_id.encode())) / 1e9)

    async def _send(self, connection: Any) -> None:
        audio = self._centre.microphone
        made = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
        due = self._centre.loop.time()
        while True:
            if self._centre.lean:
                await connection.send_raw(made)
            else:
                await connection.input_audio_buffer.append(audio=audio)
            due += APPEND
            await asyncio.sleep(due - self._centre.loop.time())


def _nowhere(_: bytes, *, at: float) -> None:
    pass


class CallCentre:
    """All calls of the process, and what is seen of them."""

    def __init__(self, way: str, url: str, spool: Path | None, *, lean: bool) -> None:
        self.way = way
        self.lean = lean
        self.client = AsyncOpenAI(api_key="k", websocket_base_url=url)
        said = voices()
        self.said = list(zip(said.user, said.agent, strict=True))
        self.microphone = base64.b64encode(os.urandom(round(48_000 * APPEND))).decode()
        self.loop = asyncio.get_running_loop()
        self.begun = self.failed = 0
        self._spool = spool
        self._fed: list[list[Call]] = [[] for _ in range(_SHARDS)]
        #: Everything, and what came since it was last looked at.
        self._frames, self._loop_delays = [Delays(), Delays()], [Delays(), Delays()]
        self._feeding = Delays()

    def arrived(self, late: float) -> None:
        """A frame was handed to the application so many seconds after the server had sent it."""
        for delays in self._frames:
            delays.add(late)

    @contextlib.contextmanager
    def feeding(self, call: Call):
        """Hand over the call's audio meanwhile."""
        shard = min(self._fed, key=len)
        shard.append(call)
        try:
            yield
        finally:
            shard.remove(call)

    async def hold(
        self, conversations: int, seconds: float, shortest: float, longest: float
    ) -> dict[str, Any]:
        """Hold so many calls at any time; each lasts its own time, and another one follows it."""
        helpers = [asyncio.create_task(self._callbacks())]
        self.begun += 1
        await Call(self, 1.0).hold()  # with the first one much is imported
        # As whoever holds hundreds of calls does: what is there to stay is looked through no more.
        gc.collect()
        gc.freeze()
        self._beginning = min(conversations / _BEGIN_A_SECOND, longest)
        ends = self.loop.time() + seconds
        helpers += [asyncio.create_task(each) for each in (probe(self._delayed), self._watch())]
        self._minutes: list[dict[str, Any]] = []
        lines = [
            self._line(ends, number / conversations, shortest, longest) for number in range(conversations)
        ]
        async with asyncio.timeout_at(ends + 60) if sys.version_info >= (3, 11) else contextlib.nullcontext():
            during_the_end = asyncio.create_task(self._before_the_end(ends))
            await asyncio.gather(*lines)
        during = await during_the_end
        await asyncio.sleep(1.0)
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers)
        return {
            **during,
            "calls": self.begun,
            "calls_failed": self.failed,
            "loop_at_the_end_ms": self._loop_delays[1].milliseconds(),
            "audio_callbacks_late_ms": self._feeding.milliseconds(),
            "samples": self._minutes,
        }

    async def _line(self, ends: float, share: float, shortest: float, longest: float) -> None:
        """One call after the other, to the end. They begin at any time: so do telephones."""
        drawn = random.Random(share)
        # Not one each 50 ms: then dozens would always send, and be sent to, at the same moment.
        await asyncio.sleep(drawn.random() * self._beginning)
        while (left := ends - self.loop.time()) > 1:
            self.begun += 1
            # A very short rest is not another call.
            seconds = drawn.uniform(shortest, longest)
            try:
                await Call(self, left if left < seconds + shortest / 2 else seconds).hold()
            except (OSError, TimeoutError, ConnectionClosed):
                self.failed += 1

    async def _before_the_end(self, ends: float) -> dict[str, Any]:
        """What was seen up to the moment in which everybody hangs up."""
        await asyncio.sleep(self._beginning)
        # How they begin is not how they go on.
        self._loop_delays, self._frames = [Delays(), Delays()], [Delays(), Delays()]
        before = _spent()
        begun = self.loop.time()
        await asyncio.sleep(ends - 0.5 - self.loop.time())
        used = {name: spent - before.get(name, 0.0) for name, spent in _spent().items()}
        passed = self.loop.time() - begun
        self._loop_delays[1] = Delays()
        return {
            "frames": self._frames[0].count,
            "frames_late_ms": self._frames[0].milliseconds(),
            "frames_later_than_ms": {ms: self._frames[0].later_than(ms / 1000) for ms in _LATE},
            "loop_ms": self._loop_delays[0].milliseconds(),
            "share_of_a_core": {name: round(spent / passed, 3) for name, spent in used.items()},
        }

    def _delayed(self, seconds: float) -> None:
        for delays in self._loop_delays:
            delays.add(seconds)

    async def _callbacks(self) -> None:
        period = 1 / CHUNKS_A_SECOND / _SHARDS
        due = began = self.loop.time()
        for shard in itertools.cycle(self._fed):
            due += period
            # What is overdue when a turn of the loop begins comes in that turn, as from a socket that was not read
            # for a while. With a turn for each, audio would be later and later where turns take longer than it lasts.
            if due > began:
                await asyncio.sleep(due - self.loop.time())
                began = self.loop.time()
            if shard:
                self._feeding.add(max(self.loop.time() - due, 0.0))
            for call in shard:
                call.feed()

    async def _watch(self) -> None:
        begun = self.loop.time()
        for number in itertools.count(1):
            await asyncio.sleep(begun + number * _EVERY - self.loop.time())
            sample = {
                "seconds": round(self.loop.time() - begun),
                "resident_mb": round(resident() / 1e6, 1),
                "loop_p99_ms": self._loop_delays[1].milliseconds()["p99"],
                "frames_p99_ms": self._frames[1].milliseconds()["p99"],
            }
            self._loop_delays[1], self._frames[1] = Delays(), Delays()
            if self._spool is not None:
                # Thousands of folders are not looked at on the event loop.
                sample.update(await asyncio.to_thread(_look, self._spool))
            self._minutes.append(sample)
            print(json.dumps(sample), file=sys.stderr, flush=True)


def _look(spool: Path) -> dict[str, float]:
    folders = [entry for entry in os.scandir(spool) if entry.is_dir()] if spool.exists() else []
    size = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            size += sum(entry.stat().st_size for entry in os.scandir(folder))
    return {"spool_folders": len(folders), "spool_mb": round(size / 1e6, 1)}


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _spent() -> dict[str, float]:
    """Seconds of processor time, of the whole process and of its threads."""
    clocks = {"all": time.process_time()}
    for thread in threading.enumerate():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
            name = "event loop" if thread is threading.main_thread() else thread.name
            spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            clocks[name] = clocks.get(name, 0.0) + spent
    return clocks


def _traced(way: str) -> Callable[[], None]:
    """Begin to trace; returns what the application calls when it exits."""
    if way not in _OURS:
        return lambda: None
    import voicespan

    provider = voicespan.configure()
    return provider.shutdown


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--conversations", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--shortest", type=float, default=60.0)
    parser.add_argument("--longest", type=float, default=240.0)
    parser.add_argument("--lean", action="store_true")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    warnings.simplefilter("ignore")
    shut_down = _traced(asked.way)
    spool = os.environ.get("VOICESPAN_SPOOL_DIR")

    async def hold() -> dict[str, Any]:
        watched = Path(spool) if spool and asked.way in _OURS else None
        centre = CallCentre(asked.way, asked.url, watched, lean=asked.lean)
        return await centre.hold(asked.conversations, asked.seconds, asked.shortest, asked.longest)

    found = asyncio.run(hold())
    begun = time.monotonic()
    shut_down()
    found["exit_seconds"] = round(time.monotonic() - begun, 2)
    print(json.dumps(found), flush=True)
    # The langsmith package's client would go on posting for minutes.
    os._exit(0)


if __name__ == "__main__":
    main()
