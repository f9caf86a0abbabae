"""The client libraries: whether they are installed, and whether voicespan finds what it patches in them.

A library that has moved what we patch gives no error: the application works, and is not traced. So the module is
imported and its patch points are looked up as the instrumentor does, without patching them.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from voicespan.cli.doctor.findings import BROKEN, note, ok, problem
from voicespan.cli.doctor.versions import installed, judged, loaded
from voicespan.gemini_live import sdk as gemini_live
from voicespan.instrumentation.sockets import aiohttp, websocket_client, websockets
from voicespan.openai_audio import sdk as openai_audio
from voicespan.openai_live import sdk as openai_live
from voicespan.openai_realtime import sdk as openai_realtime
from voicespan.runtime import supported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from voicespan.cli.doctor.findings import Finding, Surroundings


class _Library(NamedTuple):
    distribution: str
    #: The modules that hold the patch points.
    modules: tuple[str, ...]
    patches: Callable[[Any, Any], Iterable[object]]
    upgrade: str
    #: What is added to the names of the checks, for a library of which more is looked into.
    part: str = ""


_CLIENTS = (
    _Library(
        "openai",
        openai_realtime.MODULES[:1],
        openai_realtime.patches,
        "pip install --upgrade 'voicespan[openai]'",
    ),
    _Library(
        "google-genai",
        gemini_live.MODULES[:1],
        gemini_live.patches,
        "pip install --upgrade 'voicespan[gemini]'",
    ),
)
_LIVE = _Library(
    "openai",
    openai_live.MODULES,
    openai_live.patches,
    "pip install --upgrade 'openai[realtime]>=3.12'",
    ".live",
)
_AUDIO = _Library(
    "openai",
    openai_audio.MODULES,
    openai_audio.patches,
    "pip install --upgrade 'voicespan[openai]'",
    ".audio",
)
_SOCKETS = (
    _Library(
        "websockets",
        ("websockets.asyncio.client", "websockets.sync.client"),
        websockets.patches,
        "pip install -U websockets",
    ),
    _Library("aiohttp", ("aiohttp.client", "aiohttp.client_ws"), aiohttp.patches, "pip install -U aiohttp"),
    _Library(
        "websocket-client", ("websocket._core",), websocket_client.patches, "pip install -U websocket-client"
    ),
)

_GEMINI = "its Gemini Live sessions are traced: they go through google-genai"
_BY_URL = "OpenAI Realtime sockets are traced by their URL"
#: What is built on these, and what of it is seen.
_FRAMEWORKS = {
    "azure-ai-voicelive": "its Voice Live sockets are traced by their URL, on aiohttp",
    "google-adk": _GEMINI,
    "livekit-agents": "each AgentSession is a conversation: cascades, and realtime models of OpenAI and Google",
    "livekit-plugins-google": _GEMINI,
    "livekit-plugins-openai": f"its {_BY_URL}, on aiohttp",
    "openai-agents": f"its realtime sessions are traced; their {_BY_URL}, on websockets",
    "pipecat-ai": "each pipeline that runs is a conversation: cascades, OpenAI realtime and Gemini Live",
    "pydantic-ai": f"{_GEMINI}; its {_BY_URL}, on websockets",
    "pydantic-ai-slim": f"{_GEMINI}; its {_BY_URL}, on websockets",
    "strands-agents": f"{_GEMINI}; its {_BY_URL}, on websockets",
}


def look(surroundings: Surroundings) -> Iterator[Finding]:  # noqa: ARG001  what every check is given
    """Each library, then what is built on them."""
    there = [each for each in (*_CLIENTS, *_SOCKETS) if installed(each.distribution) is not None]
    for library in (*_CLIENTS, *_SOCKETS):
        if library in there:
            yield from _library(library)
        elif library in _CLIENTS:
            name = library.distribution
            yield note(f"libraries.{name}", f"{name} is not installed", version=None)
    if not there:
        yield problem(
            "libraries.none",
            "neither openai nor google-genai, and no library of WebSockets, is installed in this Python: "
            "there is nothing to trace",
            "pip install 'voicespan[openai]' or 'voicespan[gemini]', or run this with the application's Python",
        )
    elif any(each in _CLIENTS for each in there) and installed("websockets") is None:
        yield problem(
            "libraries.websockets",
            "websockets is not installed: openai and google-genai can open no Realtime or Live connection",
            "pip install 'openai[realtime]'",
            version=None,
        )
    for name, text in _FRAMEWORKS.items():
        version = installed(name)
        if version is not None:
            yield note(f"libraries.{name}", f"{name} {version}: {text}", version=version)


def _library(library: _Library) -> Iterator[Finding]:
    name = library.distribution
    known = supported.LIBRARIES[name]
    yield judged(f"libraries.{name}", name, installed(name) or "", known, library.upgrade)
    yield _places(library)
    if name == _LIVE.distribution:
        yield _places(_AUDIO)
        if _is_there(_LIVE.modules[0]):
            yield _places(_LIVE)
        else:
            yield note("libraries.openai.live", "this openai has no Live, which came with 3.12")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except BROKEN:
        return False


def _places(library: _Library) -> Finding:
    name, count = library.distribution, 0
    check = f"libraries.{name}{library.part}.seams"
    for place in library.modules:
        module = loaded(place)
        if isinstance(module, str):
            text = f"{place} cannot be imported, so nothing of it is traced: {module}"
            return problem(check, text, library.upgrade)
        try:
            count += len(list(library.patches(module, lambda *_: None)))
        except BROKEN as error:
            return problem(
                check,
                f"{name} is not traced: what voicespan looks for in {place} is not there "
                f"({type(error).__name__}: {error})",
                f"use a tested version ({supported.LIBRARIES[name]}), or upgrade voicespan",
            )
    text = f"all {count} places in {' and '.join(library.modules)} that voicespan looks into are there"
    return ok(check, text, seams=count)
