"""Modules that a first conversation needs, imported off the event loop.

Most processes that import an HTTP client never hold a conversation, so nothing is imported with it. The first socket of a
provider's waits instead, in its own coroutine: importing takes a thread of its own, and the loop goes on.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from concurrent.futures import Future

from voicespan.runtime.fork import register
from voicespan.runtime.guard import guard


class Loading:
    """What is imported before the first conversation of a client that asks for it."""

    def __init__(self) -> None:
        self._needed: dict[str, None] = {}
        #: Over when the thread has imported it.
        self._under_way: Future[None] | None = None
        register(self)

    def need(self, *modules: str) -> None:
        """These are imported, in their order."""
        self._needed.update(dict.fromkeys(modules))

    def load(self) -> None:
        """Import what is needed, here and now."""
        while names := list(self._needed):
            with guard():
                importlib.import_module(names[0])
            self._needed.pop(names[0], None)

    async def load_off_the_loop(self) -> None:
        """Import what is needed, if anything is, while the event loop goes on."""
        if self._needed and self._under_way is None:
            self._begin()
        if self._under_way is not None:
            # Whoever gives up waiting does not end it for the others.
            await asyncio.shield(asyncio.wrap_future(self._under_way))

    def _begin(self) -> None:
        under_way: Future[None] = Future()
        # Where no thread can be had, it is imported where it is needed.
        with guard():
            threading.Thread(target=self._run, args=(under_way,), name="voicespan-load", daemon=True).start()
            self._under_way = under_way

    def _run(self, under_way: Future[None]) -> None:
        self.load()
        under_way.set_result(None)

    def reset_after_fork(self) -> None:
        """In a forked child nobody imports: whoever needs it begins anew."""
        self._under_way = None


#: The process's own.
LOADING = Loading()
