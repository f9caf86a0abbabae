"""Delivery that nobody asked for in code: what the hook of `opentelemetry-instrument` sets up."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery.destination.privacy import tracing_is_off
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.delivery.processor import LangSmithSpanProcessor, processors_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

_logger = logging.getLogger("voicespan")


class AutomaticProcessor(LangSmithSpanProcessor):
    """Delivers what the environment says, as long as the application does not say it itself.

    Once the provider has another one of ours (`configure(project=...)` added it, say), the conversations
    that begin are left to that: they would arrive in two projects otherwise.
    """

    # It is made in every process of an image, and most never hold a conversation.
    _loads_at_once = False

    def __init__(self, provider: TracerProvider) -> None:
        super().__init__()
        self._provider = weakref.ref(provider)

    def _open(self, root: Span, parent_context: Context | None) -> None:
        provider = self._provider()
        if provider is None or all(other is self for other in processors_of(provider)):
            super()._open(root, parent_context)


def add_to(provider: TracerProvider) -> None:
    """Add a processor to `provider` unless it has one, or LANGSMITH_TRACING says no.

    Raises:
        DeliverySettingsError: The environment has no key and no endpoint, or the endpoint must not be used.
    """
    if not tracing_is_off() and not any(processors_of(provider)):
        provider.add_span_processor(AutomaticProcessor(provider))


def new_provider() -> TracerProvider | None:
    """A provider that delivers, global if no other is; None if LANGSMITH_TRACING says no.

    Sampler, resource and limits of spans are those of the OTEL_* variables, which the SDK reads itself.

    Raises:
        DeliverySettingsError: As for `add_to`.
    """
    if tracing_is_off():
        return None
    provider = TracerProvider()
    add_to(provider)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    return provider


def before_first_conversation() -> TracerProvider | None:
    """The provider that conversations use, if that is not the global one; says so where they are not delivered."""
    current = trace.get_tracer_provider()
    if isinstance(current, trace.NoOpTracerProvider):
        # Somebody's decision that nothing is traced here.
        return None
    if hasattr(current, "add_span_processor"):
        # By now the application has set up its own, or has a key.
        problem = add_or_explain(current)
        if problem is not None:
            _logger.warning("Conversations go to this process's own span exporters only: %s", problem)
        return None
    try:
        return new_provider()
    except DeliverySettingsError as error:
        _logger.warning("Conversations are not traced: %s", error)
        return None


def add_or_explain(provider: trace.TracerProvider) -> DeliverySettingsError | None:
    """Add our processor to `provider`; what is wrong with the settings, if that is why it was not."""
    try:
        add_to(cast("TracerProvider", provider))
    except DeliverySettingsError as error:
        return error
    return None
