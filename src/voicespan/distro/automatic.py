"""Delivery that nobody asked for in code: what the hook of `opentelemetry-instrument` sets up."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery.destination.privacy import tracing_is_off
from voicespan.delivery.destination.variables import DeliverySettingsError, NoDestinationError
from voicespan.delivery.folder.settings import named_folder
from voicespan.delivery.folder_processor import FolderSpanProcessor
from voicespan.delivery.processor import LangSmithSpanProcessor, processors_of
from voicespan.distro.keeping import keep_by_default, show_on_console

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
        if provider is None or all(
            other is self for other in processors_of(provider) if isinstance(other, LangSmithSpanProcessor)
        ):
            super()._open(root, parent_context)


def add_to(provider: TracerProvider, *, at_last: bool = True) -> None:
    """Add what the environment says to `provider`, unless it has that.

    That is VOICESPAN_FOLDER, and, unless LANGSMITH_TRACING says no, the destination. Where there is neither and nobody
    else looks at the spans, conversations are kept in the user's data directory; but not before the first of them opens
    (`at_last`): until then the application may have set a key.

    Raises:
        DeliverySettingsError: The environment has no folder, no key and no endpoint, and others look at the spans; or
            the endpoint must not be used.
    """
    show_on_console(provider)
    own = list(processors_of(provider))
    folder = named_folder()
    if folder is not None and not own:
        own.append(FolderSpanProcessor(folder))
        provider.add_span_processor(own[0])
    if tracing_is_off() or any(isinstance(processor, LangSmithSpanProcessor) for processor in own):
        return
    try:
        provider.add_span_processor(AutomaticProcessor(provider))
    except NoDestinationError:
        if own:
            return
        if not at_last or _has_processors(provider):
            raise
        keep_by_default(provider)


def _has_processors(provider: TracerProvider) -> bool:
    # There is no public way to ask a provider for its processors.
    active = getattr(provider, "_active_span_processor", None)
    return bool(getattr(active, "_span_processors", ()))


def new_provider() -> TracerProvider | None:
    """A provider that delivers or keeps, global if no other is; None if LANGSMITH_TRACING says no and there is no folder.

    Sampler, resource and limits of spans are those of the OTEL_* variables, which the SDK reads itself.

    Raises:
        DeliverySettingsError: As for `add_to`.
    """
    if tracing_is_off() and named_folder() is None:
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


def add_or_explain(provider: trace.TracerProvider, *, at_last: bool = True) -> DeliverySettingsError | None:
    """Add our processor to `provider`; what is wrong with the settings, if that is why it was not."""
    try:
        add_to(cast("TracerProvider", provider), at_last=at_last)
    except DeliverySettingsError as error:
        return error
    return None
