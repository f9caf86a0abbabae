"""When a block was captured, or is heard, on our own clock. No device, no thread: readings come in as arguments.

All times are in nanoseconds, of the monotonic clock where nothing else is said.
"""

from __future__ import annotations

from voicespan.recording.timeline.segment import NS

_MS = 1_000_000

#: No device plays or captured a block so far from its callback. Some drivers tell 0, or times of a clock
#: other than the one that they call current.
_FARTHEST = 2 * NS

#: A write that took longer, and half as long as its audio, had to wait for room, so the device's buffer was full
#: when it returned. A machine or an interpreter that is busy holds a write that need not wait for some milliseconds.
_WAITED = 2 * _MS

#: No device plays so much faster than our clock: a sample in so many. Crystals are a tenth of it off, at most.
_FAST = 1_000

#: The clocks of two machines are 50 ppm apart: 0.1 s in half an hour.
_ASTRAY = 100 * _MS

#: A device that is so much later than was thought has played silence meanwhile.
_DRY = 40 * _MS


def time_of_block(now: int, current: float, block: float, latency: int) -> int:
    """When the first sample of a callback's block is heard, or was captured.

    Args:
        now: Our clock, when the callback began.
        current: The device's own clock at that instant, in seconds.
        block: The block's time on the device's clock, in seconds.
        latency: What the stream says of itself: used where the device gives no times. Negative for
            microphones.
    """
    offset = round((block - current) * NS)
    if not block or not current or abs(offset) > _FARTHEST:
        return now + latency
    return now + offset


class ReadClock:
    """When what blocking reads return was captured.

    A read that comes late returns old samples: PulseAudio keeps minutes of them for who starts a stream and first
    reads it when a key is pressed. So samples are counted from the stream's start. The count is set right whenever
    the device's buffer turns out to be empty behind a read: what it returned was captured just before. A stream may
    take seconds to start, and a full buffer loses samples.
    """

    def __init__(self) -> None:
        self._next: int | None = None  # when the next sample to be read was captured

    def start(self, now: int) -> None:
        """The stream starts."""
        self._next = now

    def read(self, entered: int, returned: int, duration: int, left: int | None, *, emptied: bool) -> int:
        """When the first sample of a read was captured.

        Args:
            entered: When the read began.
            returned: When it returned.
            duration: Of what it returned.
            left: Of what the device says is left in its buffer; None where it does not say.
            emptied: Whether the device's buffer had less in it after the read, or too little before: no more is kept
                behind it, as in a server that fills the buffer again at once.
        """
        latest = returned - duration - (left or 0)
        waited = returned - entered > max(_WAITED, duration // 2)
        if self._next is None or self._next > latest or waited or (emptied and left is not None):
            start = latest
        else:
            start = self._next
        self._next = start + duration
        return start


class PlayClock:
    """Computes when audio that is written to a blocking sound device is heard: each write right after the one before.

    A write that had to wait for room shows the device's position best, since the buffer is full when it returns.
    The first write after a silence shows it worst. Both are off by a period of the device (20 ms, say) in either
    direction, and following them would tear the audio. So writes are placed one after the other until the device
    has run dry, is so far behind that it must have, or has a clock that is `_ASTRAY`. And audio is never taken for
    heard faster than it lasts: PulseAudio takes 400 ms at once into a buffer that it says holds 85 ms.

    Args:
        latency: How much the device's buffer holds.
    """

    def __init__(self, latency: int = 0) -> None:
        self.latency = latency
        self._end = 0  # when the device has played everything, as far as is known
        self._soonest = 0  # it cannot have before
        self._placed = 0  # where the end was placed
        self._duration = 0  # of what is being written

    def enter(self, now: int, duration: int) -> int:
        """A write begins. Returns when its first sample will be heard."""
        if self._end <= now:
            # At once, or after as much silence as the buffer holds: drivers differ.
            self._end = self._placed = now + self.latency // 2
            self._soonest = now
        elif not -_DRY < self._placed - self._end < _ASTRAY:
            self._placed = self._end
        start = self._placed
        self._end += duration
        self._soonest += duration - duration // _FAST
        self._placed += duration
        self._duration = duration
        return start

    def leave(self, entered: int, now: int) -> None:
        """It has returned."""
        if now - entered > max(_WAITED, self._duration // 2) and self._end:
            self._end = max(now + self.latency, self._soonest)

    def stop(self) -> None:
        """What was written and not heard is lost."""
        self._end = self._placed = 0
