"""The span processor that keeps conversations in a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from voicespan.delivery.conversation_processor import ConversationSpanProcessor
from voicespan.delivery.destination.folder_destination import FolderDestination
from voicespan.delivery.folder.call_folders import call_name
from voicespan.delivery.folder.settings import FolderSettings
from voicespan.delivery.spool.spool import own_place

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.metrics import MeterProvider

    from voicespan.delivery.parts import Parts
    from voicespan.delivery.pipeline import Pipeline
    from voicespan.delivery.traces import Trace


class FolderSpanProcessor(ConversationSpanProcessor):
    """Keeps the traces of conversations, with their recordings, in a folder: a directory for each.

    Add it to a `TracerProvider`, beside whatever other processors there are. A directory has `spans.jsonl` (OTLP JSON,
    a line for some spans), `conversation.json` (ids, times, status, metadata and figures, what became of the
    recording) and `recording.ogg` (or what VOICESPAN_RECORDING_FORMAT says). While a call runs its name begins with a
    dot; complete, it is renamed in one step. The oldest go when there are more than VOICESPAN_FOLDER_MAX_BYTES (1 GiB)
    or they are older than VOICESPAN_FOLDER_MAX_AGE (7 days).

    Args:
        path: The folder. It is made, for this user alone, when the first conversation opens.
        meter_provider: As for `LangSmithSpanProcessor`.
    """

    def __init__(self, path: str | os.PathLike[str], *, meter_provider: MeterProvider | None = None) -> None:
        self._settings = FolderSettings.from_environment(os.fspath(path))
        #: Where the directories are made, once it was looked at.
        self._place: Path | None = None
        super().__init__(
            FolderDestination(self._settings.folder), self._settings.shutdown_timeout, meter_provider
        )

    def _kept_in(self, trace: Trace) -> str | None:
        if self._place is None:
            self._place = own_place(self._settings.as_spool())
        return str(self._place / call_name(trace.started_at, trace.trace_id, trace.root_span_id))

    def _build(self, parts: type[Parts]) -> Pipeline:
        assert isinstance(self.destination, FolderDestination)  # noqa: S101  it is always one
        return parts.to_folder(self.destination, self._settings, self._privacy, self._clock)
