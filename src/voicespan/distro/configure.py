"""One call that sets everything up."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery.processor import LangSmithSpanProcessor, processors_of
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.runtime.settings import set_recording, set_redaction
from voicespan.tracing import tracer

if TYPE_CHECKING:
    from voicespan.runtime.settings import Redact


def configure(
    *,
    tracer_provider: TracerProvider | None = None,
    project: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    record: float | bool | None = None,
    redact: Redact | None = None,
) -> TracerProvider:
    """Trace conversations and deliver them to LangSmith, or to a Collector (VOICESPAN_ENDPOINT).

    Every client library that voicespan knows is instrumented, also one that is imported later. Can be
    called again: a destination is added to a provider once.

    Args:
        tracer_provider: The one to use; else the global one, else a new one, which becomes global.
        project: LangSmith's project; else LANGSMITH_PROJECT, else `default`.
        endpoint: LangSmith's API; else LANGSMITH_ENDPOINT, else LangSmith's US cloud.
        api_key: LangSmith's key; else LANGSMITH_API_KEY.
        record: The share of conversations whose audio, where it is handed over, is recorded (0 to 1, or
            True and False); else VOICESPAN_RECORD, else all.
        redact: Called with every text before it is stored; it returns what may be. It does not see audio.

    Returns:
        The tracer provider, for more processors.

    Raises:
        DeliverySettingsError: There is no key and no endpoint, or the endpoint must not be used.
        ValueError: `record` is no share.
        TypeError: `redact` is no plain function.
    """
    set_recording(record)
    set_redaction(redact)
    processor = LangSmithSpanProcessor(api_key=api_key, endpoint=endpoint, project=project)
    provider = tracer_provider if tracer_provider is not None else _global_provider()
    add_once(provider, processor)
    tracer.name_provider(provider)
    GeminiLiveInstrumentor().instrument()
    OpenAIRealtimeInstrumentor().instrument()
    return provider


def add_once(provider: TracerProvider, processor: LangSmithSpanProcessor) -> bool:
    """Add `processor` unless the provider delivers to the same destination already; whether it was added."""
    destination = processor.destination
    if destination is None or any(other.destination == destination for other in processors_of(provider)):
        return False
    provider.add_span_processor(processor)
    return True


def _global_provider() -> TracerProvider:
    current = trace.get_tracer_provider()
    # Not by its class: some distributions wrap it.
    if hasattr(current, "add_span_processor"):
        return cast("TracerProvider", current)
    provider = TracerProvider()
    if isinstance(current, trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    return provider
