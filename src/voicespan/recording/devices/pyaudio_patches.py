"""Where PyAudio lets every block be seen exactly once, in every version since 0.2.12.

All of it is in `PyAudio.Stream`: a stream runs when its `__init__` returns, and calls back before that.
"""

from __future__ import annotations

import functools
import inspect
from operator import attrgetter
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.devices import taps
from voicespan.recording.devices.streams import (
    CallbackStream,
    wrap_abort,
    wrap_read,
    wrap_start,
    wrap_stop,
    wrap_write,
)
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
    yield stream, "__init__", _wrap_init(stream.__init__, active, module)
    yield stream, "start_stream", wrap_start(stream.start_stream)
    yield stream, "stop_stream", wrap_stop(stream.stop_stream)
    yield stream, "close", wrap_abort(stream.close)
    yield stream, "read", wrap_read(stream.read, memoryview)
    yield stream, "write", wrap_write(stream.write)


def _wrap_init(
    original: Callable[..., None], active: Callable[[], bool], module: ModuleType
) -> Callable[..., None]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807  stands in for it
        traced = _PyAudioStream(module) if active() and taps.devices_are_recorded() else None
        if traced is not None:
            args, named = traced.opening(signature, self, args, named) or (args, named)
        original(self, *args, **named)
        if traced is not None:
            traced.opened(self)

    return __init__


class _PyAudioStream(CallbackStream):
    """A stream of PyAudio, and its callback."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__()
        self._abort = module.paAbort
        self._underflow = module.paOutputUnderflow
        self._formats = {getattr(module, name): ours for name, ours in _FORMATS.items()}

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
            bound.arguments["stream_callback"] = self._wrap_callback(callback)
        self.taps.available = attrgetter("get_read_available")
        taps.attach(stream, self.taps)
        if bound.arguments.get("start", True):
            taps.started(stream)
        return bound.args[1:], bound.kwargs

    @guarded
    def opened(self, stream: Any) -> None:
        """How long its buffers are is known when it is open."""
        if self.taps.microphone is not None:
            self.taps.microphone.set_latency(stream.get_input_latency())
        if self.taps.speaker is not None:
            self.taps.speaker.set_latency(stream.get_output_latency())

    def _tap(self, given: Mapping[str, Any]) -> None:
        sample = self._formats.get(given["format"], "")
        for asked, side in (("input", USER), ("output", AGENT)):
            if not given.get(asked):
                continue
            made = taps.tap(side, sample, given["channels"], given["rate"], 0.0)
            if side == USER:
                self.taps.microphone = made
            else:
                self.taps.speaker = made

    def _wrap_callback(self, callback: Callable[..., Any]) -> Callable[..., Any]:
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
        if data is not None:
            self.captured(now, times["current_time"], times["input_buffer_adc_time"], bytes(data))

    @guarded
    def _played(
        self, now: int, result: Any, _data: Any, frames: int, times: Mapping[str, float], status: int
    ) -> None:
        tap = self.taps.speaker
        if tap is None:
            return
        # What is no pair, or holds no bytes, is the library's to refuse.
        data, flag = result if isinstance(result, tuple) and len(result) == 2 else (None, self._abort)  # noqa: PLR2004
        if isinstance(data, (bytes, bytearray, memoryview)):
            pcm = bytes(data)[: frames * tap.width]
            after_gap = bool(status & self._underflow)
            self.played(now, times["current_time"], times["output_buffer_dac_time"], pcm, after_gap=after_gap)
        if flag == self._abort:
            self._dropped()

    @guarded
    def _dropped(self) -> None:
        self.dropped()
