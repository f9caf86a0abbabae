"""How the commands name what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicespan.delivery.spool.spool import folder_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def destination_name(destination: Mapping[str, str | None]) -> str:
    """The project, the workspace and the URL that a folder or a destination has."""
    parts = [f"project {destination['project']}"] if destination.get("project") else []
    if destination.get("workspace"):
        parts.append(f"workspace {destination['workspace']}")
    return ", ".join([*parts, str(destination.get("url") or "nowhere")])


def age(seconds: float) -> str:
    """In the largest unit that there are two of."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(path: Path) -> str:
    """How much a folder holds."""
    return f"{folder_size(path) / 1e6:.1f} MB"


def count(number: int, what: str) -> str:
    """`1 folder`, `2 folders`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
