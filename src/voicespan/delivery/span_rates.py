"""Which of the application's instrumentations makes so many spans that a conversation cannot hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.runtime import bounded

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

#: More spans of one scope in each of so many seconds, one after the other, are a flood: an hour of it is 72,000, and
#: LangSmith takes 25,000.
MOST_A_SECOND = 20
FOR_SECONDS = 5
_SECOND = 1_000_000_000
_MOST_SCOPES = 100


@dataclass
class _Rate:
    """Of one scope: the second that is being counted, and how many full ones before it had too many."""

    #: Nanoseconds.
    second: int
    spans: int = 0
    full_seconds: int = 0


class SpanRates:
    """The rate of each instrumentation scope's spans in one conversation. Time comes with the spans."""

    def __init__(self) -> None:
        self._rates: dict[str, _Rate] = {}

    def is_one_of_too_many(self, span: ReadableSpan) -> bool:
        """A span has ended; whether its scope made more than 20 a second for five seconds before it."""
        scope = span.instrumentation_scope
        name, now = "" if scope is None else scope.name, span.end_time or 0
        rate = self._rates.get(name)
        if rate is None:
            rate = _Rate(now)
            bounded.put(self._rates, name, rate, _MOST_SCOPES)
        if rate.full_seconds >= FOR_SECONDS:
            return True
        if now - rate.second >= _SECOND:
            was_full = rate.spans > MOST_A_SECOND and now - rate.second < 2 * _SECOND
            rate.full_seconds = rate.full_seconds + 1 if was_full else 0
            # After a pause the next second begins with this span.
            rate.second = rate.second + _SECOND if was_full else now
            rate.spans = 0
        rate.spans += 1
        return rate.full_seconds >= FOR_SECONDS
