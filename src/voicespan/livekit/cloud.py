"""Where LiveKit's own spans go when it exports them through the conversations' own tracer provider.

LiveKit Cloud's observability adds its exporter to the provider that the application has set up. It goes on getting
LiveKit's spans: those are written with a provider that has LiveKit's processors and no other.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import TracerProvider

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

#: By the provider that has them, LiveKit's processors and what writes to those alone.
_twins: weakref.WeakKeyDictionary[Any, tuple[tuple[Any, ...], Tracer]] = weakref.WeakKeyDictionary()


def cloud_tracer(tracer: Tracer) -> Tracer | None:
    """What writes to LiveKit's own exporters alone; None: this provider has none."""
    real: Any = getattr(tracer, "_tracer", tracer)
    processors = getattr(getattr(real, "span_processor", None), "_span_processors", ())
    own = tuple(each for each in processors if _is_livekits(each))
    if not any(_exporter_of(each) is not None for each in own):
        return None
    known = _twins.get(real.span_processor)
    if known is None or known[0] != own:
        provider = TracerProvider(
            resource=real.resource,
            sampler=real.sampler,
            id_generator=real.id_generator,
            shutdown_on_exit=False,
        )
        for each in own:
            provider.add_span_processor(each)
        known = _twins[real.span_processor] = own, provider.get_tracer("livekit-agents")
    return known[1]


def _is_livekits(processor: Any) -> bool:
    return any(type(each).__module__.startswith("livekit.") for each in (processor, _exporter_of(processor)))


def _exporter_of(processor: Any) -> Any:
    batch = getattr(processor, "_batch_processor", None)
    return getattr(batch, "_exporter", None) or getattr(processor, "span_exporter", None)
