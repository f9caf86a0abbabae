"""The user's turns, and which of them were answered before the user spoke again.

One turn has several signs, in any order: the service saw the speech end, its message took its place, its words came.
The first one makes it known. Where the user pauses for less than a second and goes on, that is the same turn.
"""

from __future__ import annotations

from voicespan.runtime.bounded import put

#: Nanoseconds. A shorter pause ends no turn.
_PAUSE = 1_000_000_000
#: So many turns are remembered, and their messages: what is told of one late belongs to one of the last few.
_MOST_KNOWN = 64


class UserTurns:
    """Those of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    __slots__ = (
        "_answered", "_began_at", "_by_key", "_ended_at", "_marked", "_signs", "answered", "count", "is_unknown",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = 0
        #: How many of them were answered.
        self.answered = 0
        #: The service answers speech of which it gives no sign: nobody can count the turns.
        self.is_unknown = False
        #: When the user began what is being said.
        self._began_at: int | None = None
        #: Of the newest turn: the kinds of sign that it gave, and when it ended.
        self._signs: tuple[str, ...] = ()
        self._ended_at = 0
        #: Whether it is said when the user speaks, so that words alone are no turn.
        self._marked = False
        self._by_key: dict[str, int] = {}
        self._answered: dict[int, None] = {}

    def spoke(self, at: int) -> None:
        """The user began to speak."""
        self._began_at = at

    def add(self, sign: str, at: int, key: str | None = None, began_at: int | None = None) -> None:
        """The user had a turn.

        Args:
            sign: `speech` (its end was seen), `placed` (the message is there), `words` (a service's, which may come
                late), `transcribed` (by a cascade) or `typed`.
            at: When it ended.
            key: The id of its message.
            began_at: When it began; by default when the speech began.
        """
        if sign == "speech":
            self._marked = True
        if key is not None and key in self._by_key:
            return
        began = at if sign == "typed" else began_at if began_at is not None else self._began_at or at
        if sign == "words" and self._marked and not self._may_be(sign, began):
            # They came late: the speech was counted when it ended.
            return
        if not self._may_be(sign, began):
            self.count += 1
            self._signs = ()
        self._signs = (*self._signs, sign)
        self._ended_at = max(self._ended_at, at)
        if sign not in ("words", "transcribed"):
            self._began_at = None
        if key is not None:
            put(self._by_key, key, self.count, _MOST_KNOWN)

    def forget_speech(self) -> None:
        """In this conversation words say what a turn was: speech that was heard before any came was none by itself."""
        self._marked = False
        if self._signs == ("speech",) and self.count not in self._answered:
            self.count -= 1
            self._signs = ()

    def withdraw(self, key: str) -> None:
        """Nobody said anything there, so it was no turn."""
        number = self._by_key.pop(key, None)
        if number is None:
            return
        if number == self.count and self._signs not in (("placed",), ()):
            return
        self.count -= 1
        if number in self._answered:
            self.answered -= 1

    def before(self, at: int) -> int:
        """The number of the newest turn that had ended by `at`; 0: there was none."""
        return self.count if self._ended_at <= at else max(self.count - 1, 0)

    def answer(self, number: int) -> None:
        """That turn has been answered."""
        if number and number not in self._answered:
            put(self._answered, number, None, _MOST_KNOWN)
            self.answered += 1

    def _may_be(self, sign: str, began: int) -> bool:
        """Whether a sign can be one of the newest turn."""
        if not self.count or self.count in self._answered:
            return False
        if sign == "typed":
            return self._signs == ("placed",)
        return sign not in self._signs or began - self._ended_at < _PAUSE
