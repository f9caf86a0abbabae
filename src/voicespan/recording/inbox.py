"""What audio threads leave for the writer: one append, and never a wait.

A fact is six parts that one `deque.extend` appends. Where the interpreter has its lock that is atomic: a tuple is
read and a deque grows without a line of Python in between. So no lock of ours is needed, and nothing is left that
the garbage collector follows: with a tuple for each 20 ms, what waited of 500 calls was looked through again and
again, for a tenth of a core and up to 0.4 s at a time. The counts are not atomic: two threads that hand over at the
same instant may lose one of two additions. The writer sets them right at each turn, from what it holds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from voicespan.clock import SYSTEM
from voicespan.recording.formats import SAMPLE_BYTES, USUAL_RATE
from voicespan.recording.run import NS, PIECE_COST

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.clock import Clock

#: How many parts a fact has. Of audio they are its side and what `Side.place` takes, of an event None, what is done
#: to the timeline, and with what.
PARTS = 6

#: The most memory that each side may hold, in bytes: an answer of eleven minutes at 24 kHz that was
#: handed over at once. What is more takes its place as silence.
MOST_HELD = 32 << 20
#: The same, once even the silence is too much.
_MOST_HELD_WITH_SILENCE = MOST_HELD + (1 << 20)

USER, AGENT = 0, 1

#: What libsoxr is asked to follow, in Hz.
_LEAST_RATE, _MOST_RATE = 4_000, 192_000
#: No monotonic clock has run for 30 years; `time.time()` has.
_MOST_SECONDS = 1e9


class Inbox:
    """Facts on their way to the timeline, in the order in which they were told.

    Args:
        clock: Tells when audio is handed over.

    Attributes:
        facts: What was told and has not been read, in parts.
        open: Whether anything is still taken.
        failed: Whether audio that comes after it was closed counts as dropped.
        paused: Whether audio is replaced by silence.
        held: Bytes of memory that each side takes, here and in its timeline.
        has_audio: Whether any was taken yet.
        dropped: Bytes of audio that were not taken.
        events: How many facts were told that are no plain audio: cuts, marks, what is to be decoded.
    """

    __slots__ = (
        "_monotonic_ns", "dropped", "events", "facts", "failed", "has_audio", "held", "open", "paused",
    )  # fmt: skip

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._monotonic_ns = clock.monotonic_ns
        self.facts: deque[Any] = deque()
        self.open = True
        self.failed = False
        self.paused = False
        self.held = [0, 0]
        self.has_audio = False
        self.dropped = 0
        self.events = 0

    def hand_over(self, side: int, pcm: bytes, rate: int | None, encoding: str, at: float | None) -> None:
        """Leave a piece of audio as the application gives it, see `Recorder.user`.

        Raises:
            ValueError: No audio has that encoding and rate.
            TypeError: `pcm` holds no bytes.
        """
        # All in one place, with `audio` written out: in hundreds of calls each 20 ms come by here, and then it is
        # the interpreter that takes the time, call by call.
        handed = self._monotonic_ns()
        if rate is None:
            rate = USUAL_RATE[encoding]
        elif encoding not in SAMPLE_BYTES or not _LEAST_RATE <= rate <= _MOST_RATE:
            raise ValueError(f"no audio is {encoding} at {rate} Hz")
        if type(pcm) is not bytes:
            pcm = _copy(pcm)
        # False for what is not a number, too.
        time = int(at * NS) if at is not None and -_MOST_SECONDS < at < _MOST_SECONDS else None
        held = self.held[side] + len(pcm) + PIECE_COST
        if pcm and self.open and not self.paused and held <= MOST_HELD:
            self.held[side] = held
            self.has_audio = True
            self.facts.extend((side, handed, pcm, rate, encoding, time))
        elif pcm:
            self.audio(side, handed, pcm, rate, encoding, time)

    def audio(  # noqa: PLR0917  what `Side.place` takes, in its order
        self, side: int, handed: int, pcm: bytes, rate: int, encoding: str, at: int | None
    ) -> None:
        """Leave a piece of audio for one of the sides; see `Side.place`."""
        held = self.held[side] + len(pcm) + PIECE_COST
        if self.open and not self.paused and held <= MOST_HELD:
            self.held[side] = held
            self.has_audio = True
            self.facts.extend((side, handed, pcm, rate, encoding, at))
        elif self.open:
            self._as_far_as_it_may(side, handed, pcm, (rate, encoding), at)
        elif self.failed:
            self.dropped += len(pcm)

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
            self.events += 1
            self.facts.extend((None, place, (timeline, self.paused, payload, *more), None, None, None))

    def event(self, apply: Callable[..., object], *arguments: object) -> None:
        """Leave something else that `apply` does to the timeline."""
        if self.open and self.held[AGENT] < _MOST_HELD_WITH_SILENCE:
            self.held[AGENT] += PIECE_COST
            self.events += 1
            self.facts.extend((None, apply, arguments, None, None, None))

    def close(self, *, failed: bool = False) -> None:
        """Take nothing from here on.

        Args:
            failed: There is no file any more: what is still here, and what comes, is dropped.
        """
        self.open = False
        if failed:
            self.failed = True
            while self.facts:
                part = self.facts.popleft()
                parts = part if isinstance(part, tuple) else (part,)
                self.dropped += sum(len(each) for each in parts if isinstance(each, bytes))

    def _as_far_as_it_may(
        self, side: int, handed: int, pcm: bytes, kind: tuple[int, str], at: int | None
    ) -> None:
        """Of what comes in a pause, or is more than can be held, only the time is kept, as silence."""
        if self.paused and self.held[side] + PIECE_COST <= MOST_HELD:
            self._silence(side, handed, len(pcm), kind, at)
            return
        room = 0 if self.paused else max(0, MOST_HELD - self.held[side] - PIECE_COST)
        if room:
            self.held[side] += room + PIECE_COST
            self.facts.extend((side, handed, pcm[:room], *kind, at))
            pcm, at = pcm[room:], None  # the rest follows it
        self.dropped += len(pcm)
        if self.held[side] < _MOST_HELD_WITH_SILENCE:
            self._silence(side, handed, len(pcm), kind, at)

    def _silence(self, side: int, handed: int, size: int, kind: tuple[int, str], at: int | None) -> None:
        self.has_audio = True
        self.held[side] += PIECE_COST
        self.facts.extend((side, handed, size, *kind, at))


def _copy(pcm: object) -> bytes:
    view = memoryview(pcm)  # type: ignore[arg-type]  # raises TypeError for what holds no bytes
    if view.format in {"f", "d", "e"}:
        raise TypeError("samples are int16, not floating point")
    return view.tobytes()
