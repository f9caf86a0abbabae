"""Where conversations wait on the disk, how much of them, and how long an exiting process waits."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.runtime.settings import flag

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger("voicespan")

#: How much may wait on the disk, where nobody says otherwise.
MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class SpoolSettings:
    """How much may wait where, and for how long an exiting process waits."""

    folder: Path
    #: Where to go if that cannot be written; None: nowhere.
    temporary: Path | None
    max_bytes: int = MAX_BYTES
    shutdown_timeout: float = 30.0
    #: Conversations are shown in LangSmith while they are going on.
    live: bool = False
    #: The figures of a conversation become feedback in LangSmith.
    feedback: bool = False

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, folder: str | os.PathLike[str] | None = None
    ) -> SpoolSettings:
        """Read VOICESPAN_SPOOL_DIR, VOICESPAN_SPOOL_MAX_BYTES, VOICESPAN_SHUTDOWN_TIMEOUT, VOICESPAN_LIVE and VOICESPAN_FEEDBACK."""
        named = folder or environ.get("VOICESPAN_SPOOL_DIR", "").strip()
        return cls(
            folder=resolved(Path(named) if named else _state_folder(environ)),
            temporary=_temporary_folder(),
            max_bytes=int(number(environ, "VOICESPAN_SPOOL_MAX_BYTES", MAX_BYTES)),
            shutdown_timeout=number(environ, "VOICESPAN_SHUTDOWN_TIMEOUT", 30.0),
            live=flag(environ, "VOICESPAN_LIVE", default=False),
            feedback=flag(environ, "VOICESPAN_FEEDBACK", default=False),
        )


def number(environ: Mapping[str, str], name: str, default: float) -> float:
    """The number that a variable holds, or `default` and a line in the log if it holds none."""
    value = environ.get(name, "").strip()
    try:
        number = float(value) if value else default
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e18:  # noqa: PLR2004
        _logger.warning("voicespan: %s has a value that it does not know; using %d", name, default)
        return default
    return number


def _state_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):  # noqa: PTH117  "" is no path
        return Path(named) / "voicespan" / "spool"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or tempfile.gettempdir()) / "voicespan" / "spool"
    try:
        home = Path.home()
    except RuntimeError:
        return _temporary_folder()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "voicespan" / "spool"
    return home / ".local" / "state" / "voicespan" / "spool"


def resolved(folder: Path) -> Path:
    """The folder itself, wherever links and `~` lead."""
    # Unlike `Path`'s methods these do not raise where there is no home, or where links lead in a circle.
    return Path(os.path.realpath(os.path.expanduser(folder)))  # noqa: PTH111


def _temporary_folder() -> Path:
    # One level only: whoever owns a folder in between could swap what is below it.
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"voicespan-{user}"
