"""A WebSocket that has everything already: the SDK reads and writes, and no network takes part.

A session is opened with a real server, through the real seams of whoever traces it. Then this takes the
place of its socket, so that what is measured is the SDK's own work and the tracer's, without the kernel's.
"""

from __future__ import annotations

from typing import Any


class Prefilled:
    """Gives out frames over and over; takes everything that is sent, and forgets it.

    Attributes:
        frames: what comes next, from the start.
    """

    def __init__(self, socket: Any, frames: list[bytes]) -> None:
        self._socket = socket
        self.fill(frames)

    def fill(self, frames: list[bytes]) -> None:
        """From now on these come, over and over."""
        self._frames = frames
        self._next = 0

    def take(self) -> bytes:
        """The next frame."""
        frame = self._frames[self._next]
        self._next = (self._next + 1) % len(self._frames)
        return frame

    def __getattr__(self, name: str) -> Any:
        # Closing, the close code and the like are the real socket's.
        return getattr(self._socket, name)


class AsyncPrefilled(Prefilled):
    """The same, awaited."""

    async def recv(self, decode: bool | None = None) -> bytes:
        """Never waits, as where the network is ahead of the application."""
        del decode
        return self.take()

    async def send(self, message: Any, text: bool | None = None) -> None:
        """Forget it."""


class SyncPrefilled(Prefilled):
    """The same, called."""

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> bytes:
        """Never waits."""
        del timeout, decode
        return self.take()

    def send(self, message: Any, text: bool | None = None) -> None:
        """Forget it."""
