"""One call that sets everything up."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery.destination.variables import NoDestinationError
from voicespan.delivery.processor import LangSmithSpanProcessor, processors_of
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.instrumentation.sockets import (
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    WebsocketsInstrumentor,
)
from voicespan.livekit import LiveKitInstrumentor
from voicespan.openai_live import OpenAILiveInstrumentor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.runtime import guard
from voicespan.runtime.settings import set_recording, set_redaction
from voicespan.tracing import tracer

if TYPE_CHECKING:
    from voicespan.runtime.settings import Redact

_INSTRUMENTORS = (
    GeminiLiveInstrumentor,
    OpenAILiveInstrumentor,
    OpenAIRealtimeInstrumentor,
    WebsocketsInstrumentor,
    AiohttpInstrumentor,
    WebsocketClientInstrumentor,
    LiveKitInstrumentor,
)


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

    Every client library that voicespan knows is instrumented, also one that is imported later. Can be called again:
    what is not given then stays as it was, and a destination is added to a provider once.

    Without a key and without an endpoint nothing is delivered, which one line in the log says; conversations are
    traced all the same, for the span processors that the provider has.

    Args:
        tracer_provider: The one to use; else the one that was given before, here or to `instrument()`; else the
            global one; else a new one, which becomes global.
        project: LangSmith's project; else LANGSMITH_PROJECT, else `default`.
        endpoint: LangSmith's API; else LANGSMITH_ENDPOINT, else LangSmith's US cloud.
        api_key: LangSmith's key; else LANGSMITH_API_KEY.
        record: The share of conversations whose audio, where it is handed over, is recorded (0 to 1, or
            True and False); else VOICESPAN_RECORD, else all.
        redact: Called with every text before it is stored; it returns what may be. It does not see audio.

    Returns:
        The tracer provider that conversations use, for more processors.

    Raises:
        DeliverySettingsError: The endpoint must not be used, or another setting of the destination cannot be.
        ValueError: `record` is no share.
        TypeError: `redact` is no plain function.
    """
    processor = _processor(api_key, endpoint, project)
    if redact is not None:
        set_redaction(redact)
    if record is not None:
        set_recording(record)
    provider = tracer_provider if tracer_provider is not None else _current_provider()
    if processor is not None:
        add_once(provider, processor)
    tracer.name_provider(provider)
    for kind in _INSTRUMENTORS:
        instrumentor = kind()
        # One that was given another provider would go on with that.
        is_elsewhere = instrumentor.tracer_provider not in (None, provider)
        instrumentor.instrument(**({"tracer_provider": provider} if is_elsewhere else {}))
    return provider


def _processor(
    api_key: str | None, endpoint: str | None, project: str | None
) -> LangSmithSpanProcessor | None:
    """What delivers; None, and a line in the log, where there is nowhere to deliver to."""
    try:
        return LangSmithSpanProcessor(api_key=api_key, endpoint=endpoint, project=project)
    except NoDestinationError as error:
        guard.warn(
            "Conversations are not delivered; they go only to the span processors that you add to this tracer "
            "provider. %s",
            error,
        )
        return None


def add_once(provider: TracerProvider, processor: LangSmithSpanProcessor) -> bool:
    """Add `processor` unless the provider delivers to the same destination already; whether it was added."""
    destination = processor.destination
    if destination is None or any(other.destination == destination for other in processors_of(provider)):
        return False
    provider.add_span_processor(processor)
    return True


def _current_provider() -> TracerProvider:
    named, current = tracer.named_provider(), trace.get_tracer_provider()
    for provider in (named, current):
        # Not by its class: some distributions wrap it.
        if hasattr(provider, "add_span_processor"):
            return cast("TracerProvider", provider)
    provider = TracerProvider()
    if isinstance(current, trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    return provider
