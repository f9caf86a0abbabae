"""The pipeline that sends conversations to a backend."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.delivery.export import late_recordings
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.live import LiveSender
from voicespan.delivery.export.run_links import RunLinks
from voicespan.delivery.export.scheduler import ExportScheduler
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.pipeline import Pipeline, Target
from voicespan.delivery.spool.spool import Spool

if TYPE_CHECKING:
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.spool.settings import SpoolSettings
    from voicespan.runtime.clock import Clock


def to_backend(
    destination: Destination,
    settings: SpoolSettings,
    privacy: Privacy,
    clock: Clock,
    sample_rate: float | None,
) -> Pipeline:
    """A pipeline that sends conversations to LangSmith or to a Collector.

    Only LangSmith's own API takes runs one by one (`Destination.takes_runs`): elsewhere `settings.live` does nothing.
    """
    http = HttpClient(destination, clock)
    encoder = SpanEncoder(privacy, marked=destination.through_collector, sample_rate=sample_rate)
    is_live = settings.live and destination.takes_runs
    live = partial(LiveSender, destination.project or "", http, clock) if is_live else None
    spool = Spool(settings, clock)
    scored = http.project_id if settings.feedback else None
    links = RunLinks(destination, http.project)
    uploader = Uploader(destination, http, clock, privacy, scored_project=scored, links=links)
    scheduler = ExportScheduler(spool, destination, uploader, clock, privacy)
    target = Target(destination, scheduler, late_recordings.join, http, live)
    return Pipeline(target, spool, encoder, clock)
