"""Which tracer a conversation uses: the provider that was named, else the global one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from voicespan import semconv
from voicespan.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

#: Set by `voicespan.configure()` or by the first `instrument(tracer_provider=...)`.
_named: TracerProvider | None = None


def name_provider(provider: TracerProvider | None) -> None:
    """From now on conversations without a provider of their own use this one; None: the global one."""
    global _named  # noqa: PLW0603  one per process, like OpenTelemetry's own
    _named = provider


def named_provider() -> TracerProvider | None:
    """What was named, if anything."""
    return _named


def tracer(provider: TracerProvider | None = None) -> Tracer:
    """The tracer of all spans of ours."""
    return trace.get_tracer(semconv.SCOPE, __version__, provider or _named)
