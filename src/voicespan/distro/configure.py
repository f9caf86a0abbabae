"""One call that sets everything up."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery.destination.variables import NoDestinationError
from voicespan.delivery.folder.settings import named_folder
from voicespan.delivery.folder_processor import FolderSpanProcessor
from voicespan.delivery.processor import LangSmithSpanProcessor, processors_of
from voicespan.distro import keeping
from voicespan.distro.instrumentors import INSTRUMENTORS
from voicespan.runtime.settings import set_recording, set_recording_url, set_redaction
from voicespan.tracing import tracer
from voicespan.tracing.metrics import provider as metrics

if TYPE_CHECKING:
    import os

    from opentelemetry.metrics import MeterProvider

    from voicespan.delivery.conversation_processor import ConversationSpanProcessor
    from voicespan.runtime.settings import RecordingUrl, Redact


def configure(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    project: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    record: float | bool | None = None,
    redact: Redact | None = None,
    recording_url: RecordingUrl | None = None,
) -> TracerProvider:
    """Trace conversations and deliver them to LangSmith, to a Collector (VOICESPAN_ENDPOINT), or keep them in a folder.

    Every client library that voicespan knows is instrumented, also one that is imported later. Can be called again:
    what is not given then stays as it was, and a destination is added to a provider once.

    Without a key, an endpoint and a folder they are kept in the user's data directory, which one line in the log says.

    Args:
        tracer_provider: The one to use; else the one that was given before, here or to `instrument()`; else the
            global one; else a new one, which becomes global.
        meter_provider: Where metrics of conversations go; else to the global one, if there is one.
        project: LangSmith's project; else LANGSMITH_PROJECT, else `default`.
        endpoint: LangSmith's API; else LANGSMITH_ENDPOINT, else LangSmith's US cloud.
        api_key: LangSmith's key; else LANGSMITH_API_KEY.
        folder: Where conversations are kept beside any other destination; else VOICESPAN_FOLDER.
        record: The share of conversations whose audio, where it is handed over, is recorded (0 to 1, or
            True and False); else VOICESPAN_RECORD, else all.
        redact: Called with every text before it is stored; it returns what may be. It does not see audio.
        recording_url: Called with each conversation when it has opened; it returns where the application will put the
            recording, which the root then says (`voicespan.recording.path`).

    Returns:
        The tracer provider that conversations use, for more processors.

    Raises:
        DeliverySettingsError: The endpoint must not be used, or another setting of the destination cannot be.
        ValueError: `record` is no share.
        TypeError: `redact` or `recording_url` is no plain function.
    """
    processors = _processors(api_key, endpoint, project, folder)
    _keep_settings(record, redact, recording_url, meter_provider)
    provider = tracer_provider if tracer_provider is not None else _current_provider()
    _add(processors, provider)
    tracer.name_provider(provider)
    _instrument(provider)
    return provider


def _add(processors: list[ConversationSpanProcessor], provider: TracerProvider) -> None:
    for processor in processors:
        add_once(provider, processor)
    if not processors:
        keeping.keep_by_default(provider)
    keeping.show_on_console(provider)


def _keep_settings(
    record: float | bool | None,
    redact: Redact | None,
    recording_url: RecordingUrl | None,
    meter_provider: MeterProvider | None,
) -> None:
    if meter_provider is not None:
        metrics.name_provider(meter_provider)
    if recording_url is not None:
        set_recording_url(recording_url)
    if redact is not None:
        set_redaction(redact)
    if record is not None:
        set_recording(record)


def _instrument(provider: TracerProvider) -> None:
    for kind in INSTRUMENTORS:
        instrumentor = kind()
        # One that was given another provider would go on with that.
        is_elsewhere = instrumentor.tracer_provider not in (None, provider)
        instrumentor.instrument(**({"tracer_provider": provider} if is_elsewhere else {}))


def _processors(
    api_key: str | None, endpoint: str | None, project: str | None, folder: str | os.PathLike[str] | None
) -> list[ConversationSpanProcessor]:
    """What delivers, and what keeps."""
    found: list[ConversationSpanProcessor] = []
    with contextlib.suppress(NoDestinationError):
        found.append(LangSmithSpanProcessor(api_key=api_key, endpoint=endpoint, project=project))
    kept_in = folder or named_folder()
    if kept_in:
        found.append(FolderSpanProcessor(kept_in))
    return found


def add_once(provider: TracerProvider, processor: ConversationSpanProcessor) -> bool:
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
