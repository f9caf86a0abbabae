"""Whether `opentelemetry-instrument` would find us."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.cli.doctor.findings import BROKEN, note, ok, problem, warning
from voicespan.cli.doctor.versions import installed
from voicespan.distro.post_instrument import INSTRUMENTORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voicespan.cli.doctor.findings import Finding, Surroundings

_COMMAND = "opentelemetry-instrument"
#: What a distribution loads exporters for. Each is `otlp` where nothing is said.
_SIGNALS = ("traces", "metrics", "logs")
#: By which protocol `otlp` speaks, and the exporter that is meant then.
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """The command, our entry points, what is switched off, and what a distribution adds."""
    yield _command(surroundings.environ)
    yield _entry_points()
    yield from _disabled(surroundings.environ)
    version = installed("opentelemetry-distro")
    if version is None:
        yield ok(
            "zero-code.distro",
            "no distribution of OpenTelemetry: the first conversation makes the tracer provider",
            version=None,
        )
    else:
        exporter = surroundings.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
        yield ok(
            "zero-code.distro",
            f"opentelemetry-distro {version} makes the tracer provider (OTEL_TRACES_EXPORTER={exporter}); "
            "conversations are delivered beside its exporter",
            version=version,
        )
        yield from _exporters(surroundings.environ)


def _exporters(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Each exporter that the distribution would load. One that cannot be loaded stops it, and with it all tracing."""
    for signal in _SIGNALS:
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        exporters = environ.get(variable, "").strip() or "otlp"
        for name in dict.fromkeys(each.strip() for each in exporters.split(",")):
            point = _OTLP.get(_protocol(signal, environ), name) if name == "otlp" else name
            why = None if name in ("", "none") else _why_not_loaded(signal, point)
            if why is not None:
                yield problem(
                    f"zero-code.exporter.{name}" + ("" if signal == "traces" else f".{signal}"),
                    f"the exporter {point} ({variable}={exporters}) cannot be loaded: {why}. "
                    f"{_COMMAND} then sets up nothing, and nothing is traced",
                    f"install its package (pip install 'voicespan[otlp]'), or set {variable}=none: "
                    "voicespan delivers by itself",
                    exporter=point,
                )


def _protocol(signal: str, environ: Mapping[str, str]) -> str:
    """By which protocol `otlp` speaks."""
    named = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((value for name in named if (value := environ.get(name, "").strip())), "grpc")


def _why_not_loaded(signal: str, name: str) -> str | None:
    """Why the entry point of an exporter is of no use."""
    points = tuple(metadata.entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not points:
        return "no package that is installed has it"
    try:
        points[0].load()
    except BROKEN as error:
        return f"{type(error).__name__}: {error}"
    return None


def _command(environ: Mapping[str, str]) -> Finding:
    check = "zero-code.command"
    found = shutil.which(_COMMAND, path=environ.get("PATH"))
    beside = Path(sys.executable).with_name(_COMMAND)
    if found is None and beside.exists():
        return note(
            check, f"{_COMMAND} is not on the PATH, but beside this Python: {beside}", path=str(beside)
        )
    if found is None:
        return note(check, f"{_COMMAND} is not on the PATH; voicespan.configure() needs none", path=None)
    if beside.exists() and not beside.samefile(found):
        return warning(
            check,
            f"{_COMMAND} on the PATH is another Python's: {found}",
            f"call it by its path, {beside}, if this Python runs the application",
            path=found,
        )
    return ok(check, found, path=found)


def _entry_points() -> Finding:
    there = {
        point.name
        for group in ("opentelemetry_instrumentor", "opentelemetry_post_instrument")
        for point in metadata.entry_points(group=group)
        if point.value.startswith("voicespan")
    }
    missing = sorted((INSTRUMENTORS | {"voicespan"}) - there)
    if missing:
        return problem(
            "zero-code.entry_points",
            f"{_COMMAND} does not find voicespan's entry points {', '.join(missing)}",
            "voicespan is on the path but not installed, or damaged: pip install --force-reinstall voicespan",
        )
    return ok("zero-code.entry_points", f"it finds {', '.join(sorted(there))}")


def _disabled(environ: Mapping[str, str]) -> Iterator[Finding]:
    # Read as the loader of the instrumentors reads it.
    named = {name.strip() for name in environ.get(_DISABLED, "").split(",")}
    off = INSTRUMENTORS if "*" in named else INSTRUMENTORS & named
    if not off:
        return
    text = f"{_DISABLED} leaves out {', '.join(sorted(off))}"
    if off == INSTRUMENTORS:
        yield problem(
            "zero-code.disabled",
            f"{text}: under {_COMMAND} nothing is traced",
            "take them out of it; voicespan.configure() in the code is not affected",
        )
    else:
        yield note("zero-code.disabled", f"under {_COMMAND}, {text}")
