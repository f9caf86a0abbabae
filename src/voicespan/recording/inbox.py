"""What audio threads leave for the writer: one append, and never a wait.

`deque.append` is atomic, so no lock is needed. The counts are not: two threads that hand over at the same
instant may lose one of two additions. The writer sets them right four times a second, from what it holds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from voicespan.recording.run import PIECE_COST, Pcm

if TYPE_CHECKING:
    from collections.abc import Callable

#: What was told: what it does to the timeline, and with what.
Fact: TypeAlias = "tuple[Callable[..., object], tuple[Any, ...]]"
Place: TypeAlias = "Callable[[int, Pcm, int, str, int | None], object]"

#: The most memory that each side may hold, in bytes: an answer of eleven minutes at 24 kHz that was
#: handed over at once. What is more takes its place as silence.
MOST_HELD = 32 << 20
#: The same, once even the silence is too much.
_MOST_HELD_WITH_SILENCE = MOST_HELD + (1 << 20)

USER, AGENT = 0, 1


class Inbox:
    """Facts on their way to the timeline, in the order in which they were told.

    Args:
        place_user: `Side.place` of the user's side.
        place_agent: Of the agent's.

    Attributes:
        facts: What was told and has not been read.
        open: Whether anything is still taken.
        failed: Whether audio that comes after it was closed counts as dropped.
        paused: Whether audio is replaced by silence.
        held: Bytes of memory that each side takes, here and in its timeline.
        has_audio: Whether any was taken yet.
        dropped: Bytes of audio that were not taken.
    """

    __slots__ = ("_places", "dropped", "facts", "failed", "has_audio", "held", "open", "paused")

    def __init__(self, place_user: Place, place_agent: Place) -> None:
        self._places = (place_user, place_agent)
        self.facts: deque[Fact] = deque()
        self.open = True
        self.failed = False
        self.paused = False
        self.held = [0, 0]
        self.has_audio = False
        self.dropped = 0

    def audio(self, side: int, handed: int, pcm: bytes, kind: tuple[int, str], at: int | None) -> None:
        """Leave a piece of audio of rate and encoding `kind` for one of the sides; see `Side.place`."""
        cost = PIECE_COST if self.paused else len(pcm) + PIECE_COST
        if not self.open:
            if self.failed:
                self.dropped += len(pcm)
        elif self.held[side] + cost > MOST_HELD:
            self._as_far_as_it_fits(side, handed, pcm, kind, at)
        else:
            self.has_audio = True
            self.held[side] += cost
            self.facts.append((self._places[side], (handed, len(pcm) if self.paused else pcm, *kind, at)))

    def undecoded(
        self,
        side: int,
        place: Callable[..., None],
        timeline: object,
        payload: bytes | str,
        more: tuple[object, ...],
    ) -> None:
        """Leave audio that is to be decoded: `place(timeline, paused, payload, *more)` does it."""
        cost = len(payload) + PIECE_COST
        if not self.open or self.held[side] + cost > MOST_HELD:
            if self.open or self.failed:
                self.dropped += len(payload)
        else:
            self.has_audio = True
            self.held[side] += cost
            self.facts.append((place, (timeline, self.paused, payload, *more)))

    def event(self, apply: Callable[..., object], *arguments: object) -> None:
        """Leave something else that `apply` does to the timeline."""
        if self.open and self.held[AGENT] < _MOST_HELD_WITH_SILENCE:
            self.held[AGENT] += PIECE_COST
            self.facts.append((apply, arguments))

    def close(self, *, failed: bool = False) -> None:
        """Take nothing from here on.

        Args:
            failed: There is no file any more: what is still here, and what comes, is dropped.
        """
        self.open = False
        if failed:
            self.failed = True
            while self.facts:
                _, arguments = self.facts.popleft()
                self.dropped += sum(len(argument) for argument in arguments if isinstance(argument, bytes))

    def _as_far_as_it_fits(
        self, side: int, handed: int, pcm: bytes, kind: tuple[int, str], at: int | None
    ) -> None:
        room = max(0, MOST_HELD - self.held[side] - PIECE_COST)
        if room and not self.paused:
            self.held[side] += room + PIECE_COST
            self.facts.append((self._places[side], (handed, pcm[:room], *kind, at)))
            pcm, at = pcm[room:], None  # the rest follows it
        self.dropped += len(pcm)
        if self.held[side] < _MOST_HELD_WITH_SILENCE:
            self.held[side] += PIECE_COST
            self.facts.append((self._places[side], (handed, len(pcm), *kind, at)))
