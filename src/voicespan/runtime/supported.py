"""Which versions of Python and of other packages the tests have been run with.

Other versions are not refused. `voicespan doctor` reports what is too old or too new; a library in which we do not
find what we patch is left alone, and one line in the log says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Supported:
    """From which version to which; each as exact as its oldest end, `1.107` being all of 1.107."""

    oldest: str
    newest: str

    def judge(self, version: str) -> Literal["older", "tested", "newer", "far newer"]:
        """Where `version` stands; far newer is one with another major number."""
        number, oldest, newest = _number(version), _number(self.oldest), _number(self.newest)
        if number[: len(oldest)] < oldest:
            return "older"
        if number[: len(newest)] <= newest:
            return "tested"
        return "far newer" if number[:1] > newest[:1] else "newer"

    def __str__(self) -> str:
        return f"{self.oldest} to {self.newest}"


PYTHON: Final = Supported("3.10", "3.13")

#: What voicespan needs, by the names of the distributions. The oldest are those of its metadata.
DEPENDENCIES: Final = {
    "opentelemetry-api": Supported("1.33", "1.45"),
    "opentelemetry-sdk": Supported("1.33", "1.45"),
    "opentelemetry-instrumentation": Supported("0.54", "0.66"),
    "opentelemetry-exporter-otlp-proto-common": Supported("1.33", "1.45"),
    "wrapt": Supported("1.16", "2.5"),
    "langsmith": Supported("0.4", "0.15"),
    "requests": Supported("2.28", "2.34"),
    "soundfile": Supported("0.13", "0.14"),
    "numpy": Supported("1.24", "2.4"),
    "soxr": Supported("0.5", "1.1"),
}

#: What it looks into, where that is installed. Of the two providers the oldest and those in which the way
#: of a frame changed are run by `tests/compat/run.py`.
LIBRARIES: Final = {
    "openai": Supported("1.107", "3.57"),
    "google-genai": Supported("1.9", "3.6"),
    "websockets": Supported("13", "17"),
    "livekit-agents": Supported("1.1", "1.8"),
    "openai-agents": Supported("0.2", "0.24"),
    "aiohttp": Supported("3.9", "3.14"),
    "websocket-client": Supported("1.6", "1.9"),
    "pipecat-ai": Supported("0.0.86", "1.14"),
    "sounddevice": Supported("0.4.6", "0.5"),
    "PyAudio": Supported("0.2.13", "0.2.14"),
}


#: By the packages that they are imported as.
_IMPORTED_AS: Final = {
    "openai": "openai",
    "google": "google-genai",
    "websockets": "websockets",
    "livekit": "livekit-agents",
    "agents": "openai-agents",
    "aiohttp": "aiohttp",
    "websocket": "websocket-client",
    "pipecat": "pipecat-ai",
    "sounddevice": "sounddevice",
    "pyaudio": "PyAudio",
}


def tested(module: str) -> str:
    """The distribution that holds a module, and which versions of it are tested, for a message."""
    package = module.partition(".")[0]
    name = _IMPORTED_AS.get(package, package)
    return f"{name} (tested: {LIBRARIES[name]})" if name in LIBRARIES else name


def _number(version: str) -> tuple[int, ...]:
    """`1.45.2` or `0.66b2` as numbers; what comes after them does not count."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()
