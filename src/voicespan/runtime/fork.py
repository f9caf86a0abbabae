"""Resets what has a thread or a lock in a forked child, where the threads are gone and the locks may be held."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something that has a thread or a lock."""

    def reset_after_fork(self) -> None:
        """Begin anew: called in a forked child, which has no other thread."""


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()


def register(thing: Forked) -> None:
    """Tell `thing` when it finds itself in a forked child."""
    _watched.add(thing)


def _in_the_child() -> None:
    for thing in list(_watched):
        thing.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_in_the_child)
