"""What delivery asks of recordings: repair after a kill, and a smaller encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.langsmith.folder import RECORDING, Settled

if TYPE_CHECKING:
    from voicespan.langsmith.folder import Folder


def recovered(folder: Folder) -> Settled:
    """What a process that died left of its recording."""
    names = [name for name in folder.files.names() if name.startswith(f"{RECORDING}.")]
    return Settled("attached", names[0], "audio/flac") if names else Settled("none")


def smaller(folder: Folder, settled: Settled) -> Settled | None:
    """The recording in a smaller encoding; None: there is none."""
    del folder, settled
    return None
