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

#: What a microphone's buffer can hold is longer than what the recorder still takes.
_LONGEST_READ = 300 * _MS


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


def time_of_read(returned: int, duration: int) -> int:
    """When what a blocking read returned began to be captured, had it waited for its last sample.

    A read that came late gives older samples. The recorder's own rules for a microphone that has no times
    put those right: they follow what came before.
    """
    return returned - min(duration, _LONGEST_READ)


class PlayClock:
    """When blocking writes are heard: each right after what was written before.

    When the device has played everything is known best from a write that had to wait for room, since the buffer
    is full when it returns, and worst by the first one after a silence. Both are off by a period of the
    device (20 ms, say), to either side; following that would tear what is said. So a placed stretch goes on
    as it began, until the device has run dry, or is so far behind that it must have, or its clock is
    `_ASTRAY`. And whatever a write seems to tell, audio takes its time to be heard: PulseAudio takes 400 ms at
    once, of a buffer that it says is 85 ms long.

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
