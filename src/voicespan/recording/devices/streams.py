"""What the patches of every library do alike: wrap a stream's methods, and hand blocks of callbacks to its taps."""

from __future__ import annotations

import functools
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from voicespan.recording.devices import taps
from voicespan.recording.devices.clocks import time_of_block
from voicespan.recording.devices.taps import Taps

if TYPE_CHECKING:
    from collections.abc import Callable


class CallbackStream:
    """A stream and its taps, for the blocks that its callback is given.

    Times are in seconds of the device's own clock, `now` is in nanoseconds of ours.
    """

    def __init__(self) -> None:
        self.taps = Taps(None, None)

    def captured(self, now: int, current: float, captured: float, pcm: bytes) -> None:
        """The microphone gave a block, whose first sample was captured at `captured`."""
        tap = self.taps.microphone
        if tap is not None:
            tap.captured(now, pcm, time_of_block(now, current, captured, -tap.latency))

    def played(self, now: int, current: float, heard: float, pcm: bytes, *, after_gap: bool) -> None:
        """The loudspeaker got a block, whose first sample is heard at `heard`."""
        tap = self.taps.speaker
        if tap is not None:
            tap.played(now, pcm, time_of_block(now, current, heard, tap.latency), after_gap=after_gap)

    def dropped(self) -> None:
        """The stream ends here: what is pending is not played."""
        if self.taps.speaker is not None:
            self.taps.speaker.cut(monotonic_ns())


def wrap_start(original: Callable[..., Any]) -> Callable[..., Any]:
    """A stream's `start` that lets its taps know."""

    @functools.wraps(original)
    def start(self: Any) -> Any:
        taps.started(self)
        return original(self)

    return start


def wrap_stop(original: Callable[..., Any]) -> Callable[..., Any]:
    """A stream's `stop` that lets its taps know when it has returned."""

    @functools.wraps(original)
    def stop(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return original(self, *args, **named)
        finally:
            taps.stopped(self)

    return stop


def wrap_abort(original: Callable[..., Any]) -> Callable[..., Any]:
    """A stream's `abort` or `close` that lets its taps know before it begins."""

    @functools.wraps(original)
    def abort(self: Any, *args: Any, **named: Any) -> Any:
        taps.aborted(self)
        return original(self, *args, **named)

    return abort


def wrap_read(original: Callable[..., Any], data_of: Callable[[Any], Any]) -> Callable[..., Any]:
    """A stream's `read`; `data_of` finds the audio in what it returns."""

    @functools.wraps(original)
    def read(self: Any, *args: Any, **named: Any) -> Any:
        call = taps.enter(self)
        if call is None:
            return original(self, *args, **named)
        with call:
            result = original(self, *args, **named)
            call.read(result, data_of)
        return result

    return read


def wrap_write(original: Callable[..., Any]) -> Callable[..., Any]:
    """A stream's `write`: `sounddevice` takes the audio, PyAudio besides how many frames of it."""

    @functools.wraps(original)
    def write(self: Any, *args: Any, **named: Any) -> Any:
        call = taps.enter(self)
        if call is None:
            return original(self, *args, **named)
        with call:
            call.write(args, named)
            return original(self, *args, **named)

    return write
