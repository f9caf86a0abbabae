"""Finds spans that reach the same destination twice, because a second exporter sends them too.

LangSmith takes each span once. If another exporter is first, the root is answered with 409, and the
recording, which only voicespan sends, stays behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.cli.doctor.destination import EXPORTER_ENDPOINTS
from voicespan.cli.doctor.findings import note, ok, problem, warning
from voicespan.cli.doctor.masked_output import public_url
from voicespan.cli.doctor.versions import installed
from voicespan.delivery.destination import url_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voicespan.cli.doctor.findings import Finding, Surroundings
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.handed_over import HandedOver

_YES = frozenset({"1", "true", "yes", "on"})
_TWICE = (
    "the conversations arrive there twice: LangSmith answers the second time with 409, and where the exporter "
    "was first the recording is not attached"
)
#: Others that write spans for the same connections; those are theirs, beside ours.
_OTHER_TRACERS = {
    "opentelemetry-instrumentation-openai": "it wraps client.beta.realtime, whose sync client it breaks; "
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=openai leaves it out",
    "ddtrace": "it traces the same connections for itself",
}


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Exporters that the environment names, LangSmith's own, and other people's tracers."""
    environ = surroundings.environ
    found = [*_exporter(environ, surroundings.destination), *_langsmiths_mode(environ)]
    yield from found or [ok("roads.none", "no second road is configured in the environment")]
    for name, what in _OTHER_TRACERS.items():
        version = installed(name)
        if version is not None:
            yield note(f"roads.{name}", f"{name} {version} is installed: {what}", version=version)


def _exporter(environ: Mapping[str, str], destination: Destination | HandedOver | None) -> Iterator[Finding]:
    """OpenTelemetry's exporter, if it leads to where conversations go."""
    name = next((name for name in EXPORTER_ENDPOINTS if environ.get(name, "").strip()), None)
    if name is None or destination is None:
        return
    url = public_url(environ[name].strip())
    host = url_policy.host_of(url)
    collector, same_host = destination.through_collector, host == url_policy.host_of(destination.url)
    if collector and host.endswith(".langchain.com"):
        yield _same_place(name, url, environ)
    elif not same_host:
        yield ok("roads.exporter", f"{name} leads elsewhere: {url}", url=url)
    elif collector:
        yield note(
            "roads.exporter",
            f"{name} leads to the same host as VOICESPAN_ENDPOINT",
            "the Collector has to tell the two apart by the resource attribute voicespan.delivery, as "
            "collector/gateway.yaml does; otherwise conversations arrive twice",
            url=url,
        )
    else:
        yield _same_place(name, url, environ)


def _same_place(name: str, url: str, environ: Mapping[str, str]) -> Finding:
    exporters = {
        each.strip() for each in environ.get("OTEL_TRACES_EXPORTER", "").lower().split(",") if each.strip()
    }
    text, advice = (
        f"{name} leads to LangSmith, too ({url})",
        f"unset {name}, or set OTEL_TRACES_EXPORTER=none",
    )
    if exporters and not exporters & {"otlp", "otlp_proto_http", "otlp_proto_grpc"}:
        return note("roads.exporter", f"{text}, but OTEL_TRACES_EXPORTER does not use it", url=url)
    if exporters or installed("opentelemetry-distro") is not None:
        return problem("roads.exporter", f"{text}: {_TWICE}", advice, url=url)
    return warning("roads.exporter", f"{text}: with an OTLP exporter in the code, {_TWICE}", advice, url=url)


def _langsmiths_mode(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The OpenTelemetry mode of the `langsmith` package."""
    names = ("TRACING_MODE", "OTEL_ONLY", "OTEL_ENABLED")
    for suffix in names:
        for name in (f"LANGSMITH_{suffix}", f"LANGCHAIN_{suffix}"):
            value = environ.get(name, "").strip().lower()
            if value in ("otel", "hybrid") if suffix == "TRACING_MODE" else value in _YES:
                yield warning(
                    "roads.langsmith",
                    f"{name}={value}: where the langsmith package finds no tracer provider, it makes one with an "
                    "exporter of its own, which then carries conversations as well",
                    "call voicespan.configure() before the first @traceable function or langsmith.Client",
                    variable=name,
                )
                return
