"""What a server plays on one connection, frame by frame: a list of steps.

```python
Script([
    Send({"type": "session.created", "event_id": "event_1", "session": {"id": "sess_1"}}),
    Expect("session.update"),
    Send({"type": "session.updated", "event_id": "event_2", "session": {"id": "sess_1"}}),
    Expect("input_audio_buffer.append", count=3),
    Close(1011, "internal error"),
])
```

Steps are played in order. Client frames that no step expects are kept in the record and otherwise
ignored, so a script names only what matters to its test.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from voicespan.testing._connection import Frame, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicespan.testing._websocket import LoopbackServer, Wire

#: Which frames an `Expect` means: a mapping that the frame must contain, or a question put to it.
Where = Mapping[str, Any] | Callable[[dict[str, Any]], bool]


class Stage:
    """Where a script is played: the wire, and how far its steps have looked at what the client sent."""

    def __init__(self, server: LoopbackServer, wire: Wire) -> None:
        self.server = server
        self.wire = wire
        self.closed = asyncio.Event()
        self._came = asyncio.Event()
        self._position = 0

    async def listen(self) -> None:
        """Notice what the client sends, until the connection is closed."""
        await self.wire.listen(lambda _frame: self._came.set())
        self.closed.set()
        self._came.set()

    async def next_frame(self) -> Frame | None:
        """The client's next frame; None when the connection is closed and no frame is left."""
        while True:
            self._came.clear()
            self._position, new = self.wire.connection.frames_since(self._position, 1)
            if new:
                return parsed(new[0])
            if self.closed.is_set():
                return None
            await self._came.wait()


class Step:
    """One thing a script does."""

    async def play(self, stage: Stage) -> None:
        """Do it."""
        raise NotImplementedError


class Send(Step):
    """Send frames, as they are.

    Args:
        frames: A mapping is encoded once, when the script is written; text and encoded bytes go out
            unchanged, so what is malformed stays malformed.
        binary: Send WebSocket binary frames. The vendor only sends text.
    """

    def __init__(self, *frames: Mapping[str, Any] | str | bytes, binary: bool = False) -> None:
        self.frames = tuple(encoded(frame) for frame in frames)
        self._binary = binary

    async def play(self, stage: Stage) -> None:
        """Send them, at the client's pace."""
        try:
            for frame in self.frames:
                await stage.wire.send(frame, binary=self._binary)
        except ConnectionClosed:
            # A client may leave when it has seen enough; what is still expected of it will be missed.
            return


class Expect(Step):
    """Wait for frames from the client; those of other names are passed over.

    Args:
        name: The frames' name: for OpenAI their `type`.
        count: How many of them.
        where: Which of them count: a mapping whose keys and values the frame must contain (nested
            mappings likewise), or a function of the frame.
        timeout: Seconds for all of them together; the server's `timeout` when not given.
    """

    def __init__(
        self, name: str, count: int = 1, *, where: Where | None = None, timeout: float | None = None
    ) -> None:
        self.name = name
        self.count = count
        self._where = where
        self._timeout = timeout

    async def play(self, stage: Stage) -> None:
        """Wait; an `AssertionError` says what came instead."""
        timeout = stage.server.timeout if self._timeout is None else self._timeout
        met = 0

        async def meet() -> bool:
            nonlocal met
            while met < self.count:
                frame = await stage.next_frame()
                if frame is None:
                    return False
                met += self._matches(stage.server, frame)
            return True

        try:
            complete = await asyncio.wait_for(meet(), timeout)
            ended = "the connection was closed"
        except asyncio.TimeoutError:
            complete, ended = False, f"{timeout:g} s passed"
        if not complete:
            raise AssertionError(
                f"the script on {stage.wire.connection.path} expected {self.name} {self.count} times, "
                f"it came {met} times and {ended}; the client sent: {stage.wire.connection.summary}"
            )

    def _matches(self, server: LoopbackServer, frame: Frame) -> bool:
        if server.frame_name(frame) != self.name:
            return False
        if self._where is None:
            return True
        if not isinstance(frame, dict):
            return False
        return self._where(frame) if callable(self._where) else _contains(frame, self._where)


