"""A folder that waits for its turn, or is being delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.delivery.export.responses import BackOff
    from voicespan.delivery.spool.folder import Folder


@dataclass
class ExportJob:
    """A folder that is to be delivered."""

    name: str
    #: None: it is in memory only. A text, since a path is two objects, and hundreds of these may wait.
    path: str | None
    #: Its conversation ended in this process, which waits for it when it exits.
    mine: bool
    back_off: BackOff
    #: Held while others must not or cannot work on it.
    folder: Folder | None = None
    #: One of our threads works on it.
    in_progress: bool = False
    #: The name of the folder that it was found to wait for.
    after: str | None = None
    #: Monotonic seconds.
    not_before: float = 0.0

    #: It has to wait, and its files are safe from a power cut.
    is_synced: bool = False

    @property
    def is_in_memory(self) -> bool:
        """Whether no disk has taken it whole."""
        return self.folder is not None and not self.folder.files.all_on_disk
