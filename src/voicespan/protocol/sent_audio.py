"""The audio that the application sent: at which moment each position in it was spoken.

A service counts the user's audio in milliseconds from its beginning. A microphone gives one second of it in each second,
so whoever knows when the piece was sent that ends at a position knows that its sound is no younger. A piece that was sent
late, because the loop was held or the socket opened late, is followed by pieces that are not: the earliest moment that any
later piece allows is taken.
"""

from __future__ import annotations

from array import array

#: How much audio, in nanoseconds, shares one mark, and how many marks are kept: 16 s of a microphone without pauses.
_STEP = 125_000_000
_MARKS = 128
#: Nanoseconds. A piece that comes so much later than the one before was not said in one go with it.
_PAUSE = 50_000_000
#: A service that speaks of audio that was sent so long ago counts otherwise.
_LATEST_WORD = 3_000_000_000


class SentAudio:
    """That of one connection. Each frame costs an addition and two comparisons; nothing is kept of it but its share of a mark."""

    __slots__ = (
        "_began",
        "_lead",
        "_leads",
        "_marks",
        "_position",
        "_sent_at",
        "_sents",
        "_starts",
        "ns_per_byte",
    )

    def __init__(self, bytes_per_ms: float) -> None:
        """`bytes_per_ms`: of the format; it can change."""
        self.ns_per_byte = 1e6 / bytes_per_ms
        #: How much there is, in nanoseconds of audio.
        self._position = 0.0
        # The mark that is being made: from which position on, when its first piece was sent, and how much earlier than
        # sent its audio can have begun at the earliest: time less position.
        self._began, self._sent_at, self._lead = 0.0, 0, 0.0
        # Those that are made, in a ring.
        self._marks = 0
        self._starts, self._sents, self._leads = (array("d", bytes(8 * _MARKS)) for _ in range(3))

    @property
    def position_ms(self) -> float:
        """How much audio was sent."""
        return self._position / 1e6

    def add(self, size: int, at: int) -> None:
        """So many bytes of audio were sent."""
        position = self._position + size * self.ns_per_byte
        lead = at - position
        if position - self._began > _STEP or lead > self._lead + _PAUSE:
            self._mark(at, lead)
        elif lead < self._lead:
            self._lead = lead
        self._position = position

    def _mark(self, at: int, lead: float) -> None:
        slot = self._marks % _MARKS
        self._starts[slot], self._sents[slot], self._leads[slot] = self._began, self._sent_at, self._lead
        self._began, self._sent_at, self._lead = self._position, at, lead
        self._marks += 1

    def spoken_at(self, position_ms: float, heard_ms: float, at: int) -> int | None:
        """When the audio at a position was spoken, in the words of a service that has heard `heard_ms` of it at the time `at`.

        None: that is not known, or the service counts otherwise.
        """
        heard = self._times_of(heard_ms * 1e6)
        spoken = self._times_of(position_ms * 1e6)
        if heard is None or spoken is None or not 0 <= at - heard[0] <= _LATEST_WORD:
            return None
        return spoken[1] if spoken[1] <= at else None

    def _times_of(self, position: float) -> tuple[int, int] | None:
        """When a position was sent, at the earliest, and when it was spoken."""
        if not 0 < position <= self._position:
            return None
        began, sent_at, lead = self._began, self._sent_at, self._lead
        # The first mark of all stands for nothing.
        for mark in range(self._marks - 1, max(self._marks - _MARKS, 0), -1):
            if began < position:
                break
            slot = mark % _MARKS
            began, sent_at, lead = self._starts[slot], round(self._sents[slot]), min(lead, self._leads[slot])
        return (sent_at, round(position + lead)) if began < position else None
