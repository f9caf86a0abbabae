"""The directories of a folder that conversations are kept in: hidden while a call runs, named when it is complete.

A directory whose name begins with a dot is worked on like one of the spool, which has the same files in it, so that
what a killed process left is finished in the same way. A complete one has `spans.jsonl`, `conversation.json` and the
recording, and is only ever removed whole, the oldest first.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from voicespan.delivery.spool.folder import META, is_held
from voicespan.delivery.spool.spool import Spool, say_once, subfolders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voicespan.delivery.folder.settings import FolderSettings
    from voicespan.delivery.spool.meta import Meta
    from voicespan.runtime.clock import Clock

#: How the name of a call that is not complete begins.
RUNNING = "."
SPANS = "spans.jsonl"
CONVERSATION = "conversation.json"
RECORDING = "recording"
_NAME = re.compile(r"\d{8}T\d{6}-(?:[0-9a-f]{32}|spans)-[0-9a-f]{6}(?:-\d+)?")
_STARTED = "%Y%m%dT%H%M%S"


def call_name(started_at: int, trace_id: int, root_span_id: int) -> str:
    """What the directory of a complete conversation is called. `started_at`: wall clock, nanoseconds."""
    started = datetime.fromtimestamp(started_at / 1e9, tz=timezone.utc)
    return f"{started:{_STARTED}}-{trace_id:032x}-{root_span_id:016x}"[: 16 + 33 + 6]


def is_complete(path: Path) -> bool:
    """Whether `path` is the directory of a complete conversation."""
    return _NAME.fullmatch(path.name) is not None


def is_running(path: Path) -> bool:
    """Whether it is that of one that runs, or that a killed process left."""
    return path.name.startswith(RUNNING) and _NAME.fullmatch(path.name[len(RUNNING) :]) is not None


class CallFolders(Spool):
    """The folder of calls, as what a conversation is written to."""

    def __init__(self, settings: FolderSettings, clock: Clock) -> None:
        super().__init__(settings.as_spool(), clock)
        self._max_age = settings.max_age

    def name_of(self, meta: Meta) -> str:
        """What the directory of a conversation is called while it runs."""
        if meta.trace_id is None or meta.root_span_id is None:
            return RUNNING + super().name_of(meta)
        return RUNNING + call_name(meta.started_at, int(meta.trace_id, 16), int(meta.root_span_id, 16))

    def waiting(self) -> list[Path]:
        """Every conversation that is not complete; oldest first."""
        return sorted(path for path in self._everything() if is_running(path))

    def kept(self) -> list[Path]:
        """Every one that is; oldest first."""
        return sorted(path for path in self._everything() if is_complete(path))

    def tidy(self) -> None:
        """Remove what is too old or too much, and what killed processes left beside the three files."""
        super().tidy()
        complete = self.kept()
        oldest = self._clock.time_ns() / 1e9 - self._max_age
        for path in complete:
            if _started(path) >= oldest:
                break
            days = self._max_age / 86_400
            say_once(f"voicespan removes conversations older than {days:g} days from {path.parent}")
            shutil.rmtree(path, ignore_errors=True)
        for path in complete:
            if (path / META).exists() and not is_held(path):
                clear(path)
        self.make_room()

    def make_room(self) -> None:
        """Remove the oldest calls until there are no more bytes than there may be."""
        # Another thread chooses the place: who asks meanwhile gets None.
        if self._root is not None:
            self._look()
            self._forget_kept(self._limit)

    def _counts(self, path: Path) -> bool:  # noqa: ARG002
        # Nobody else's are here, and a complete one no longer says whose it is.
        return True

    def _say_forgotten(self, path: Path) -> None:
        say_once(f"voicespan removes the oldest conversations from {path.parent}, which is full")

    def _everything(self) -> Iterator[Path]:
        for place in self.places():
            yield from subfolders(place)


def clear(path: Path) -> None:
    """Remove what a complete conversation no longer needs: all that is not one of its three files."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path):  # noqa: PTH208  names, not paths
            if name not in (SPANS, CONVERSATION) and not name.startswith(f"{RECORDING}."):
                (path / name).unlink(missing_ok=True)


def _started(path: Path) -> float:
    written = path.name.split("-", 1)[0]
    return datetime.strptime(written, _STARTED).replace(tzinfo=timezone.utc).timestamp()
