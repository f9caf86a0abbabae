"""The pipelines that there are: to a backend, and into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.delivery.export import late_recordings
from voicespan.delivery.export.http_client import HttpClient
from voicespan.delivery.export.uploader import Uploader
from voicespan.delivery.folder import call_writer
from voicespan.delivery.folder.call_folders import CallFolders
from voicespan.delivery.folder.call_writer import CallWriter
from voicespan.delivery.pipeline import Pipeline, Target
from voicespan.delivery.spool.spool import Spool

if TYPE_CHECKING:
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.folder_destination import FolderDestination
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.folder.settings import FolderSettings
    from voicespan.delivery.spool.settings import SpoolSettings
    from voicespan.runtime.clock import Clock


def to_backend(
    destination: Destination,
    settings: SpoolSettings,
    privacy: Privacy,
    clock: Clock,
    sample_rate: float | None,
) -> Pipeline:
    """A pipeline that sends conversations to LangSmith or to a Collector."""
    http = HttpClient(destination, clock)
    encoder = SpanEncoder(privacy, marked=destination.through_collector, sample_rate=sample_rate)
    target = Target(destination, Uploader(destination, http, clock, privacy), late_recordings.join, http)
    return Pipeline(target, Spool(settings, clock), encoder, privacy, clock)


def to_folder(
    destination: FolderDestination, settings: FolderSettings, privacy: Privacy, clock: Clock
) -> Pipeline:
    """A pipeline that keeps conversations in a folder."""
    folders = CallFolders(settings, clock)
    writer = CallWriter(folders, clock, hide_metadata=privacy.hide_metadata)
    target = Target(destination, writer, call_writer.join_late)
    return Pipeline(target, folders, SpanEncoder(privacy), privacy, clock)
