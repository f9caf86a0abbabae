"""Python, the system, and the packages that voicespan needs; and what recordings can be written as."""

from __future__ import annotations

import contextlib
import importlib
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.cli.doctor.findings import BROKEN, note, ok, problem, warning
from voicespan.runtime import supported
from voicespan.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from voicespan.cli.doctor.findings import Finding, Surroundings
    from voicespan.runtime.supported import Supported

_SUPPORTED = ("linux", "darwin")
#: What has to be loaded to see whether it is whole: the modules, and what does not happen without them.
_LOADED = {
    "opentelemetry-sdk": ("opentelemetry.sdk.trace", "nothing is traced"),
    "opentelemetry-instrumentation": ("opentelemetry.instrumentation.instrumentor", "nothing is traced"),
    "opentelemetry-exporter-otlp-proto-common": (
        "opentelemetry.exporter.otlp.proto.common.trace_encoder",
        "nothing is delivered",
    ),
    "wrapt": ("wrapt", "nothing is traced"),
    "requests": ("requests", "nothing is delivered"),
    "soundfile": ("soundfile", "nothing is recorded"),
    "numpy": ("numpy", "nothing is recorded"),
    "soxr": ("soxr", "nothing is recorded"),
}
_ENCODED = {"ogg": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "flac": ("FLAC", "PCM_16")}


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Everything that has a version."""
    yield from _python()
    for name, known in supported.DEPENDENCIES.items():
        yield _dependency(name, known)
    yield from _encoders(surroundings.settings.recording_format)


def installed(name: str) -> str | None:
    """The version of a distribution."""
    with contextlib.suppress(metadata.PackageNotFoundError, *BROKEN):
        # Of a distribution whose metadata is damaged it is None.
        return metadata.version(name) or None
    return None


def loaded(module: str) -> ModuleType | str:
    """The module, or in a few words why it cannot be imported."""
    try:
        return importlib.import_module(module)
    except BROKEN as error:
        return f"{type(error).__name__}: {error}"


def judged(check: str, name: str, version: str, known: Supported, upgrade: str) -> Finding:
    """What is to be said of a version."""
    text, facts = f"{name} {version}", {"version": version, "oldest": known.oldest, "newest": known.newest}
    where = known.judge(version)
    if where == "older":
        return problem(check, f"{text} is too old: tested with {known}", upgrade, **facts)
    if where == "far newer":
        return warning(
            check,
            f"{text} is newer than what was tested ({known})",
            "upgrade voicespan, or go back to a tested version if something is missing from the traces",
            **facts,
        )
    if where == "newer":
        return note(check, f"{text} (tested: {known}; this is newer)", **facts)
    return ok(check, f"{text} (tested: {known})", **facts)


def _python() -> Iterator[Finding]:
    place = str(Path(__file__).parent.parent)
    yield ok("versions.voicespan", f"voicespan {__version__}, {place}", version=__version__, path=place)
    version = platform.python_version()
    yield judged(
        "versions.python",
        "Python",
        version,
        supported.PYTHON,
        f"use Python {supported.PYTHON.oldest} or later",
    )
    system = f"{platform.system()} {platform.machine()}"
    if sys.platform in _SUPPORTED:
        yield ok("versions.system", f"{system}, {sys.executable}", system=sys.platform)
    else:
        yield warning(
            "versions.system",
            f"{system}: conversations are delivered from memory and not recorded",
            "Linux and macOS are supported",
            system=sys.platform,
        )


def _dependency(name: str, known: Supported) -> Finding:
    check, again = f"versions.{name}", f"pip install --upgrade {name}"
    version = installed(name)
    module, without = _LOADED.get(name, (None, ""))
    found = loaded(module) if module is not None else None
    if isinstance(found, str):
        return problem(
            check,
            f"{name} {version or '(not installed)'} cannot be imported, so {without}: {found}",
            f"pip install --force-reinstall {name}",
            version=version,
        )
    if version is None:
        return problem(check, f"{name} is not installed", again, version=None)
    return judged(check, name, version, known, again)


def _encoders(wanted: str) -> Iterator[Finding]:
    """Whether libsndfile, which is the system's on some, can write what is asked for."""
    soundfile = loaded("soundfile")
    if isinstance(soundfile, str):
        return  # as reported above
    library = str(soundfile.__libsndfile_version__)
    can = {form: bool(soundfile.check_format(*codec)) for form, codec in _ENCODED.items()}
    text = ", ".join(form for form, is_there in can.items() if is_there)
    facts = {f"can_{form}": is_there for form, is_there in can.items()}
    if can.get(wanted, True):
        yield ok("versions.libsndfile", f"libsndfile {library} (writes {text})", version=library, **facts)
    else:
        yield warning(
            "versions.libsndfile",
            f"libsndfile {library} cannot write {wanted}: recordings are attached as FLAC, which is larger",
            "the soundfile package's own wheels bring a libsndfile that can; or VOICESPAN_RECORDING_FORMAT=flac",
            version=library,
            **facts,
        )
