"""What the application can do for a caller. It knows nothing of voices, and nothing of voicespan."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import TracerProvider

    from voicespan.cli.demo.call_clock import CallClock

_FREE = ({"time": "20:30", "place": "window"}, {"time": "21:45", "place": "garden"})


class Restaurant:
    """The Lantern. Its functions are traced as those of any application are: with spans of its own."""

    def __init__(self, tracer_provider: TracerProvider, clock: CallClock) -> None:
        self._tracer = tracer_provider.get_tracer("the-lantern")
        self._clock = clock

    async def find_tables(self, people: int, time: str) -> dict[str, Any]:
        """What is free tonight around `time` (HH:MM)."""
        with self._span("SELECT tables", people=people, time=time):
            await self._clock.sleep(0.4)
        return {"free": list(_FREE)}

    async def book_table(self, people: int, time: str, place: str) -> dict[str, Any]:
        """Book a table."""
        with self._span("INSERT booking", people=people, time=time, place=place):
            await self._clock.sleep(0.2)
        return {"booked": True, "reference": "L-2051"}

    @contextlib.contextmanager
    def _span(self, name: str, **attributes: str | int) -> Iterator[None]:
        # An application leaves the times to OpenTelemetry. Here the call has a clock of its own.
        now = self._clock.time_ns
        span = self._tracer.start_as_current_span(
            name, attributes=attributes, start_time=now(), end_on_exit=False
        )
        with span as opened:
            yield
            opened.end(now())
