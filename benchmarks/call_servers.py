"""The other side of many calls, in a process of its own: a Realtime server, and a LangSmith that is slow.

    with CallServers(folder) as servers:
        servers.realtime_url, servers.langsmith_url

The Realtime server is as lean as it can be, for it shares two cores with what is measured: it replays turns
that were encoded in advance. Each frame carries the monotonic time at which it was sent, which is the same
clock in every process of a machine.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import time
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.results import ROOT
from voicespan.testing import LangSmithServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

#: One turn of a call, in seconds: the caller speaks for the first half, the agent for the second.
TURN = 20.0
#: Seconds of audio in a frame from the server, and in one from the microphone. A client that reads a frame
#: spends 80 us on it: 500 calls with 20 ms in a frame are more than one process can carry, traced or not. What
#: is handed to the recorder comes every 20 ms all the same.
DELTA = 0.8
APPEND = 1.0
#: The key that the LangSmith server knows.
KEY = "lsv2_pt_test"
#: Seconds that a slow LangSmith thinks about a request, by turns, and the bytes a second that it reads.
_THINKS = (2.0, 5.0, 3.0, 4.0)
_BYTES_PER_SECOND = 2_000_000

#: Where a frame's number and time go, as long as what replaces them.
_NUMBER = b"%NUMBER%"
_TIME = b"%TIME-OF-SENDING%00"
_TEXT = "The table is free at eight, and I have put you down for four people by the window."


_SENT = re.compile(rb"event_(\d{19})")


def sent_at(frame: bytes) -> int:
    """When the server sent this frame, or the one with this id, in nanoseconds of the monotonic clock."""
    found = _SENT.search(frame)
    assert found is not None
    return int(found[1])


def turn_frames() -> list[tuple[float, bytes]]:
    """The frames of one turn, each with its time in the turn, in seconds."""
    audio = base64.b64encode(os.urandom(round(48_000 * DELTA))).decode()
    return [(at, _encoded(frame)) for at, frame in sorted(_turn(audio), key=lambda timed: timed[0])]


def _encoded(frame: dict[str, Any]) -> bytes:
    return json.dumps({"type": frame["type"], "event_id": f"event_{_TIME.decode()}", **frame}).encode()


def _turn(audio: str) -> Iterator[tuple[float, dict[str, Any]]]:
    number = _NUMBER.decode()
    user, item, response = f"item_u{number}", f"item_a{number}", f"resp_{number}"
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    message = {"id": item, "object": "realtime.item", "type": "message", "role": "assistant"}
    said = {**message, "status": "completed", "content": [{"type": "output_audio", "transcript": _TEXT}]}
    heard = {"id": user, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    usage = {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121}
    yield 0.3, {"type": "input_audio_buffer.speech_started", "audio_start_ms": 10, "item_id": user}
    yield 9.5, {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": user}
    yield 9.6, {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": user}
    yield 9.6, {"type": "conversation.item.added", "previous_item_id": None, "item": heard}
    yield 9.6, {"type": "conversation.item.done", "previous_item_id": None, "item": heard}
    begun = {"id": response, "status": "in_progress", "output": []}
    yield 9.7, {"type": "response.created", "response": begun}
    added = {"response_id": response, "output_index": 0, "item": {**message, "status": "in_progress"}}
    yield 9.8, {"type": "response.output_item.added", **added}
    yield 9.8, {"type": "conversation.item.added", "previous_item_id": user, "item": added["item"]}
    part = {"type": "audio", "transcript": ""}
    yield 9.8, {"type": "response.content_part.added", **ids, "part": part}
    for index, word in enumerate(_TEXT.split()):
        yield 9.9 + index * 0.3, {"type": "response.output_audio_transcript.delta", **ids, "delta": word}
    for index in range(int(9.8 / DELTA)):
        yield 10.0 + index * DELTA, {"type": "response.output_audio.delta", **ids, "delta": audio}
    words = "A table for four at eight, please."
    transcribed = {"item_id": user, "content_index": 0, "transcript": words}
    yield 10.3, {"type": "conversation.item.input_audio_transcription.completed", **transcribed}
    yield 19.8, {"type": "response.output_audio.done", **ids}
    yield 19.8, {"type": "response.output_audio_transcript.done", **ids, "transcript": _TEXT}
    yield 19.8, {"type": "response.content_part.done", **ids, "part": {**part, "transcript": _TEXT}}
    yield 19.8, {"type": "conversation.item.done", "previous_item_id": user, "item": said}
    ended = {"response_id": response, "output_index": 0, "item": said}
    yield 19.8, {"type": "response.output_item.done", **ended}
    done = {"id": response, "status": "completed", "status_details": None, "output": [said], "usage": usage}
    yield 19.9, {"type": "response.done", "response": done}
    limits = [{"name": "tokens", "limit": 40_000, "remaining": 39_000}]
    yield 19.9, {"type": "rate_limits.updated", "rate_limits": limits}


def stamped(frame: bytes, turn: int) -> bytes:
    """A prepared frame of the given turn, as it is sent now."""
    frame = frame.replace(_NUMBER, b"%08d" % turn)
    return frame.replace(_TIME, b"%019d" % time.monotonic_ns(), 1)


async def _answer(socket: ServerConnection, frames: list[tuple[float, bytes]], speed: float) -> None:
    listening = asyncio.create_task(_listen(socket))
    created = {"type": "session.created", "session": {"id": f"sess_{id(socket)}", "type": "realtime"}}
    try:
        await socket.send(stamped(_encoded(created), 0), text=True)
        if not speed:
            await listening
            return
        # By absolute times: what comes late does not delay what follows.
        begun = time.monotonic()
        for turn in count():
            for at, frame in frames:
                await asyncio.sleep(begun + (turn * TURN + at) / speed - time.monotonic())
                await socket.send(stamped(frame, turn), text=True)
    except ConnectionClosed:
        pass
    finally:
        listening.cancel()


async def _listen(socket: ServerConnection) -> None:
    async for _ in socket:
        pass


class CallServers:
    """Starts the process, and asks it."""

    def __init__(self, folder: Path, *, slow: bool = False, speed: float = 1.0) -> None:
        """`folder`: where the recordings that were delivered are kept; `slow`: see `_THINKS`.

        `speed`: how many times as fast as people speak the turns are; 0: nobody says anything.
        """
        options = [str(folder), "slow" if slow else "quick", str(speed)]
        command = [sys.executable, "-m", "benchmarks.call_servers", *options]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        urls = self._read()
        self.realtime_url: str = urls["realtime"]
        self.langsmith_url: str = urls["langsmith"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It ends with its standard input.
        self._process.communicate(timeout=30)

    def hurry(self) -> None:
        """Be slow no longer."""
        self._ask("hurry")

    def conversations(self) -> list[dict[str, Any]]:
        """What was delivered: metadata of each root, the number of its runs, the path of its recording."""
        return self._ask("conversations")

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _delivered(langsmith: LangSmithServer) -> list[dict[str, Any]]:
    return [
        {
            "metadata": root.metadata,
            "runs": sum(1 for _ in root.walk()),
            "recording": next((str(each.path) for each in root.attachments.values()), None),
        }
        for root in langsmith.roots
    ]


async def _serve(folder: str, pace: str, speed: str) -> None:
    frames = turn_frames()

    async def answer(socket: ServerConnection) -> None:
        await _answer(socket, frames, float(speed))

    thinks = cycle(_THINKS)

    def think(_: object) -> bool:
        time.sleep(next(thinks))
        return True

    async with serve(answer, "127.0.0.1", 0, compression=None, ping_interval=None) as realtime:
        port = next(iter(realtime.sockets)).getsockname()[1]
        with LangSmithServer(api_keys=[KEY], save_attachments=folder) as langsmith:
            if pace == "slow":
                langsmith.fail(bytes_per_second=_BYTES_PER_SECOND, times=None, match=think)
            _say({"realtime": f"ws://127.0.0.1:{port}/v1", "langsmith": langsmith.url})
            while question := (await asyncio.to_thread(sys.stdin.readline)).strip():
                if question == "hurry":
                    langsmith.clear_failures()
                    _say({})
                else:
                    _say(_delivered(langsmith))


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
