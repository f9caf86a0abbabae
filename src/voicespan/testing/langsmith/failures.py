"""Failures that a test orders in advance: which request fails, and how."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicespan.testing.langsmith.runs import Request

#: Where a connection breaks or hangs: half-way through the body, or when all is read and the answer due.
Stage = Literal["body", "answer"]


@dataclass(frozen=True)
class Failure:
    """What happens to one request."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    reset: Stage | None = None
    hang: Stage | None = None
    bytes_per_second: float | None = None
    stored: bool = False

    def __post_init__(self) -> None:
        outcomes = sum(what is not None for what in (self.status, self.reset, self.hang))
        if outcomes > 1:
            raise ValueError("a request has one end: a status, a reset or a hang")
        if outcomes == 0 and self.bytes_per_second is None:
            raise ValueError("say what fails: status, reset, hang or bytes_per_second")
        if self.stored and "body" in (self.reset, self.hang):
            raise ValueError("a body that was not read to its end cannot be stored")

    @property
    def only_slow(self) -> bool:
        """Whether the request succeeds in the end."""
        return self.status is None and self.reset is None and self.hang is None

    @property
    def in_body(self) -> bool:
        """Whether the request ends half-way through its body."""
        return "body" in (self.reset, self.hang)


@dataclass(eq=False)
class _Order:
    failure: Failure
    times: int | None
    after: int
    match: Callable[[Request], bool]


class Failures:
    """The queue of what was ordered; the oldest order that matches a request is the one it meets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[_Order] = []
        self._released = threading.Event()

    def order(
        self,
        failure: Failure,
        *,
        times: int | None,
        after: int,
        match: str | Callable[[Request], bool] | None,
    ) -> None:
        """Let `failure` happen to the next `times` requests that match (None: to all), but `after` of them."""
        with self._lock:
            self._orders.append(_Order(failure, times, after, _matcher(match)))

    def take(self, request: Request) -> Failure | None:
        """The failure that `request` meets."""
        with self._lock:
            orders = list(self._orders)
        for order in orders:
            # Not with the lock: a test's function may take as long as it likes, and other requests do not wait for it.
            if not order.match(request):
                continue
            with self._lock:
                if order not in self._orders:
                    continue
                if order.after:
                    order.after -= 1
                    continue
                if order.times is not None:
                    order.times -= 1
                    if order.times <= 0:
                        self._orders.remove(order)
                return order.failure
        return None

    def clear(self) -> None:
        """Forget what was ordered and has not happened yet."""
        with self._lock:
            self._orders.clear()

    def next_release(self) -> threading.Event:
        """Set by the next `release`."""
        with self._lock:
            return self._released

    def release(self) -> None:
        """Let go of every request that hangs now."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()


def _matcher(match: str | Callable[[Request], bool] | None) -> Callable[[Request], bool]:
    if match is None:
        return lambda _: True
    if isinstance(match, str):
        return lambda request: match in request.path
    return match
