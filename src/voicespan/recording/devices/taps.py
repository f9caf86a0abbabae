"""A tap: one side of one stream of a sound device, on its way to a recorder.

Of a loudspeaker only what sounds is given. A device plays for as long as it is open, mostly zeros;
those are what a recording has anyway where nothing lies. So an idle stream costs nothing and stands in no
other's way, and how much of an answer was heard does not count the silence after it.
"""

from __future__ import annotations

import contextlib
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from voicespan.recording.audio_queue import AGENT
from voicespan.recording.codec.formats import DEVICE_SAMPLES, MOST_CHANNELS, SAMPLE_BYTES, SILENCE
from voicespan.recording.devices import routing
from voicespan.recording.devices.clocks import PlayClock, ReadClock
from voicespan.recording.sources import TAPS_ATTRIBUTE
from voicespan.recording.timeline.segment import NS
from voicespan.runtime.guard import guarded
from voicespan.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from voicespan.recording.recorder import Recorder
    from voicespan.recording.sources import AudioSource

_MS = 1_000_000

#: Quiet up to this, between two sounds, belongs to what is said.
_PAUSE = NS // 2
#: Quiet that begins so shortly after a sound follows it.
_FOLLOWS = 50 * _MS
#: A stream that has been quiet for so long leaves its side to another one.
_LET_GO = NS // 2
#: What is stopped so long after its last sound has been heard to its end.
_OVER = 300 * _MS
#: `stop()` is documented to play what is pending. On PulseAudio it does not: measured, the last frame is
#: heard 10 ms after it returned. Where it does, nothing is left to be cut.
_AFTER_STOP = 10 * _MS


class Tap:
    """One side of one stream.

    Attributes:
        rate: In Hz.
        latency: What the stream says of itself, in nanoseconds.
        plays: Whether it is a loudspeaker.
        bound: The recorder that the application bound it to.
        running: Whether the stream is: what comes after it was stopped was not heard.
        width: Bytes of one sample of all channels.
        clock: Places what is written without a callback.
        reads: Places what is read without a callback.
    """

    source = "devices"

    def __init__(self, side: int, sample: str, channels: int, rate: int, latency: int) -> None:
        self.rate = rate
        self.latency = latency
        self.plays = side == AGENT
        self.bound: Recorder | None = None
        self.running = False
        self.clock = PlayClock(latency)
        self.reads = ReadClock()
        self._side = side
        self._kind = (rate, "pcm16" if (sample, channels) == ("int16", 1) else f"{sample}*{channels}")
        self.width = SAMPLE_BYTES[self._kind[1]]
        self._silence = SILENCE[self._kind[1]]
        self._quiet = b""
        self._quiet_at = 0
        self._quiet_bytes = 0
        self._sounds_until = 0
        routing.all_taps.add(self)

    def duration(self, size: int) -> int:
        """Of so many bytes, in nanoseconds."""
        return size // self.width * NS // self.rate

    def set_latency(self, seconds: float) -> None:
        """What the stream says of itself, now that it is open."""
        self.latency = self.clock.latency = round(seconds * NS)

    def start(self, now: int) -> None:
        """The stream starts."""
        self.running = True
        self.reads.start(now)
        recorder = self.bound or routing.sole_recorder
        if not self.plays and recorder is not None and recorder.sources[self._side] is None:
            # What it captures from here on may be read seconds later.
            recorder.await_user(now)

    def captured(self, now: int, pcm: bytes, at: int) -> None:
        """The microphone gave a block, whose first sample was captured `at`."""
        recorder = self.bound or routing.sole_recorder
        if recorder is not None and self.running and self._reports_to(recorder, now):
            self._sounds_until = now
            recorder.report(self._side, now, pcm, self._kind, at)

    def played(self, now: int, pcm: bytes, at: int, *, after_gap: bool = False) -> None:
        """The loudspeaker got a block, whose first sample is heard `at`."""
        recorder = self.bound or routing.sole_recorder
        if recorder is None or not self.running:
            return
        if len(self._quiet) != len(pcm):
            self._quiet = self._silence * len(pcm)
        if pcm == self._quiet:
            if self._quiet_bytes == 0:
                self._quiet_at = at
            self._quiet_bytes += len(pcm)
            return
        if not self._reports_to(recorder, now):
            return
        if after_gap:
            recorder.mark_gap(at)
        elif self._quiet_bytes and self._is_pause(at):
            recorder.report(self._side, now, self._silence * self._quiet_bytes, self._kind, self._quiet_at)
        self._quiet_bytes = 0
        self._sounds_until = at + self.duration(len(pcm))
        recorder.report(self._side, now, pcm, self._kind, at)

    def stop(self, at: int) -> None:
        """The stream was stopped: what would be heard after `at` is not."""
        if not self.running:
            return
        self.running = False
        self.clock.stop()
        recorder = self.bound or routing.sole_recorder
        if not self.plays and recorder is not None and self._reports(recorder):
            recorder.await_user(None)
        self.cut(at)

    def cut(self, at: int) -> None:
        """What would be heard after `at` is not."""
        recorder = self.bound or routing.sole_recorder
        self._quiet_bytes = 0
        if (
            self.plays
            and recorder is not None
            and at - self._sounds_until < _OVER
            and self._reports(recorder)
        ):
            self._sounds_until = 0
            recorder.cut(at)

    def may_hand_over_to(self, other: AudioSource, now: int) -> bool:
        """Whether another stream may report the side: this one is stopped or quiet, or not the bound one."""
        if not self.running or now - self._sounds_until > _LET_GO:
            return True
        return isinstance(other, Tap) and other.bound is not None and self.bound is None

    def _is_pause(self, at: int) -> bool:
        """Whether the quiet that ends `at` is one in the middle of something."""
        return at - self._quiet_at < _PAUSE and self._quiet_at - self._sounds_until < _FOLLOWS

    def _reports(self, recorder: Recorder) -> bool:
        return recorder.sources[self._side] is self

    def _reports_to(self, recorder: Recorder, now: int) -> bool:
        """Whether this stream reports its side of the recording, or can do so from now on."""
        reporter = recorder.sources[self._side]
        if reporter is not self:
            if reporter is not None and not reporter.may_hand_over_to(self, now):
                return False
            recorder.sources[self._side] = self
            recorder.source = self.source
            recorder.expect_rate(self.rate)
        return True


