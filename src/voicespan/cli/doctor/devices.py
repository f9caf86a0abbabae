"""The sound devices that `sounddevice` and PyAudio see. No stream is opened.

PortAudio asks every driver of the machine, which may write to the terminal, hang, or crash: a process of its
own asks, and has a few seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from voicespan.cli.doctor.findings import note, ok, warning
from voicespan.cli.doctor.versions import installed, judged
from voicespan.runtime import supported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.cli.doctor.findings import Finding, Surroundings

_PATIENCE = 10.0
_LIBRARIES = {"sounddevice": "sounddevice", "PyAudio": "pyaudio"}


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Per library its version, whether voicespan can patch it, and the devices; only a note unless they are to be recorded."""
    wanted = surroundings.settings.record_source == "devices"
    there = {name: version for name in _LIBRARIES if (version := installed(name)) is not None}
    if not there:
        text = "neither sounddevice nor PyAudio is installed"
        if wanted:
            yield warning(
                "devices.none",
                f"{text}, and VOICESPAN_RECORD_SOURCE=devices records what they play and capture: nothing",
                "pip install 'voicespan[devices]', or unset VOICESPAN_RECORD_SOURCE",
            )
        else:
            yield ok("devices.none", f"{text}; recording what the application hands over needs neither")
        return
    for name, version in there.items():
        yield judged(
            f"devices.{name}", name, version, supported.LIBRARIES[name], f"pip install --upgrade {name}"
        )
        yield from _seen(name, wanted=wanted)


def _seen(name: str, *, wanted: bool) -> Iterator[Finding]:
    check, seen = f"devices.{name}.seen", _ask(_LIBRARIES[name])
    if seen is None:
        text = f"{name} cannot be asked for devices: PortAudio is missing, or does not answer"
        if wanted:
            yield warning(check, text, "install PortAudio (libportaudio2), or look at the sound system")
        else:
            yield note(check, f"{text}; nothing is recorded from devices")
        return
    if not seen["patched"]:
        yield warning(
            f"devices.{name}.seams",
            f"what {name} plays is not recorded: it is not where voicespan looks for it",
            f"use a tested version ({supported.LIBRARIES[name]})",
        )
    for side in ("input", "output"):
        device = seen[side]
        text = f"{name}: default {side} {device}" if device else f"{name}: no {side} device"
        facts = {"side": side, "device": device}
        if device or not wanted:
            yield (ok if device else note)(f"{check}.{side}", text, **facts)
        else:
            yield warning(
                f"{check}.{side}", text, "give the container the device (--device /dev/snd)", **facts
            )


def _ask(module: str) -> dict[str, Any] | None:
    """What the other process says."""
    try:
        asked = subprocess.run(  # noqa: S603  our own module, in this Python
            [sys.executable, "-m", "voicespan.cli.doctor.portaudio", module],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
        found = json.loads(asked.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    return found if isinstance(found, dict) else None
