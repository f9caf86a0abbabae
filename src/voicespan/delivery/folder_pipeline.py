"""The pipeline that keeps conversations in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import SpanEncoder
from voicespan.delivery.export.scheduler import ExportScheduler
from voicespan.delivery.folder import call_writer
from voicespan.delivery.folder.call_folders import CallFolders
from voicespan.delivery.folder.call_writer import CallWriter
from voicespan.delivery.pipeline import Pipeline, Target

if TYPE_CHECKING:
    from voicespan.delivery.destination.folder_destination import FolderDestination
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.folder.settings import FolderSettings
    from voicespan.runtime.clock import Clock


def to_folder(
    destination: FolderDestination, settings: FolderSettings, privacy: Privacy, clock: Clock
) -> Pipeline:
    """A pipeline that keeps conversations in a folder."""
    folders = CallFolders(settings, clock)
    scheduler = folder_scheduler(destination, folders, privacy, clock)
    target = Target(destination, scheduler, call_writer.join_late)
    return Pipeline(target, folders, SpanEncoder(privacy, renamed=False), clock)


def folder_scheduler(
    destination: FolderDestination, folders: CallFolders, privacy: Privacy, clock: Clock
) -> ExportScheduler:
    """What finishes the directories of a folder."""
    writer = CallWriter(folders, clock, hide_metadata=privacy.hide_metadata)
    return ExportScheduler(folders, destination, writer, clock, privacy)
