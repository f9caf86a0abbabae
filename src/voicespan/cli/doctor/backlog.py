"""What waits in the spool: how much of it is this environment's to send, since when, why, and what is not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from voicespan.cli.doctor.findings import note, ok, warning
from voicespan.cli.doctor.masked_output import public_url
from voicespan.delivery.destination.destination import Destination
from voicespan.delivery.destination.handed_over import HandedOver
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.spool import secure_file
from voicespan.delivery.spool.folder import PROGRESS, SETTLED, is_held, read_meta
from voicespan.delivery.spool.locks import KEPT
from voicespan.delivery.spool.recovery_command import recover_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from voicespan.cli.doctor.findings import Finding, Surroundings
    from voicespan.delivery.spool.meta import Meta
    from voicespan.delivery.spool.spool import Spool

#: The most bytes that are read of a file with a folder's state.
_MOST_FACTS = 1 << 24


class Waiting(NamedTuple):
    """A folder of the spool."""

    path: Path
    meta: Meta | None

    @property
    def kept(self) -> bool:
        return self.path.name.startswith(KEPT)


def folders_of(spool: Spool) -> list[Waiting]:
    """Everything that waits, and what is only kept."""
    return [Waiting(path, read_meta(path)) for path in (*spool.waiting(), *spool.kept())]


def look(folders: Sequence[Waiting], surroundings: Surroundings) -> Iterator[Finding]:
    """Findings about them."""
    if not folders:
        yield ok("spool.waiting", "nothing waits", waiting=0)
        return
    here = surroundings.destination
    now = surroundings.clock.time_ns() / 1e9
    own = [
        folder
        for folder in folders
        if folder.meta is not None and _is_for(folder.meta, here) and not folder.kept
    ]
    yield from _own(
        own,
        now,
        "" if here is None else public_url(here.url),
        is_handed_over=isinstance(here, HandedOver),
    )
    yield from _kept([folder for folder in folders if folder.kept])
    others = [folder for folder in folders if folder not in own and not folder.kept]
    yield from _others([folder.meta for folder in others if folder.meta is not None], surroundings)
    unknown = sum(folder.meta is None for folder in others)
    if unknown:
        yield note(
            "spool.unknown", f"{_count(unknown)} of another version of voicespan, or damaged", folders=unknown
        )


def _own(folders: Sequence[Waiting], now: float, url: str, *, is_handed_over: bool) -> Iterator[Finding]:
    """What waits for the destination of this environment, which is at `url`."""
    if not folders:
        return
    oldest = max(now - folder.meta.started_at / 1e9 for folder in folders if folder.meta is not None)
    states = Counter(_state(folder) for folder in folders)
    text = ", ".join(f"{count} {state}" for state, count in states.most_common())
    facts = {"waiting": len(folders), "oldest_seconds": round(oldest)}
    text = f"{_count(len(folders))} for this destination, {url}, the oldest {_age(oldest)} old: {text}"
    if set(states) <= {_OPEN, _HELD}:
        yield ok("spool.waiting", text, **facts)
    else:
        yield warning(
            "spool.waiting",
            text,
            "is voicespan deliver running? now: voicespan deliver --once"
            if is_handed_over
            else "the next process with a conversation sends them, or: voicespan recover",
            **facts,
        )


_OPEN, _HELD = "open", "being sent"


def _state(folder: Waiting) -> str:
    """Why it is still here, in few words."""
    held = is_held(folder.path)
    settled = (folder.path / SETTLED).exists() or (folder.meta is not None and folder.meta.standalone)
    if not settled:
        return _OPEN if held else "of a process that died"
    progress = DeliveryState.of(_content(folder.path, PROGRESS))
    if progress.reason:
        return f"waiting after {progress.reason}"
    return _HELD if held else "waiting"


def _kept(folders: Sequence[Waiting]) -> Iterator[Finding]:
    if folders:
        refused = sum(
            DeliveryState.of(_content(folder.path, PROGRESS)).root_refused is not None for folder in folders
        )
        yield warning(
            "spool.kept",
            f"{_count(len(folders))} set aside: {refused} refused, {len(folders) - refused} with a recording that "
            "was not attached",
            "voicespan spool says why; they stay until their room is needed",
            folders=len(folders),
            refused=refused,
        )


def _others(metas: Sequence[Meta], surroundings: Surroundings) -> Iterator[Finding]:
    """What this environment does not send, and what does."""
    here = surroundings.destination
    counted: Counter[tuple[bool, tuple[tuple[str, str | None], ...]]] = Counter()
    handed_over = [meta for meta in metas if HandedOver.read(meta.destination) is not None]
    if handed_over:
        yield note(
            "spool.handed_over",
            f"{_count(len(handed_over))} for voicespan deliver, which sends them",
            folders=len(handed_over),
        )
    for meta in metas:
        if meta in handed_over:
            continue
        same_but_key = here is not None and here.is_named(meta.destination, new_key=True)
        named = tuple((name, meta.destination.get(name)) for name in ("url", "project", "workspace"))
        counted[same_but_key, named] += 1
    for (same_but_key, named), count in counted.items():
        place = dict(named)
        url = public_url(place["url"] or "")
        project = f"project {place['project']}, " if place["project"] else ""
        text = f"{_count(count)} for {'another key of' if same_but_key else ''} {project}{url}".replace(
            "  ", " "
        )
        command = (
            "voicespan recover --new-key" if same_but_key else _command(place, surroundings.spool.folder)
        )
        yield warning(
            "spool.other_destination",
            text,
            _who_sends(command, place, same_but_key=same_but_key),
            folders=count,
            url=url,
            project=place["project"],
            command=command,
        )


def _who_sends(command: str, place: Mapping[str, str | None], *, same_but_key: bool) -> str:
    if same_but_key:
        return f"if the key was replaced: {command}"
    # A Collector wants none.
    return f"{'to send them' if place['project'] is None else 'with a key for it'}: {command}"


def _command(place: Mapping[str, str | None], spool_dir: Path) -> str:
    """What sends it from an environment like this one."""
    url = place["url"] or ""
    if place["project"] is None:
        return f"VOICESPAN_ENDPOINT={url} voicespan recover"
    wanted = Destination(url, place["project"], place["workspace"], (), None)
    return recover_command(wanted, spool_dir)


def _is_for(meta: Meta, here: Destination | HandedOver | None) -> bool:
    return here is not None and here.is_named(meta.destination)


def _content(path: Path, name: str) -> bytes | None:
    try:
        return secure_file.read(path, name, _MOST_FACTS)
    except OSError:
        return None


def _count(folders: int) -> str:
    return f"{folders} conversation{'' if folders == 1 else 's'}"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