class Taps:
    """Both sides of a stream, as far as it has them."""

    def __init__(self, microphone: Tap | None, speaker: Tap | None) -> None:
        self.microphone = microphone
        self.speaker = speaker
        #: For a stream: what says how many frames it has captured that nobody has read.
        self.available: Callable[[Any], Callable[[], object] | None] = _says_nothing
        #: What that may raise.
        self.errors: tuple[type[Exception], ...] = (OSError,)
        #: The library is in a blocking call of the stream, which may call another one of it.
        self.inside = False

    def __iter__(self) -> Iterator[Tap]:
        """The taps that there are."""
        return iter([tap for tap in (self.microphone, self.speaker) if tap is not None])


class BlockingCall:
    """A blocking call of a stream, while it lasts."""

    __slots__ = ("_available", "_before", "_entered", "_taps", "_writing")

    def __init__(self, taps: Taps, stream: object) -> None:
        self._taps = taps
        self._entered = 0
        self._writing = False
        self._available = taps.available(stream) if taps.microphone is not None else None
        self._before: int | None = None

    def __enter__(self) -> None:
        self._taps.inside = True
        if self._available is not None:
            self._before = self._frames_available()
        self._entered = monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self._taps.inside = False
        if self._writing and self._taps.speaker is not None:
            self._taps.speaker.clock.leave(self._entered, monotonic_ns())

    @guarded
    def read(self, result: Any, data_of: Callable[[Any], Any]) -> None:
        """It has returned this, in which `data_of` finds the audio."""
        microphone = self._taps.microphone
        if microphone is None:
            return
        now, left = monotonic_ns(), self._frames_available()
        pcm = memoryview(data_of(result)).tobytes()
        frames = len(pcm) // microphone.width
        emptied = left is not None and self._before is not None and left <= max(self._before - frames // 2, 0)
        at = microphone.reads.read(
            self._entered,
            now,
            frames * NS // microphone.rate,
            None if left is None else left * NS // microphone.rate,
            emptied=emptied or (self._before is not None and self._before < frames),
        )
        microphone.captured(now, pcm, at)

    def _frames_available(self) -> int | None:
        """How many frames the device has, as far as it says; a stream may be closed by another thread."""
        if self._available is None:
            return None
        with contextlib.suppress(*self._taps.errors):
            frames = self._available()
            return frames if isinstance(frames, int) else None
        return None

    @guarded
    def write(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """It is about to write, called with these.

        The recorder gets the audio before it is written: a long write may be stopped from another thread meanwhile.
        """
        data = args[0] if args else named["frames" if "frames" in named else "data"]
        frames = args[1] if len(args) > 1 else named.get("num_frames")
        speaker = self._taps.speaker
        if speaker is not None:
            pcm = memoryview(data).tobytes()[: None if frames is None else frames * speaker.width]
            now = self._entered = monotonic_ns()
            self._writing = True
            speaker.played(now, pcm, speaker.clock.enter(now, speaker.duration(len(pcm))))


def _says_nothing(_stream: object) -> None:
    """Of a library that does not say how much there is to read."""


def tap(side: int, sample: str, channels: int, rate: float, latency: float) -> Tap | None:
    """A tap for one side of a stream, unless it is of a kind that is not recorded; `latency` in seconds."""
    if sample not in DEVICE_SAMPLES or not 1 <= channels <= MOST_CHANNELS or rate < 1:
        return None
    return Tap(side, sample, channels, round(rate), round(latency * NS))


def attach(stream: object, taps: Taps) -> None:
    """Let the stream have these taps."""
    setattr(stream, TAPS_ATTRIBUTE, taps)


@guarded
def started(stream: object) -> None:
    """A stream starts: whether its device is recorded is decided here."""
    taps = getattr(stream, TAPS_ATTRIBUTE, None)
    if taps is not None and devices_are_recorded():
        now = monotonic_ns()
        for each in taps:
            each.start(now)


@guarded
def stopped(stream: object) -> None:
    """`stop()` has returned."""
    _stop(stream, _AFTER_STOP)


@guarded
def aborted(stream: object) -> None:
    """`abort()` or `close()` is about to begin."""
    _stop(stream, 0)


def _stop(stream: object, heard_for: int) -> None:
    taps = getattr(stream, TAPS_ATTRIBUTE, None)
    if taps is not None:
        for each in taps:
            each.stop(monotonic_ns() + heard_for)


def enter(stream: object) -> BlockingCall | None:
    """A blocking call of a stream begins; None: it is not to be seen."""
    taps = getattr(stream, TAPS_ATTRIBUTE, None)
    return None if taps is None or taps.inside else BlockingCall(taps, stream)


def devices_are_recorded() -> bool:
    """Whether devices are recorded."""
    return Settings.from_environment().record_source == "devices"
