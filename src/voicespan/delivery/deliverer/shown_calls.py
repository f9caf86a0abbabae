"""Conversations of other processes that are shown while they go on: one deliverer shows each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.delivery.export.live import LiveSender
from voicespan.delivery.spool.folder import Folder
from voicespan.delivery.spool.locks import FolderLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicespan.delivery.deliverer.spool_watch import Waiting
    from voicespan.delivery.encoding.protobuf import Message
    from voicespan.delivery.export.responses import Answer
    from voicespan.runtime.clock import Clock

_SHOW = "show"


class _Elsewhere:
    """The trace of a conversation of which nothing but its folder is known here."""

    live = False
    open_ids: frozenset[int] = frozenset()


class ShownCalls:
    """Those of one destination. Called by one thread."""

    def __init__(self, project: str, post: Callable[[Message], Answer], clock: Clock) -> None:
        self.sender = LiveSender(project, post, clock, lambda _: None)
        #: Of each folder that this process shows.
        self._locks: dict[str, FolderLock] = {}

    def look(self, waiting: Waiting) -> None:
        """Show what there is of a conversation that goes on, unless another deliverer does."""
        name = waiting.path.name
        if name not in self._locks:
            lock = _lock(waiting.path)
            if lock is None:
                return
            self._locks[name] = lock
        assert waiting.meta is not None  # noqa: S101  others are not to be shown
        self.sender.changed(_Elsewhere(), Folder.beside(waiting.path, waiting.meta))

    def let_go(self, path: Path) -> bool:
        """Have it delivered, since it is over; False: not yet, a request with some of it is under way."""
        if not self.sender.let_go(path.name):
            return False
        lock = self._locks.pop(path.name, None) or _lock(path)
        if lock is None:
            return False
        lock.release()
        return True

    def stop(self) -> bool:
        """Show nothing any more; False: a request is under way, and its folders are let go of the next time."""
        self.sender.loop.stop()
        for name in list(self._locks):
            if self.sender.let_go(name):
                self._locks.pop(name).release()
        return not self._locks


def _lock(path: Path) -> FolderLock | None:
    try:
        return FolderLock.take(path, to=_SHOW)
    except OSError:
        return None
