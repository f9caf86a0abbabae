"""A segment: samples of one side without a gap between them, as the bytes that were given."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from voicespan.recording.codec.formats import SAMPLE_BYTES, SILENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

NS = 1_000_000_000

#: Audio as bytes, or the number of bytes of audio that takes its place as silence: what was given
#: during a pause, or was too much to hold.
Pcm: TypeAlias = "bytes | int"

#: What one piece of audio costs beside its bytes: the objects that hold it.
PIECE_COST = 256


def size_of(pcm: Pcm) -> int:
    """How many bytes of audio `pcm` stands for."""
    return pcm if isinstance(pcm, int) else len(pcm)


def without_head(pcm: Pcm, count: int) -> Pcm:
    """`pcm` after its first `count` bytes."""
    return pcm - count if isinstance(pcm, int) else pcm[count:]


def cost_of(pcm: Pcm) -> int:
    """How many bytes of memory `pcm` takes, about."""
    return PIECE_COST + (0 if isinstance(pcm, int) else len(pcm))


class Segment:
    """Samples that follow each other: one start, one rate, one encoding.

    A sample may be split over two pieces of audio; it counts when its last byte has come.

    Attributes:
        start: When its first sample is heard, in nanoseconds of the monotonic clock.
        end: When its last whole sample has been heard.
        rate: In Hz.
        encoding: See `formats.SAMPLE_BYTES`.
        taken: How many of its samples have gone to the file.
        closed: Nothing may be appended any more: it was cut.
        held: Bytes of memory that wait to be taken, about.
    """

    __slots__ = (
        "_bytes",
        "_head",
        "_pieces",
        "_width",
        "closed",
        "encoding",
        "end",
        "held",
        "rate",
        "start",
        "taken",
    )

    def __init__(self, start: int, rate: int, encoding: str) -> None:
        self.start = start
        self.end = start
        self.rate = rate
        self.encoding = encoding
        self.taken = 0
        self.closed = False
        self.held = PIECE_COST
        self._width = SAMPLE_BYTES[encoding]
        self._pieces: deque[Pcm] = deque()
        self._bytes = 0  # ever appended, less what a cut removed
        self._head = 0  # bytes of the first piece that have been taken

    @property
    def samples(self) -> int:
        """Whole samples, the ones that were taken included."""
        return self._bytes // self._width

    @property
    def waiting(self) -> int:
        """Bytes of audio that were not taken, the ones that stand for silence included."""
        return self._bytes - self.taken * self._width

    @property
    def position(self) -> int:
        """When the first sample that was not taken is heard."""
        return self.start + self.taken * NS // self.rate

    def continued_by(self, other: Segment) -> bool:
        """Whether the samples of `other` are of the same kind, and may follow."""
        return not self.closed and (self.rate, self.encoding) == (other.rate, other.encoding)

    def append(self, pcm: Pcm) -> None:
        """Let `pcm` follow what is there."""
        # Written out, as is `take`: all 20 ms of every call come by here.
        pieces = self._pieces
        if isinstance(pcm, int):
            self._bytes += pcm
            if pieces and isinstance(pieces[-1], int):
                pieces[-1] += pcm
            else:
                pieces.append(pcm)
                self.held += PIECE_COST
        else:
            size = len(pcm)
            self._bytes += size
            pieces.append(pcm)
            self.held += PIECE_COST + size
        self.end = self.start + self._bytes // self._width * NS // self.rate

    def count_until(self, until: int) -> int:
        """How many of its samples are heard before `until`."""
        if until >= self.end:
            return self.samples
        return max(0, -((self.start - until) * self.rate // NS))

    def peek(self, until: int) -> bytes:
        """What is heard before `until` and has not been taken."""
        return b"".join(self._read((self.count_until(until) - self.taken) * self._width))

    def take(self, until: int) -> bytes:
        """The same, and forget it."""
        count = (self.count_until(until) - self.taken) * self._width
        self.taken += max(count, 0) // self._width
        parts: list[bytes | memoryview] = []
        pieces = self._pieces
        while count > 0:
            piece, head = pieces[0], self._head
            if type(piece) is bytes and not head and (size := len(piece)) <= count:
                parts.append(piece)
                pieces.popleft()
                self.held -= PIECE_COST + size
                count -= size
                continue
            size = min(size_of(piece) - head, count)
            parts.append(self._part(piece, head, size))
            self._head = head + size
            if self._head == size_of(piece):
                self._head = 0
                pieces.popleft()
                self.held -= cost_of(piece)
            count -= size
        return b"".join(parts)

    def cut(self, end: int) -> int:
        """Remove what is not heard before `end`, unless it has been taken.

        Returns:
            How many nanoseconds were removed.
        """
        before = self.end
        self.split(end)
        return before - self.end

    def split(self, end: int) -> Segment:
        """Remove what is not heard before `end`, unless it has been taken.

        Returns:
            What was removed, as a segment of its own.
        """
        rest = Segment(end, self.rate, self.encoding)
        keep = max(self.taken, self.count_until(end)) * self._width
        excess = self._bytes - keep
        self._bytes = keep
        parts: list[Pcm] = []
        while excess > 0:
            parts.append(self._take_last(excess))
            excess -= size_of(parts[-1])
        for part in reversed(parts):
            rest.append(part)
        self.closed = True
        self._find_end()
        return rest

    def pieces_after(self, skipped: int) -> Iterator[Pcm]:
        """All of it but its first `skipped` samples, piece by piece; nothing of it may have been taken."""
        skipped *= self._width
        for piece in self._pieces:
            size = size_of(piece)
            if skipped < size:
                yield without_head(piece, skipped)
            skipped = max(0, skipped - size)

    def take_odd_byte(self) -> Pcm:
        """Take away the first byte of a sample whose second one is still to come, if there is one."""
        if self._bytes % self._width == 0:
            return b""
        self._bytes -= 1
        return self._take_last(1)

    def move(self, start: int) -> None:
        """Let all of it begin at `start`; nothing of it may have been taken."""
        self.start = start
        self._find_end()

    def absorb(self, other: Segment) -> None:
        """Let the samples of `other`, of which none was taken, follow what is there."""
        for piece in other._pieces:
            self.append(piece)

    def _find_end(self) -> None:
        self.end = self.start + self.samples * NS // self.rate

    def _read(self, count: int) -> Iterator[bytes | memoryview]:
        head = self._head
        for piece in self._pieces:
            if count <= 0:
                return
            size = min(size_of(piece) - head, count)
            yield self._part(piece, head, size)
            count -= size
            head = 0

    def _part(self, piece: Pcm, head: int, size: int) -> bytes | memoryview:
        """The `size` bytes of `piece` after its first `head`."""
        if isinstance(piece, int):
            return SILENCE[self.encoding] * size
        return piece if size == len(piece) else memoryview(piece)[head : head + size]

    def _take_last(self, most: int) -> Pcm:
        """Remove the end of the last piece, at most so many bytes, and return it."""
        last = self._pieces.pop()
        self.held -= cost_of(last)
        size = size_of(last)
        if size <= most:
            return last
        rest = last - most if isinstance(last, int) else last[:-most]
        self._pieces.append(rest)
        self.held += cost_of(rest)
        return without_head(last, size - most)
