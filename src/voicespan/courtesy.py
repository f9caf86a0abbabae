"""How a background thread leaves the interpreter to the application's."""

from __future__ import annotations

import time

#: Shorter than anybody notices, and longer than it takes another thread to wake up.
_SECONDS = 50e-6


def give_way() -> None:
    """Let a thread that waits for the interpreter have it; called between two pieces of work.

    A thread that works on is made to let go only every 5 ms, and so long an event loop would wait each time
    it wakes up. Calls that leave the interpreter for some microseconds, as those of an encoder, do not help:
    they have it back before the other thread has woken up.
    """
    time.sleep(_SECONDS)
