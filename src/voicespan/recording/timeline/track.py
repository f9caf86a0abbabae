"""One side of the timeline: the rules 1 to 5 of `timeline.py`, as far as both sides share them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from voicespan.recording.codec.formats import SAMPLE_BYTES
from voicespan.recording.timeline.segment import NS, Pcm, Segment, size_of, without_head

MS = 1_000_000

#: How far from the end of what came before a time may lie and still mean "right after it". A device's
#: own clock reading is steady to 0.1 ms; event loops and networks are not.
TOLERANCE = 40 * MS

#: A time further than this from the time when it was given is not of this clock (`time.time()`, a media clock) and
#: is treated as not given.
FOREIGN = 600 * NS

#: A side that has been silent for so long begins something new: a byte left over from before belongs to
#: nothing that follows.
BREAK = 500 * MS


class Piece(NamedTuple):
    """Samples on their way to the file.

    Attributes:
        start: When its first sample is heard, in nanoseconds of the monotonic clock.
        rate: In Hz.
        encoding: See `formats.SAMPLE_BYTES`.
        pcm: Whole samples; empty where there is only an end to tell.
        first: A run begins with it.
        last: A run ends with it: the next piece does not continue it.
    """

    start: int
    rate: int
    encoding: str
    pcm: bytes
    first: bool
    last: bool


class Track:
    """One of the two channels.

    Args:
        origin: The time of the recording's first frame. Nothing lies before it.

    Attributes:
        end: Of what was given last; None before.
        given_at: When that was.
        settled: Everything before has been taken.
        left_out: Bytes that came too late or overlapped.
    """

    def __init__(self, origin: int) -> None:
        self.end: int | None = None
        self.given_at = origin
        self.settled = origin
        self.left_out = 0
        self._runs: deque[Segment] = deque()  # not taken yet, or not whole
        self._odd: Pcm = b""  # half a sample, whose run has gone to the file
        self._format = (0, "")  # the rate and encoding of what was given last
        self._flow: Segment | None = None  # the newest run, while each piece continues it at its own time
        # What goes on from the newest piece with a time: when, rate, encoding.
        self._next = origin, 0, ""

    @property
    def begin(self) -> int | None:
        """Where the first run begins of which not all was taken."""
        return self._runs[0].start if self._runs else None

    @property
    def held(self) -> int:
        """Bytes of memory that wait to be taken, about."""
        return sum(run.held for run in self._runs)

    @property
    def flows(self) -> bool:
        """Whether what was given last came with its time and went on where the one before had ended."""
        return self._flow is not None

    @property
    def waiting(self) -> int:
        """Bytes of audio that wait to be taken, the ones that stand for silence included."""
        return sum(run.waiting for run in self._runs)

    @property
    def rates(self) -> set[int]:
        """The rates of what waits to be taken, in Hz."""
        return {run.rate for run in self._runs}

    def place(self, given_at: int, pcm: Pcm, rate: int, encoding: str, at: int | None = None) -> int | None:
        """Give audio its place.

        Args:
            given_at: When it was given, in nanoseconds of the monotonic clock.
            pcm: The audio, or how many bytes of silence stand for it.
            rate: In Hz.
            encoding: See `formats.SAMPLE_BYTES`.
            at: When its first sample was captured or is heard, if that is known.

        Returns:
            Where it begins, or None when it was left out.
        """
        self.given_at = given_at
        if at is not None and abs(at - given_at) > FOREIGN:
            at = None
        if at is not None:
            self._next = at + _duration(size_of(pcm), rate, encoding), rate, encoding
        # Written out: devices come by here every 20 ms, and nearly all goes on where the last ended.
        run = self._flow
        if run is not None and at is not None and run.rate == rate and run.encoding == encoding:
            end = run.end
            if self.settled <= end and -TOLERANCE <= at - end <= TOLERANCE:
                run.append(pcm)
                self.end = run.end
                self._flowed(run.end)
                return end
        start = self._place(given_at, pcm, rate, encoding, at)
        flows = at is not None and start is not None and self._runs and not self._odd
        self._flow = self._runs[-1] if flows and self._runs[-1].end == self.end else None
        return start

    def go_on(self, pieces: list[bytes], given_at: int) -> None:
        """Place what goes on, piece by piece, from the newest piece that came with its time.

        Args:
            pieces: Audio of the same kind. Each came when it was to be expected.
            given_at: When the last was given, or later.
        """
        at, rate, encoding = self._next
        # One from here on: it is handled as often as it has pieces.
        self.place(given_at, b"".join(pieces), rate, encoding, at)

    def peek(self, until: int) -> list[Piece]:
        """What lies before `until` and has not been taken."""
        return [
            Piece(run.position, run.rate, run.encoding, run.peek(until), run.taken == 0, last=False)
            for run in self._runs
            if run.start < until
        ]

    def take(self, until: int) -> list[Piece]:
        """The same, and settle it."""
        pieces = []
        while self._runs and self._runs[0].start < until:
            run = self._runs[0]
            first, start = run.taken == 0, run.position
            pcm = run.take(until)
            over = run.taken == run.samples and (run.end <= until or run is not self._runs[-1])
            if pcm or (over and not first):
                pieces.append(Piece(start, run.rate, run.encoding, pcm, first, over))
            if not over:
                break
            self._odd = run.take_odd_byte() or self._odd
            self._runs.popleft()
            self._flow = None
        self.settled = max(self.settled, until)
        return pieces

    def __bool__(self) -> bool:
        """Whether anything waits to be taken."""
        return bool(self._runs)

    def _flowed(self, end: int) -> None:
        """The newest run goes on to `end` without a gap."""

    def _place(self, given_at: int, pcm: Pcm, rate: int, encoding: str, at: int | None) -> int | None:
        first = self._first(given_at, at)
        start = max(first, self.settled) if self.end is None else max(first, self.settled, self.end)
        run = self._run(start, rate, encoding)
        if run is None or start > first or self._odd:
            odd = self._half_sample(start, rate, encoding)
            self._format = (rate, encoding)
            overlap = -((first - start) * rate // NS) * SAMPLE_BYTES[encoding]
            if overlap:
                pcm = self._without_overlap(odd, pcm, overlap, encoding)
                odd = b""
                if not pcm:
                    return None
            if run is None:
                run = Segment(start, rate, encoding)
                self._runs.append(run)
            if odd:
                run.append(odd)
        run.append(pcm)
        self.end = run.end
        return start

    def _without_overlap(self, odd: Pcm, pcm: Pcm, overlap: int, encoding: str) -> Pcm:
        """`odd` and `pcm` after their first `overlap` bytes; nothing, if they have no more."""
        size = size_of(odd) + size_of(pcm)
        self.left_out += min(overlap, size)
        if overlap < size:
            return without_head(pcm, overlap - size_of(odd))
        half = size % SAMPLE_BYTES[encoding]  # keep step with a sender that splits samples
        self._odd = without_head(pcm, size_of(pcm) - half)
        return 0

    def _half_sample(self, start: int, rate: int, encoding: str) -> Pcm:
        """Take the first byte of a sample that audio from `start` on completes."""
        odd = self._odd or (self._runs[-1].take_odd_byte() if self._runs else b"")
        self._odd = b""
        recent = self.end is None or start - self.end < BREAK
        return odd if recent and self._format == (rate, encoding) else b""

    def _first(self, given_at: int, at: int | None) -> int:
        """Where the first sample lies, were there nothing else."""
        wanted = given_at if at is None else at
        if self.end is None or wanted - self.end > TOLERANCE:
            return wanted
        if at is None or self.end - wanted <= TOLERANCE:
            return self.end
        return wanted

    def _run(self, start: int, rate: int, encoding: str) -> Segment | None:
        """The run that audio from `start` on continues, if there is one."""
        if not self._runs:
            return None
        run = self._runs[-1]
        continues = run.end == start and run.rate == rate and run.encoding == encoding and not run.closed
        return run if continues else None


def _duration(size: int, rate: int, encoding: str) -> int:
    """How many nanoseconds so many bytes last."""
    return size * NS // (rate * SAMPLE_BYTES[encoding])
