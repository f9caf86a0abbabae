"""How much is kept in a folder, and for how long."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.delivery.spool.settings import SpoolSettings, number, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The variable that names the folder.
VARIABLE = "VOICESPAN_FOLDER"
_MAX_BYTES = 1 << 30
_MAX_AGE_DAYS = 7


@dataclass(frozen=True)
class FolderSettings:
    """Where conversations are kept, how many bytes of them, for how many seconds."""

    folder: Path
    max_bytes: int = _MAX_BYTES
    max_age: float = _MAX_AGE_DAYS * 86_400.0
    #: Seconds that an exiting process waits.
    shutdown_timeout: float = 30.0

    @classmethod
    def from_environment(
        cls, folder: str | os.PathLike[str], environ: Mapping[str, str] = os.environ
    ) -> FolderSettings:
        """Read VOICESPAN_FOLDER_MAX_BYTES, VOICESPAN_FOLDER_MAX_AGE (days) and VOICESPAN_SHUTDOWN_TIMEOUT."""
        return cls(
            resolved(Path(folder)),
            int(number(environ, "VOICESPAN_FOLDER_MAX_BYTES", _MAX_BYTES)),
            number(environ, "VOICESPAN_FOLDER_MAX_AGE", _MAX_AGE_DAYS) * 86_400.0,
            SpoolSettings.from_environment(environ).shutdown_timeout,
        )

    def as_spool(self) -> SpoolSettings:
        """As what writes the conversations takes it. There is no other place to go to."""
        return SpoolSettings(self.folder, None, self.max_bytes, self.shutdown_timeout)


def named_folder(environ: Mapping[str, str] = os.environ) -> str | None:
    """The folder that VOICESPAN_FOLDER names; None: none."""
    return environ.get(VARIABLE, "").strip() or None
