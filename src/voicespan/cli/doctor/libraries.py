"""The client libraries: whether they are installed, and whether voicespan finds what it patches in them.

A library that has moved what we patch gives no error: the application works, and is not traced. So the module is
imported and its patch points are looked up as the instrumentor does, without patching them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from voicespan.cli.doctor.findings import BROKEN, note, ok, problem
from voicespan.cli.doctor.versions import installed, judged, loaded
from voicespan.gemini_live import sdk as gemini_live
from voicespan.openai_realtime import sdk as openai_realtime
from voicespan.runtime import supported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from voicespan.cli.doctor.findings import Finding, Surroundings


class _Provider(NamedTuple):
    distribution: str
    #: The module that holds the patch points in every version that is supported.
    module: str
    patches: Callable[[Any, Any], Iterable[object]]
    extra: str


_PROVIDERS = (
    _Provider("openai", openai_realtime.MODULES[0], openai_realtime.patches, "openai"),
    _Provider("google-genai", gemini_live.MODULES[0], gemini_live.patches, "gemini"),
)

_GEMINI = "its Gemini Live sessions are traced: they go through google-genai"
_OWN_SOCKET = "opens its OpenAI Realtime sockets itself, past the openai package: those are not traced"
#: What is built on the two, and what of it is seen.
_FRAMEWORKS = {
    "google-adk": _GEMINI,
    "livekit-plugins-google": _GEMINI,
    "livekit-plugins-openai": _OWN_SOCKET,
    "openai-agents": _OWN_SOCKET,
    "pipecat-ai": f"{_GEMINI}; it {_OWN_SOCKET}",
    "pydantic-ai": _GEMINI,
}


def look(surroundings: Surroundings) -> Iterator[Finding]:  # noqa: ARG001  what every check is given
    """Each library, then what is built on them."""
    there = [provider for provider in _PROVIDERS if installed(provider.distribution) is not None]
    for provider in _PROVIDERS:
        if provider in there:
            yield from _library(provider)
        else:
            yield note(
                f"libraries.{provider.distribution}",
                f"{provider.distribution} is not installed",
                version=None,
            )
    if not there:
        yield problem(
            "libraries.none",
            "neither openai nor google-genai is installed in this Python: there is nothing to trace",
            "pip install 'voicespan[openai]' or 'voicespan[gemini]', or run this with the application's Python",
        )
    else:
        yield _websockets()
    for name, text in _FRAMEWORKS.items():
        version = installed(name)
        if version is not None:
            yield note(f"libraries.{name}", f"{name} {version}: {text}", version=version)


def _library(provider: _Provider) -> Iterator[Finding]:
    name, check = provider.distribution, f"libraries.{provider.distribution}"
    upgrade = f"pip install --upgrade 'voicespan[{provider.extra}]'"
    yield judged(check, name, installed(name) or "", supported.LIBRARIES[name], upgrade)
    module = loaded(provider.module)
    if isinstance(module, str):
        yield problem(
            f"{check}.seams",
            f"{provider.module} cannot be imported, so nothing of it is traced: {module}",
            upgrade,
        )
        return
    try:
        count = len(list(provider.patches(module, lambda *_: None)))
    except BROKEN as error:
        yield problem(
            f"{check}.seams",
            f"{name} is not traced: what voicespan looks for in {provider.module} is not there "
            f"({type(error).__name__}: {error})",
            f"use a tested version ({supported.LIBRARIES[name]}), or upgrade voicespan",
        )
        return
    yield ok(
        f"{check}.seams",
        f"all {count} places in {provider.module} that voicespan looks into are there",
        seams=count,
    )


def _websockets() -> Finding:
    version = installed("websockets")
    if version is None:
        return problem(
            "libraries.websockets",
            "websockets is not installed: no Realtime or Live connection can be opened",
            "pip install 'openai[realtime]'",
            version=None,
        )
    return judged(
        "libraries.websockets",
        "websockets",
        version,
        supported.LIBRARIES["websockets"],
        "pip install -U websockets",
    )
