"""The instrumentors: patch the two libraries that speak with PortAudio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.recording.devices import pyaudio_patches, sounddevice_patches
from voicespan.runtime.patching import PatchingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


class SoundDeviceInstrumentor(PatchingInstrumentor):
    """Records what the streams of `sounddevice` capture and play, where VOICESPAN_RECORD_SOURCE=devices.

    Every kind of stream, with a callback or with `read` and `write`, `sounddevice.play` and `rec` included.
    What a callback written in C does cannot be seen. Needs `sounddevice` 0.4.6 or later; where that is not
    installed it does nothing.

    Example:
        >>> from voicespan.recording.devices import SoundDeviceInstrumentor
        >>> SoundDeviceInstrumentor().instrument()
        >>> SoundDeviceInstrumentor().uninstrument()
    """

    modules = ("sounddevice",)

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return sounddevice_patches.patches(module, self.is_tracing)


class PyAudioInstrumentor(PatchingInstrumentor):
    """The same for PyAudio. Needs `PyAudio` 0.2.12 or later.

    Example:
        >>> from voicespan.recording.devices import PyAudioInstrumentor
        >>> PyAudioInstrumentor().instrument()
        >>> PyAudioInstrumentor().uninstrument()
    """

    modules = ("pyaudio",)

    def _patches(self, module: ModuleType) -> Iterator[tuple[type, str, Any]]:
        return pyaudio_patches.patches(module, self.is_tracing)
