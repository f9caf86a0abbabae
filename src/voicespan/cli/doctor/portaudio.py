"""Asks PortAudio, through the library that the command line names, and prints what it says as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from voicespan.recording.devices import pyaudio_patches, sounddevice_patches


def sounddevice() -> dict[str, Any]:
    """The default devices by `sounddevice`, and whether what we patch is where we look for it."""
    library = importlib.import_module("sounddevice")

    def name(side: str) -> str | None:
        try:
            found = library.query_devices(kind=side)
        except (ValueError, library.PortAudioError):  # there is none
            return None
        return f"{found['name']} ({found['default_samplerate']:.0f} Hz)"

    return {"input": name("input"), "output": name("output"), "patched": _has(sounddevice_patches, library)}


def pyaudio() -> dict[str, Any]:
    """The same by PyAudio."""
    library = importlib.import_module("pyaudio")
    port = library.PyAudio()

    def name(ask: Any) -> str | None:
        try:
            found = ask()
        except OSError:  # there is none
            return None
        return f"{found['name']} ({found['defaultSampleRate']:.0f} Hz)"

    return {
        "input": name(port.get_default_input_device_info),
        "output": name(port.get_default_output_device_info),
        "patched": _has(pyaudio_patches, library),
    }


def _has(library_patches: Any, library: Any) -> bool:
    try:
        return bool(list(library_patches.patches(library, lambda: False)))
    except AttributeError:
        return False


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"sounddevice": sounddevice, "pyaudio": pyaudio}[sys.argv[1]]()) + "\n")
