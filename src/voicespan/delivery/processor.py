"""The span processor that delivers conversations to LangSmith."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from voicespan.content import masking
from voicespan.delivery.conversation_processor import ConversationSpanProcessor
from voicespan.delivery.destination.destination import Destination
from voicespan.delivery.destination.handed_over import HandedOver, resolve_here
from voicespan.delivery.destination.privacy import sampling_rate, tracing_is_off
from voicespan.delivery.destination.variables import variable
from voicespan.delivery.spool.settings import SpoolSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from voicespan.delivery.parts import Parts
    from voicespan.delivery.pipeline import Pipeline


class LangSmithSpanProcessor(ConversationSpanProcessor):
    """Delivers the traces of conversations, with their recordings, to LangSmith or to a Collector.

    Add it to a `TracerProvider`, beside whatever other processors there are. Spans are copied, never
    changed. Nothing is started and no file is read before the first conversation.

    Args:
        api_key: LangSmith's key; else LANGSMITH_API_KEY, else the current profile's.
        endpoint: The API's URL, as LANGSMITH_ENDPOINT; `/otel/v1/traces` is appended.
        project: The project's name; else LANGSMITH_PROJECT, else `default`.
        workspace: The workspace's id; else LANGSMITH_WORKSPACE_ID.
        headers: More headers for every request.
        spool_dir: Where conversations wait; else VOICESPAN_SPOOL_DIR, else the user's state folder.
        export: `conversations` sends their traces alone, `all` sends every span.
        meter_provider: Where metrics of conversations go, in the whole process; else to the global one, if there is one.

    Raises:
        DeliverySettingsError: There is no key and no endpoint, or the URL must not be used.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        endpoint: str | None = None,
        project: str | None = None,
        workspace: str | None = None,
        headers: Mapping[str, str] | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
        export: Literal["conversations", "all"] = "conversations",
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if export not in ("conversations", "all"):
            raise ValueError('export is "conversations" or "all"')
        rate = sampling_rate()
        settings = SpoolSettings.from_environment(folder=spool_dir)
        destination: Destination | HandedOver | None = None
        if not tracing_is_off():
            destination = resolve_here(
                api_key=api_key, endpoint=endpoint, project=project, workspace=workspace, headers=headers
            )
            # An error that an application raises can quote what it delivers with, or could.
            masking.know({*destination.secrets, *filter(None, (api_key, variable(os.environ, "API_KEY")))})
        super().__init__(destination, settings.shutdown_timeout, meter_provider)
        self._leaves_encoding = isinstance(destination, HandedOver)
        self._rate = rate
        self._everything = export == "all"
        self._spool_settings = settings

    def _build(self, parts: type[Parts]) -> Pipeline:
        if isinstance(self.destination, HandedOver):
            return parts.to_spool(
                self.destination, self._spool_settings, self._privacy, self._clock, self._rate
            )
        assert isinstance(self.destination, Destination)  # noqa: S101  where there is none nothing opens
        return parts.to_backend(
            self.destination, self._spool_settings, self._privacy, self._clock, self._rate
        )


def processors_of(provider: TracerProvider) -> Iterator[ConversationSpanProcessor]:
    """The processors of ours that `provider` has."""
    # There is no public way to ask a provider for its processors.
    active = getattr(provider, "_active_span_processor", None)
    for processor in getattr(active, "_span_processors", ()):
        if isinstance(processor, ConversationSpanProcessor):
            yield processor
