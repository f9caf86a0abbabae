"""Which meter provider there is: the one that was given, else the global one, else none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voicespan.runtime.guard import guarded
from voicespan.runtime.measurements import SHARED
from voicespan.tracing.metrics.recorder import MetricRecorder

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

#: Where the API lives. Whoever set a global provider has imported it; nobody else needs it.
_API = "opentelemetry.metrics"

#: Set by `configure()`, `instrument()` or a processor.
_given: MeterProvider | None = None
#: The one that is recorded to.
_current: MeterProvider | None = None


def name_provider(provider: MeterProvider | None) -> None:
    """From now on metrics go to this provider; None: to the global one."""
    global _given  # noqa: PLW0603  one per process, like OpenTelemetry's own
    _given = provider


def named_provider() -> MeterProvider | None:
    """What was named, if anything."""
    return _given


@guarded
def look() -> None:
    """Have what happens from here on recorded, if there is a provider by now. Called when a conversation begins."""
    global _current  # noqa: PLW0603  as above
    provider = _global() if _given is None else _given
    if provider is not _current:
        _current = provider
        SHARED.listen(None)
        if provider is not None:
            SHARED.listen(MetricRecorder(provider))


def _global() -> MeterProvider | None:
    api = sys.modules.get(_API)
    if api is None:
        return None
    provider: MeterProvider = api.get_meter_provider()
    # Those of the API itself stand for one that is not there, or for none.
    return None if type(provider).__module__.startswith(_API) else provider
