"""Where PyAudio lets every block be seen exactly once, in every version since 0.2.12.

All of it is in `PyAudio.Stream`: a stream runs when its `__init__` returns, and calls back before that.
"""

from __future__ import annotations

import functools
import inspect
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.devices import taps
from voicespan.recording.devices.clocks import time_of_block
from voicespan.recording.devices.taps import Taps
from voicespan.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

#: Our names for PortAudio's formats, by PyAudio's.
_FORMATS = {
    "paFloat32": "float32",
    "paInt32": "int32",
    "paInt24": "int24",
    "paInt16": "int16",
    "paInt8": "int8",
    "paUInt8": "uint8",
}


def patches(module: ModuleType, active: Callable[[], bool]) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every (class, attribute, replacement) of the module; `active`: whether new streams are recorded."""
    # Before 0.2.13 the class stood beside `PyAudio`.
    stream = getattr(module.PyAudio, "Stream", None) or module.Stream
    yield stream, "__init__", _opening(stream.__init__, active, module)
    yield stream, "start_stream", _starting(stream.start_stream)
    yield stream, "stop_stream", _stopping(stream.stop_stream)
    yield stream, "close", _closing(stream.close)
    yield stream, "read", _reading(stream.read)
    yield stream, "write", _writing(stream.write)


# Opening, and callbacks.


def _opening(
    original: Callable[..., None], active: Callable[[], bool], module: ModuleType
) -> Callable[..., None]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807  stands in for it
        tapped = _Tapped(module) if active() and taps.is_wanted() else None
        if tapped is not None:
            args, named = tapped.opening(signature, self, args, named) or (args, named)
        original(self, *args, **named)
        if tapped is not None:
            tapped.opened(self)

    return __init__


class _Tapped:
    """A stream and its callback."""

    def __init__(self, module: ModuleType) -> None:
        self._abort = module.paAbort
        self._underflow = module.paOutputUnderflow
        self._formats = {getattr(module, name): ours for name, ours in _FORMATS.items()}
        self._taps = Taps(None, None)
        self._frame_bytes = 0

    @guarded
    def opening(
        self, signature: inspect.Signature, stream: Any, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """What it is opened with, our callback in place of the application's."""
        try:
            bound = signature.bind(stream, *args, **named)
        except TypeError:
            return None  # the library's to tell
        self._tap(bound.arguments)
        callback = bound.arguments.get("stream_callback")
        if callback is not None:
            bound.arguments["stream_callback"] = self._calling_back(callback)
        taps.keep(stream, self._taps)
        if bound.arguments.get("start", True):
            taps.started(stream)
        return bound.args[1:], bound.kwargs

    @guarded
    def opened(self, stream: Any) -> None:
        """How long its buffers are is known when it is open."""
        if self._taps.microphone is not None:
            self._taps.microphone.tell_latency(stream.get_input_latency())
        if self._taps.speaker is not None:
            self._taps.speaker.tell_latency(stream.get_output_latency())

    def _tap(self, given: Mapping[str, Any]) -> None:
        sample = self._formats.get(given["format"], "")
        for asked, side in (("input", USER), ("output", AGENT)):
            if not given.get(asked):
                continue
            made = taps.tap(side, sample, given["channels"], given["rate"], 0.0)
            if side == USER:
                self._taps.microphone = made
            else:
                self._taps.speaker = made

    def _calling_back(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The application's callback, which does and returns what it did."""

        @functools.wraps(callback, assigned=())
        def call(*args: Any) -> Any:
            now = monotonic_ns()
            self._captured(now, *args)
            try:
                result = callback(*args)
            except BaseException:
                self._dropped()
                raise
            self._played(now, result, *args)
            return result

        return call

    @guarded
    def _captured(self, now: int, data: Any, _frames: int, times: Mapping[str, float], _status: int) -> None:
        tap = self._taps.microphone
        if tap is not None and data is not None:
            at = time_of_block(now, times["current_time"], times["input_buffer_adc_time"], -tap.latency)
            tap.captured(now, bytes(data), at)

    @guarded
    def _played(
        self, now: int, result: Any, _data: Any, frames: int, times: Mapping[str, float], status: int
    ) -> None:
        tap = self._taps.speaker
        if tap is None:
            return
        # What is no pair, or holds no bytes, is the library's to refuse.
        data, flag = result if isinstance(result, tuple) and len(result) == 2 else (None, self._abort)  # noqa: PLR2004
        if isinstance(data, (bytes, bytearray, memoryview)):
            at = time_of_block(now, times["current_time"], times["output_buffer_dac_time"], tap.latency)
            pcm = bytes(data)[: frames * tap.width]
            tap.played(now, pcm, at, after_gap=bool(status & self._underflow))
        if flag == self._abort:
            self._dropped()

    @guarded
    def _dropped(self) -> None:
        """The stream ends here: what is pending is not played."""
        if self._taps.speaker is not None:
            self._taps.speaker.cut(monotonic_ns())


# Starting and stopping.


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start_stream(self: Any) -> Any:
        taps.started(self)
        return original(self)

    return start_stream


def _stopping(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def stop_stream(self: Any) -> Any:
        try:
            return original(self)
        finally:
            taps.stopped(self)

    return stop_stream


def _closing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def close(self: Any) -> Any:
        taps.aborted(self)
        return original(self)

    return close


# Without a callback.


def _reading(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def read(self: Any, *args: Any, **named: Any) -> Any:
        inside = taps.enter(self)
        if inside is None:
            return original(self, *args, **named)
        with inside:
            result = original(self, *args, **named)
            inside.read(result)
        return result

    return read


def _writing(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def write(self: Any, frames: Any, num_frames: Any = None, *args: Any, **named: Any) -> Any:
        inside = taps.enter(self)
        if inside is None:
            return original(self, frames, num_frames, *args, **named)
        with inside:
            inside.write(frames, num_frames)
            return original(self, frames, num_frames, *args, **named)

    return write
