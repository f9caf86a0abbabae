"""When a conversation that has lost its connection is taken up again, or given up.

A session that was cut off, or asked to leave, can be resumed on another connection. Until that comes, or a
time has passed, its conversation stays open. The span thread watches the time for all of them. Nothing here
takes a lock: each step is one operation on a dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicespan.runtime.clock import Clock

    class Waiting(Protocol):
        """What can wait."""

        def resume_timeout(self) -> None:
            """No connection has come in time."""


#: Of a conversation's resumption handles the newest count; a service issues one with every turn.
_MOST_HANDLES = 64

#: Until when, in monotonic nanoseconds of which clock.
_waiting: dict[Waiting, tuple[int, Clock]] = {}


def wait(one: Waiting, deadline: int, clock: Clock) -> None:
    """Have `one` give up when `clock` shows `deadline` (monotonic nanoseconds). The span thread has to be woken."""
    _waiting[one] = (deadline, clock)


def stop_waiting(one: Waiting) -> None:
    """It was resumed, or is over."""
    _waiting.pop(one, None)


def give_up_due() -> None:
    """Have all those give up whose time has passed."""
    for one, (deadline, clock) in list(_waiting.items()):
        if clock.monotonic_ns() >= deadline and _waiting.pop(one, None) is not None:
            one.resume_timeout()


def next_in() -> float | None:
    """Seconds until the next one's time has passed; None: nobody waits."""
    waiting = list(_waiting.values())
    return min((deadline - clock.monotonic_ns()) / 1e9 for deadline, clock in waiting) if waiting else None


def forget_all() -> None:
    """After a fork: those who wait are the parent's."""
    _waiting.clear()


class Resumption:
    """By which handles one conversation can be resumed, and who is about to. The lifecycle's lock is held."""

    def __init__(self, window: float) -> None:
        """`window`: seconds to wait."""
        self._window = window
        #: SHA-256 of the handles.
        self._handles: dict[str, None] = {}
        #: Connections that have one of the handles and are not open yet.
        self._claims = 0
        #: Since when there is no connection, in monotonic nanoseconds; None: nobody waits.
        self.since: int | None = None

    @property
    def handles(self) -> Iterable[str]:
        """The newest, as SHA-256."""
        return self._handles

    @property
    def is_possible(self) -> bool:
        """Whether there is any time to wait."""
        return self._window > 0

    @property
    def is_claimed(self) -> bool:
        """Whether a connection is about to resume it."""
        return self._claims > 0

    def offer(self, fingerprint: str) -> None:
        """The service issued a handle."""
        put(self._handles, fingerprint, None, _MOST_HANDLES)

    def claim(self, fingerprint: str) -> bool:
        """Whether the handle is this conversation's; one more connection is about to resume it then."""
        if fingerprint not in self._handles:
            return False
        self._claims += 1
        return True

    def release(self) -> None:
        """A connection that had claimed it is open, or could not be opened."""
        self._claims -= 1

    def wait(self, one: Waiting, since: int, clock: Clock) -> None:
        """There is no connection since `since`."""
        self.since = since
        wait(one, since + round(self._window * 1e9), clock)
