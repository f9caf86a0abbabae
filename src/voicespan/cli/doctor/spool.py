"""The spool: where it is, whether it can be written, and how full it is.

Nothing is changed: what is made, to see whether that works, is removed again, and a folder that is not
there yet is not made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from voicespan.cli.doctor import backlog
from voicespan.cli.doctor.findings import note, ok, problem, warning
from voicespan.delivery.spool.spool import MEMORY_BYTES, Spool, bound, folder_size, own_place, probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicespan.cli.doctor.backlog import Waiting
    from voicespan.cli.doctor.findings import Fact, Finding, Surroundings
    from voicespan.delivery.spool.settings import SpoolSettings

#: What is written to see whether it can be: more than a file system keeps in its directory.
_SOMETHING = b"\0" * 8192
#: From this share on it is told that the spool is nearly full.
_NEARLY_FULL = 0.8


def look(surroundings: Surroundings) -> Iterator[Finding]:
    """Where, whether, how full, and for whom."""
    settings = surroundings.spool
    place, unusable = _place(settings)
    yield from unusable
    if place is None:
        yield problem(
            "spool.memory",
            f"there is no disk for conversations: {MEMORY_BYTES // 1_000_000} MB of memory stand in, nothing is "
            "recorded, and what is not delivered at exit is lost",
            "set VOICESPAN_SPOOL_DIR to a folder on a volume",
        )
        return
    yield from _usable(place, settings)
    folders = backlog.folders_of(Spool(settings, surroundings.clock))
    yield _fullness(place, settings, folders)
    yield from backlog.look(folders, surroundings)


# Where, and whether it can be written.


def _place(settings: SpoolSettings) -> tuple[Path | None, Sequence[Finding]]:
    """The first place that can be used, and what is wrong with those before it."""
    wrong: list[Finding] = []
    for place in filter(None, (own_place(settings), settings.temporary)):
        why = _why_not(place)
        if why is None:
            return place, wrong
        wrong.append(
            problem(
                "spool.writable",
                f"{place} cannot be used: {why}",
                "set VOICESPAN_SPOOL_DIR to a folder of this user's, on a disk with room",
                folder=str(place),
                reason=why,
            )
        )
    return None, wrong


def _why_not(place: Path) -> str | None:
    """Why it cannot be used, if so; where it is not there yet, as far as what it would be made in tells."""
    holder = _existing(place)
    try:
        if holder == place:
            probe(place)
        with tempfile.NamedTemporaryFile(dir=holder, prefix=".probe-") as file:
            file.write(_SOMETHING)
            file.flush()
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _existing(place: Path) -> Path:
    """It, or the nearest above it that is there."""
    return next((each for each in (place, *place.parents) if os.path.lexists(each)), place)


def _usable(place: Path, settings: SpoolSettings) -> Iterator[Finding]:
    check, there = "spool.folder", place.exists()
    facts: dict[str, Fact] = {"folder": str(place), "exists": there}
    if place == settings.temporary and place != settings.folder:
        yield warning(
            check,
            f"{place}, among the temporary files, is used instead: a restart may empty it",
            "make the folder above usable, or set VOICESPAN_SPOOL_DIR",
            **facts,
        )
    elif place != settings.folder:
        yield note(check, f"{place} is used, as others can write to the folder above it", **facts)
    else:
        yield ok(
            check, f"{place} {'can be written' if there else 'is not there yet and can be made'}", **facts
        )
    yield from _owner(place)
    if _is_lost_with_container(_existing(place)):
        yield note(
            "spool.container",
            "it lies in the container's own layer: what waits there is gone with the container",
            "put VOICESPAN_SPOOL_DIR on a volume",
        )


def _owner(place: Path) -> Iterator[Finding]:
    """Root may look into anybody's spool, but what it makes there is its own."""
    if hasattr(os, "getuid") and place.exists() and place.stat().st_uid != os.getuid():
        yield warning(
            "spool.owner",
            f"it belongs to user {place.stat().st_uid}, and this is user {os.getuid()}",
            "run this as the application's user (docker exec -u): each user has a spool of its own",
            owner=place.stat().st_uid,
        )


def _is_lost_with_container(place: Path) -> bool:
    if os.name != "posix" or not any(Path(sign).exists() for sign in ("/.dockerenv", "/run/.containerenv")):
        return False
    # A volume is another device than the layer.
    return place.stat().st_dev == Path("/").stat().st_dev


# How full.


def _fullness(place: Path, settings: SpoolSettings, folders: Sequence[Waiting]) -> Finding:
    used = sum(folder_size(folder.path) for folder in folders)
    free = shutil.disk_usage(_existing(place)).free
    most = bound(settings.max_bytes, used, free)
    share = used / most if most else 1.0
    facts = {"used_bytes": used, "max_bytes": most, "free_bytes": free}
    text = f"{_bytes(used)} of {_bytes(most)} used ({share:.0%}), {_bytes(free)} free on the disk"
    if share >= _NEARLY_FULL:
        return problem(
            "spool.fullness",
            f"{text}: when it is full nothing new is recorded, and spans are dropped",
            "send what waits (voicespan recover), free the disk, or raise VOICESPAN_SPOOL_MAX_BYTES above its "
            "default (at most half of the free disk counts then, and a tenth otherwise)",
            **facts,
        )
    return ok("spool.fullness", text, **facts)


def _bytes(size: int) -> str:
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} B"
