"""The pipeline that leaves conversations in the spool, for another process to send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.delivery.export import late_recordings
from voicespan.delivery.export.spool_handover import SpoolHandover
from voicespan.delivery.pipeline import Pipeline, Target
from voicespan.delivery.spool.meta import Terms
from voicespan.delivery.spool.spool import Spool
from voicespan.runtime.settings import Settings

if TYPE_CHECKING:
    from voicespan.delivery.destination.handed_over import HandedOver
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.spool.settings import SpoolSettings
    from voicespan.runtime.clock import Clock


def to_spool(
    destination: HandedOver,
    settings: SpoolSettings,
    privacy: Privacy,
    clock: Clock,
    sample_rate: float | None,
) -> Pipeline:
    """A pipeline that leaves conversations in the spool, for `voicespan deliver`."""
    spool = Spool(settings, clock)
    encoder = SpanEncoder(privacy, marked=destination.through_collector, sample_rate=sample_rate)
    terms = Terms(
        Settings.from_environment().recording_format,
        privacy.hide_recording,
        privacy.hide_metadata,
        settings.live and destination.takes_runs,
        settings.feedback,
    )
    scheduler = SpoolHandover(spool, destination, clock)
    target = Target(destination, scheduler, late_recordings.join, terms=terms)
    return Pipeline(target, spool, encoder, clock)
