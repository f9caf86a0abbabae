"""What agents do alike, whichever service they speak to: listen and talk at once, and work meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from voicespan.cli.demo.call import Call


class Agent:
    """Moves sound between the telephone and a service, and calls the functions that the model wants."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.loudspeaker = call.telephone.loudspeaker
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    async def converse(self) -> None:
        """Until the caller hangs up, or the service does.

        Raises:
            Exception: What went wrong with the connection.
        """
        talking = self.start(self.call.telephone.talk(self.send, self.call.recorder))
        listening = self.start(self.listen())
        try:
            while not (talking.done() or listening.done()):
                task = await self._ended.get()
                self._tasks.discard(task)
                task.result()
        finally:
            for task in self._tasks:
                task.cancel()

    async def send(self, pcm: bytes) -> None:
        """Send what the microphone hears: 20 ms, PCM16, mono, at `story.RATE` Hz."""
        raise NotImplementedError

    async def listen(self) -> None:
        """Take in what the service says."""
        raise NotImplementedError

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do some work while the caller is listened to; if it fails, so does the conversation."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended.put_nowait)
        return task

    def fall_silent(self) -> tuple[str, int] | None:
        """The caller speaks: stop the playback. Which answer was cut, and how many milliseconds were heard."""
        cut = self.loudspeaker.cut()
        if cut is not None:
            self.call.recorder.cut_agent(played_ms=cut[1])
        return cut
