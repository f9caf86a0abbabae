"""A folder of the user's, where conversations are kept instead of sent."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the metadata of a conversation that is kept says of its destination. No path: the folder may be moved.
_NAMED: dict[str, str | None] = {"kept": "here"}


class Shown(Protocol):
    """A destination, as far as a line of ours names it."""

    @property
    def shown(self) -> str:
        """What a line of ours calls it."""
        ...


@dataclass(frozen=True)
class FolderDestination:
    """The folder that conversations are kept in, a directory for each."""

    path: Path
    through_collector = False

    @property
    def shown(self) -> str:
        """What a line of ours calls it."""
        return str(self.path)

    @property
    def secrets(self) -> set[str]:
        """What must not appear in any text that we write: nothing."""
        return set()

    def named(self, salt: bytes) -> dict[str, str | None]:  # noqa: ARG002  there is no key to tell from others
        """What a conversation's own directory says of its destination."""
        return dict(_NAMED)

    def is_named(self, by: Mapping[str, Any], *, new_key: bool = False) -> bool:  # noqa: ARG002
        """Whether a directory is kept here."""
        return is_kept(by)


def not_delivered(destination: Shown) -> str:
    """What a line of ours says of a conversation that a destination has not."""
    return f"not {'written' if isinstance(destination, FolderDestination) else 'sent'} to {destination.shown}"


def is_kept(named: Mapping[str, Any]) -> bool:
    """Whether a conversation's metadata names a folder of the user's as its destination."""
    return dict(named) == _NAMED


def default_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where conversations are kept if nobody says where: in the user's data directory. None: there is no home."""
    named = environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(named):  # noqa: PTH117  "" is no path
        return Path(named) / "voicespan" / "calls"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "voicespan" / "calls"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "voicespan" / "calls"
    return home / ".local" / "share" / "voicespan" / "calls"
