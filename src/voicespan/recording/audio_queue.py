"""Takes audio from the application's threads and keeps it for the writer's thread. Takes no lock and never waits.

Each side has a deque. An entry takes one, two or six elements of it:

    elements                                   entry
    `pcm`                                      audio that continues the piece before it: nearly all of it
    `None`, and what `Track.place` takes (5)   other audio
    a function, and its arguments as a tuple   anything else that is done to the timeline

The elements of an entry are added by one `append` or `extend`. With the GIL that is atomic, since no line of Python
runs in between, so no lock is needed. It also leaves nothing for the garbage collector to follow: with one tuple
for each 20 ms of audio, the collector searched the queues of 500 calls again and again, which took a tenth of a
core and up to 0.4 s at a time.

A plainer queue was measured: one `bytearray`, one `array` of rows and one lock for each side. With 500 calls a
piece of 20 ms then costs 1.8 µs instead of 0.3 µs to add, and 0.6 µs instead of 0.05 µs to read.

The counts are not atomic: of two threads that add at the same instant, one addition may be lost. The writer
corrects them at each turn from what it holds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from voicespan.recording.codec.formats import SAMPLE_BYTES, USUAL_RATE
from voicespan.recording.timeline.segment import NS, PIECE_COST
from voicespan.recording.timeline.track import FOREIGN
from voicespan.runtime.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.runtime.clock import Clock

#: The most memory that each side may hold, in bytes: an answer of eleven minutes at 24 kHz that was
#: given at once. What is more takes its place as silence.
MOST_HELD = 32 << 20
#: The same, once even the silence is too much.
_MOST_HELD_WITH_SILENCE = MOST_HELD + (1 << 20)

USER, AGENT = 0, 1

#: What libsoxr is asked to follow, in Hz.
_LEAST_RATE, _MOST_RATE = 4_000, 192_000
#: No monotonic clock has run for 30 years; `time.time()` has.
_MOST_SECONDS = 1e9
#: What comes with a time so near to the end of what came before, in seconds, goes on from there. A device's clock is
#: steadier by far, and `track.TOLERANCE` is four times as much: what goes on here goes on there.
_STEADY = 0.01
_NEVER = -float("inf")


class TrackInput:
    """What was queued of one side and has not been read, and the newest piece, if it came with its time.

    Attributes:
        facts: In parts.
        held: Bytes of memory that the side takes, here and in its timeline.
        kept: Whether audio is taken, and not replaced by silence.
        end: When the newest piece has been heard, in seconds; what nothing can follow has none.
        rate: Of the newest piece, as it was given.
        encoding: Of the newest piece.
        byte: Seconds that a byte of it lasts.
    """

    __slots__ = ("byte", "encoding", "end", "entries", "held", "kept", "rate")

    def __init__(self) -> None:
        self.entries: deque[Any] = deque()
        self.held = 0
        self.kept = True
        self.end = _NEVER
        self.rate: int | None = None
        self.encoding = ""
        self.byte = 0.0

    def put_next(self, pcm: bytes, rate: int | None, encoding: str, at: float) -> bool:
        """Take a piece that goes on where the newest one ended, if it does; see `Recorder.user`."""
        # In hundreds of calls each 20 ms come by here, to what no cache has any more: all that is touched is this
        # object, and the deque.
        if (
            -_STEADY < at - self.end < _STEADY
            and rate == self.rate
            and encoding == self.encoding
            and self.kept
            and type(pcm) is bytes
        ):
            size = len(pcm)
            held = self.held + size + PIECE_COST
            if size and held <= MOST_HELD:
                self.held = held
                self.end += size * self.byte
                self.entries.append(pcm)
                return True
        return False

    def expect_next(self, pcm: bytes, rate: int | None, encoding: str, at: float, known: int) -> None:
        """What goes on from `pcm` may be taken; `known`: its rate, also where none was given."""
        self.rate, self.encoding, self.byte = rate, encoding, 1 / (known * SAMPLE_BYTES[encoding])
        self.end = at + len(pcm) * self.byte


class AudioQueue:
    """Facts on their way to the timeline, in the order in which they came.

    Args:
        clock: Says when audio is given.

    Attributes:
        tracks: What was queued of each side.
        open: Whether anything is still taken.
        failed: Whether audio that comes after it was closed counts as dropped.
        paused: Whether audio is replaced by silence.
        has_audio: Whether any was taken yet.
        dropped: Bytes of audio that were not taken.
        events: How many entries came that are no plain audio: cuts, marks, what is to be decoded.
    """

    __slots__ = (
        "_monotonic_ns", "_order", "dropped", "events", "failed", "has_audio", "open", "paused", "tracks",
    )  # fmt: skip

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._monotonic_ns = clock.monotonic_ns
        self.tracks = TrackInput(), TrackInput()
        self.open = True
        self.failed = False
        self.paused = False
        self.has_audio = False
        self.dropped = 0
        self.events = 0
        self._order = self.tracks  # where that goes of each side which is no plain audio

    def keep_one_order(self) -> None:
        """From here on, what is no plain audio is read in the order in which it came, of either side."""
        self._order = self.tracks[USER], self.tracks[USER]
        for track in self.tracks:
            track.end = _NEVER

    @property
    def waits(self) -> bool:
        """Whether anything has not been read."""
        return bool(self.tracks[USER].entries or self.tracks[AGENT].entries)

    def put(self, side: int, pcm: bytes, rate: int | None, encoding: str, at: float | None) -> None:
        """Leave a piece of audio as the application gives it, see `Recorder.user`.

        Raises:
            ValueError: No audio has that encoding and rate.
            TypeError: `pcm` holds no bytes.
        """
        if type(pcm) is not bytes:
            pcm = _copy(pcm)
            if at is not None and self.tracks[side].put_next(pcm, rate, encoding, at):
                return
        given_at = self._monotonic_ns()
        known = USUAL_RATE[encoding] if rate is None else rate
        if encoding not in SAMPLE_BYTES or not _LEAST_RATE <= known <= _MOST_RATE:
            raise ValueError(f"no audio is {encoding} at {rate} Hz")
        # False for what is not a number, too.
        time = int(at * NS) if at is not None and -_MOST_SECONDS < at < _MOST_SECONDS else None
        if not pcm:
            return
        track = self.tracks[side]
        held = track.held + len(pcm) + PIECE_COST
        if not (track.kept and held <= MOST_HELD):
            self.audio(side, given_at, pcm, known, encoding, time)
            return
        # As `audio` does, written out: what comes without a time all comes by here.
        track.end = _NEVER
        track.held = held
        self.has_audio = True
        track.entries.extend((None, given_at, pcm, known, encoding, time))
        if at is not None and time is not None and abs(time - given_at) <= FOREIGN:
            track.expect_next(pcm, rate, encoding, at, known)

    def audio(  # noqa: PLR0917  what `Track.place` takes, in its order
        self, side: int, given_at: int, pcm: bytes, rate: int, encoding: str, at: int | None
    ) -> None:
        """Leave a piece of audio for one of the sides; see `Track.place`."""
        track = self.tracks[side]
        track.end = _NEVER
        held = track.held + len(pcm) + PIECE_COST
        if track.kept and held <= MOST_HELD:
            track.held = held
            self.has_audio = True
            track.entries.extend((None, given_at, pcm, rate, encoding, at))
        elif self.open:
            self._as_far_as_it_may(side, given_at, pcm, (rate, encoding), at)
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
        track = self.tracks[side]
        if not self.open or track.held + cost > MOST_HELD:
            if self.open or self.failed:
                self.dropped += len(payload)
        else:
            self.has_audio = True
            track.held += cost
            track.end = _NEVER
            self.events += 1
            self._order[side].entries.extend((place, (timeline, self.paused, payload, *more)))

    def event(self, side: int, apply: Callable[..., object], *arguments: object) -> None:
        """Leave something else that `apply` does to the side, after what was given of it so far."""
        track = self.tracks[side]
        if self.open and track.held < _MOST_HELD_WITH_SILENCE:
            track.held += PIECE_COST
            track.end = _NEVER
            self.events += 1
            self._order[side].entries.extend((apply, arguments))

    def pause(self, apply: Callable[..., object], at: int) -> None:
        """Replace audio by silence from here on; `apply` lets the timeline know when that began."""
        self.paused = True
        self._keep(False)
        self.event(USER, apply, at)

    def resume(self, apply: Callable[..., object], at: int) -> None:
        """Keep audio again."""
        self.event(USER, apply, at)
        self.paused = False
        self._keep(self.open)

    def close(self, *, failed: bool = False) -> None:
        """Take nothing from here on.

        Args:
            failed: There is no file any more: what is still here, and what comes, is dropped.
        """
        self.open = False
        self._keep(False)
        if failed:
            self.failed = True
            for track in self.tracks:
                while track.entries:
                    part = track.entries.popleft()
                    parts = part if isinstance(part, tuple) else (part,)
                    self.dropped += sum(len(each) for each in parts if isinstance(each, bytes))

    def _as_far_as_it_may(
        self, side: int, given_at: int, pcm: bytes, kind: tuple[int, str], at: int | None
    ) -> None:
        """Of what comes in a pause, or is more than can be held, only the time is kept, as silence."""
        track = self.tracks[side]
        if self.paused and track.held + PIECE_COST <= MOST_HELD:
            self._silence(track, given_at, len(pcm), kind, at)
            return
        room = 0 if self.paused else max(0, MOST_HELD - track.held - PIECE_COST)
        if room:
            track.held += room + PIECE_COST
            track.entries.extend((None, given_at, pcm[:room], *kind, at))
            pcm, at = pcm[room:], None  # the rest follows it
        self.dropped += len(pcm)
        if track.held < _MOST_HELD_WITH_SILENCE:
            self._silence(track, given_at, len(pcm), kind, at)

    def _silence(
        self, track: TrackInput, given_at: int, size: int, kind: tuple[int, str], at: int | None
    ) -> None:
        self.has_audio = True
        track.held += PIECE_COST
        track.entries.extend((None, given_at, size, *kind, at))

    def _keep(self, keeps: bool) -> None:
        for track in self.tracks:
            track.kept = keeps


def _copy(pcm: object) -> bytes:
    view = memoryview(pcm)  # type: ignore[arg-type]  # raises TypeError for what holds no bytes
    if view.format in {"f", "d", "e"}:
        raise TypeError("samples are int16, not floating point")
    return view.tobytes()
