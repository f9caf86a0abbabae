"""Where `sounddevice` lets every block be seen exactly once, in every version since 0.4.6.

what                    where                                  why there
opening, callbacks      `_StreamBase.__init__`                 all six classes call it, with names
starting                `_StreamBase.start`                    nobody overrides it
stopping                `_StreamBase.stop`, `abort`, `close`   the same; leaving a `with` block calls two
reading, writing        `read` and `write`, raw and array      one of them may call the other: the taps
know when they are inside
"""

from __future__ import annotations

import functools
from operator import itemgetter
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
    from collections.abc import Callable, Iterator
    from types import ModuleType

    #: Of a callback: the blocks that there are, how many frames, the times, the status.
    Callback = Callable[..., Any]


def patches(module: ModuleType, active: Callable[[], bool]) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every (class, attribute, replacement) of the module; `active`: whether new streams are recorded."""
    base = module._StreamBase  # noqa: SLF001  what all streams are, named in its own documentation
    yield base, "__init__", _wrap_init(base.__init__, active, module)
    yield base, "start", wrap_start(base.start)
    yield base, "stop", wrap_stop(base.stop)
    yield base, "abort", wrap_abort(base.abort)
    yield base, "close", wrap_abort(base.close)
    for kind in (module.RawInputStream, module.InputStream):
        yield kind, "read", wrap_read(kind.read, itemgetter(0))  # beside it: whether some was lost
    for kind in (module.RawOutputStream, module.OutputStream):
        yield kind, "write", wrap_write(kind.write)


def _wrap_init(
    original: Callable[..., None], active: Callable[[], bool], module: ModuleType
) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807  stands in for it
        if not active() or not taps.devices_are_recorded():
            original(self, *args, **named)
            return
        traced = _SoundDeviceStream(
            named.get("kind", args[0] if args else ""), named.get("wrap_callback"), module
        )
        # One that is not wrapped is a pointer to a function in C, and beyond reach.
        if traced.wrapping is not None and callable(named.get("callback")):
            named["callback"] = traced.wrap_callback(named["callback"])
        original(self, *args, **named)
        traced.opened(self)

    return __init__


class _SoundDeviceStream(CallbackStream):
    """A stream of `sounddevice`, and its callback."""

    def __init__(self, kind: str, wrapping: str | None, module: ModuleType) -> None:
        """As the stream is given them."""
        super().__init__()
        self.wrapping = wrapping
        self._captures, self._plays = kind in ("input", "duplex"), kind in ("output", "duplex")
        #: Ends a stream, but not before all is played.
        self._finished: type[BaseException] = module.CallbackStop
        self._error: type[Exception] = module.PortAudioError

    @guarded
    def opened(self, stream: Any) -> None:
        """What the stream is like is known when it is open; it does not run yet."""
        samples, channels, latencies = _pair(stream.dtype), _pair(stream.channels), _pair(stream.latency)
        taken = self.taps
        if self._captures:
            taken.microphone = taps.tap(USER, samples[0], channels[0], stream.samplerate, latencies[0])
        if self._plays:
            taken.speaker = taps.tap(AGENT, samples[1], channels[1], stream.samplerate, latencies[1])
        taken.available, taken.errors = _available, (self._error,)
        taps.attach(stream, taken)

    def wrap_callback(self, callback: Callback) -> Callback:
        """The application's callback, which does and returns what it did."""
        captures, plays = self._captures, self._plays

        @functools.wraps(callback, assigned=())
        def call(*args: Any) -> Any:
            now = monotonic_ns()
            if captures:
                # Before the application's own, which may use the block as its scratch pad.
                self._captured(now, args[0], args[-2])
            if not plays:
                return callback(*args)
            try:
                result = callback(*args)
            except BaseException as error:
                self._played(now, args[-4], args[-2], args[-1])
                if not isinstance(error, self._finished):
                    self._dropped()
                raise
            self._played(now, args[-4], args[-2], args[-1])
            return result

        return call

    @guarded
    def _captured(self, now: int, block: Any, time: Any) -> None:
        self.captured(now, time.currentTime, time.inputBufferAdcTime, self._copy(block))

    @guarded
    def _played(self, now: int, block: Any, time: Any, status: Any) -> None:
        after_gap = bool(status) and status.output_underflow
        self.played(now, time.currentTime, time.outputBufferDacTime, self._copy(block), after_gap=after_gap)

    @guarded
    def _dropped(self) -> None:
        self.dropped()

    def _copy(self, block: Any) -> bytes:
        copied: bytes = block.tobytes() if self.wrapping == "array" else bytes(block)
        return copied


def _available(stream: Any) -> Callable[[], object]:
    return lambda: stream.read_available


def _pair(value: Any) -> tuple[Any, Any]:
    """What a stream has twice, where it is one with both sides."""
    return value if isinstance(value, tuple) else (value, value)