class Hold(Step):
    """Wait until the test calls the server's `release()`."""

    async def play(self, stage: Stage) -> None:
        """Wait; the end of the connection ends the wait too."""
        released = asyncio.Event()
        withdraw = stage.server.hold(lambda _chunks: released.set())
        waits = {asyncio.ensure_future(event.wait()) for event in (released, stage.closed)}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        withdraw()


class Close(Step):
    """Close the connection with a closing handshake.

    Args:
        code: The close code: 1000 normal, 1001 going away, 1011 internal error, …
        reason: The reason, at most 123 bytes.
    """

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        self.code = code
        self.reason = reason

    async def play(self, stage: Stage) -> None:
        """Close."""
        await stage.wire.close(self.code, self.reason)


class Drop(Step):
    """End the connection without a closing handshake, as a broken network does."""

    async def play(self, stage: Stage) -> None:
        """Drop."""
        stage.wire.drop()


class Script:
    """The steps of one connection.

    Args:
        steps: What is played, in order.
        stay_open: When all is played, wait for the client to close (frames that come are kept);
            else close normally.

    Raises:
        TypeError: A step is none; a frame is sent by `Send(frame)`.
    """

    def __init__(self, steps: Iterable[Step], *, stay_open: bool = True) -> None:
        self.steps = tuple(steps)
        for step in self.steps:
            if not isinstance(step, Step):
                raise TypeError(f"{step!r:.100} is no step of a script; a frame is sent by Send(frame)")
        self.stay_open = stay_open

    @classmethod
    def from_recording(
        cls,
        recording: str | os.PathLike[str] | Iterable[str | Mapping[str, Any]],
        *,
        wait: bool = True,
        stay_open: bool = True,
        name: Callable[[dict[str, Any]], str] = lambda frame: str(frame.get("type")),
    ) -> Script:
        """Play back what a real server sent.

        Args:
            recording: The path of a file with one JSON object a line, or such lines or objects:
                `{"dir": "server", "event": {…}}` and `{"dir": "client", "event": {…}}`.
            wait: Before going on after a client's frame of the recording, wait for one of the same
                name; else send all of the server's frames at once.
            stay_open: As for a script.
            name: What a frame is called; by default its `type`.
        """
        rows = list(_rows(recording))
        if not wait:
            return cls([Send(*(row["event"] for row in rows if row["dir"] == "server"))], stay_open=stay_open)
        steps: list[Step] = []
        for key, group in groupby(rows, lambda row: "" if row["dir"] == "server" else name(row["event"])):
            run = [row["event"] for row in group]
            steps.append(Expect(key, count=len(run)) if key else Send(*run))
        return cls(steps, stay_open=stay_open)

    async def play(self, server: LoopbackServer, wire: Wire) -> None:
        """Play all steps on an open connection."""
        stage = Stage(server, wire)
        listening = asyncio.ensure_future(stage.listen())
        code = 1011
        try:
            for step in self.steps:
                await step.play(stage)
            if self.stay_open:
                await listening
            code = 1000
        finally:
            await wire.close(code)
            await listening


def encoded(frame: Mapping[str, Any] | str | bytes) -> str | bytes:
    """A frame as it goes over the wire: compact JSON, no escapes, keys in the given order."""
    if isinstance(frame, str | bytes):
        return frame
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def _rows(
    recording: str | os.PathLike[str] | Iterable[str | Mapping[str, Any]],
) -> Iterator[Mapping[str, Any]]:
    if isinstance(recording, str | os.PathLike):
        recording = Path(recording).read_text(encoding="utf-8").splitlines()
    for row in recording:
        if isinstance(row, Mapping):
            yield row
        elif row.strip():
            yield json.loads(row)


def _contains(frame: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    for key, value in part.items():
        if key not in frame:
            return False
        found = frame[key]
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            if not _contains(found, value):
                return False
        elif found != value:
            return False
    return True
