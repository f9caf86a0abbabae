"""How a background thread leaves the interpreter to the application's."""

from __future__ import annotations

import time

#: Shorter than anybody notices, and longer than it takes another thread to wake up.
_LEAST = 50e-6
_MOST = 5e-3


def give_way(worked: float = 0.0) -> None:
    """Let a thread that waits for the interpreter have it; called between two pieces of work.

    A thread that works on is made to let go only every 5 ms, and so long an event loop would wait each time
    it wakes up. Calls that leave the interpreter for some microseconds, as those of an encoder, do not help:
    they have it back before the other thread has woken up.

    Args:
        worked: Seconds that the piece took; the rest is as long. An event loop lets go of the interpreter with each
            read, write and wait, thousands of times a second. A thread that always has something to do takes it each
            time, and the loop, which then waits each time, comes to a standstill long before the processor is used up.
    """
    time.sleep(min(max(worked, _LEAST), _MOST))
