"""What each answer of the server means, and when to try again."""

from __future__ import annotations

import email.utils
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Action(Enum):
    """What to do after an answer."""

    DELIVERED = "delivered"
    #: The server has it already.
    DUPLICATE = "duplicate"
    #: Make it smaller.
    TOO_LARGE = "too_large"
    #: It will never be taken: set it aside with the server's words.
    REFUSED = "refused"
    #: Only a better key helps: wait.
    KEY = "key"
    #: Nobody is listening there: say so, and wait.
    NOWHERE = "nowhere"
    #: Try again.
    LATER = "later"


#: Everything that is not here: 2xx of OTLP is delivered, 5xx is for later, the rest leads nowhere.
_REACTIONS = {
    400: Action.REFUSED,
    401: Action.KEY,
    403: Action.KEY,
    404: Action.NOWHERE,
    408: Action.LATER,
    409: Action.DUPLICATE,
    413: Action.TOO_LARGE,
    422: Action.REFUSED,
    425: Action.LATER,
    429: Action.LATER,
}


@dataclass(frozen=True)
class Answer:
    """What came of one request."""

    #: None: no answer came; `words` says what happened instead.
    status: int | None
    #: The server's words, short, without secrets.
    words: str = ""
    #: Seconds that the server asks to wait.
    retry_after: float | None = None
    #: Spans that the server took the request without.
    rejected: int = 0
    #: Whether any of it was on its way when it failed.
    reached: bool = True
    #: Whether it is an answer of a server that takes traces: a login page with status 200 is none.
    is_otlp: bool = True

    @property
    def action(self) -> Action:
        """What to do."""
        if self.status is None:
            return Action.LATER
        if self.status in _REACTIONS:
            return _REACTIONS[self.status]
        if self._is_success:
            return Action.DELIVERED if self.is_otlp else Action.NOWHERE
        return Action.LATER if self.status >= 500 else Action.NOWHERE  # noqa: PLR2004

    @property
    def may_be_stored(self) -> bool:
        """Whether the server may have taken it all the same."""
        if self.status is None:
            return self.reached
        if self._is_success:
            return self.is_otlp
        return self.status < 300 or self.status == 409 or self.status >= 500  # noqa: PLR2004

    @property
    def _is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004

    def __str__(self) -> str:
        status = "no answer" if self.status is None else str(self.status)
        return f"{status}: {self.words}" if self.words else status


class BackOff:
    """How long to wait after failures in a row: doubling up to a cap, never all clients at once."""

    def __init__(self, first: float, cap: float, random: Callable[[], float]) -> None:
        """`first` and `cap` in seconds; `random` gives 0 to 1."""
        self._first = first
        self._cap = cap
        self._random = random
        self.failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds to wait now. What the server asks for is a minimum, up to an hour."""
        # The exponent is bounded: an outage of days is thousands of failures.
        longest = min(self._cap, self._first * float(1 << min(self.failures, 30)))
        self.failures += 1
        # Half of it is certain, so that a server that is back up is not hit at once by everybody.
        wait = longest * (0.5 + self._random() / 2)
        return max(wait, min(retry_after or 0.0, 3600.0))

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self.failures = 0


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for; `now` in seconds since the epoch (RFC 9110, 10.2.3)."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - now
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
