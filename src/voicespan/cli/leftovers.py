"""What `voicespan recover` leaves in the spool: whose it is, why it stays, and dropping what is old."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicespan.cli.text import age, count, destination_name, size
from voicespan.delivery.destination.folder_destination import not_delivered
from voicespan.delivery.destination.handed_over import HandedOver
from voicespan.delivery.export.folder_owners import FolderOwners
from voicespan.delivery.export.safe_text import printable
from voicespan.delivery.spool.folder import Folder, is_held, read_meta

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.spool.meta import Meta
    from voicespan.delivery.spool.spool import Spool
    from voicespan.runtime.clock import Clock

_DAY = 86_400
#: Characters of a line: a folder, a URL and the server's words.
_LONGEST = 8192


@dataclass(frozen=True)
class Leftover:
    """A folder that was not sent."""

    path: Path
    #: None: it cannot be read.
    meta: Meta | None
    why: str
    is_ours: bool = False
    #: Nobody works on it, as far as can be seen from here.
    is_free: bool = True

    @property
    def noun(self) -> str:
        """What it holds, where that is known."""
        return "folder" if self.meta is None or self.meta.standalone else "conversation"


class Leftovers:
    """Looks at what waits once the sending is over."""

    def __init__(self, folders: Spool, destination: Destination, clock: Clock, *, new_key: bool) -> None:
        self._folders = folders
        self._destination = destination
        self._clock = clock
        self._new_key = new_key
        self._owners = FolderOwners(folders, destination, clock, new_key=new_key)

    def find(self, unsent: Collection[str], reason: str | None) -> list[Leftover]:
        """Every folder that waits.

        Args:
            unsent: The names of those that this process has tried to send.
            reason: Why the last try failed, if it did.
        """
        why = f"{not_delivered(self._destination)}: {reason or 'there was no time left'}"
        return [self._of(path, why, is_tried=path.name in unsent) for path in self._folders.waiting()]

    def older_than(self, days: float, left: Iterable[Leftover]) -> list[Leftover]:
        """Those that may be dropped for their age."""
        now = self._clock.time_ns() / 1e9
        return [
            each
            for each in left
            if each.meta is not None and each.is_free and now - each.meta.started_at / 1e9 > days * _DAY
        ]

    def row(self, each: Leftover) -> str:
        """What a person has to know before it is dropped."""
        assert each.meta is not None  # noqa: S101  others are never dropped
        named = each.meta.thread_id or each.meta.trace_id or each.path.name
        old = age((self._clock.time_ns() - each.meta.started_at) / 1e9)
        return printable(f"{named}, {old} old, {size(each.path)}, {destination_name(each.meta.destination)}")

    def drop(self, each: Leftover) -> str:
        """Remove the folder for good, unless somebody has begun to work on it; what came of that."""
        row = self.row(each)
        try:
            folder = Folder.claim(each.path, self._folders.memory)
            if folder is None:
                return f"not dropped, in use by another process: {row}"
            folder.remove()
        except OSError as error:
            return f"not dropped ({error.strerror or 'it cannot be removed'}): {row}"
        return f"dropped: {row}"

    def _of(self, path: Path, unsent: str, *, is_tried: bool) -> Leftover:
        meta = read_meta(path)
        if meta is None:
            return Leftover(
                path, None, f"{path.name} cannot be read: not a folder of this version and this user"
            )
        if not self._destination.is_named(meta.destination, new_key=self._new_key):
            is_free = not is_held(path) and not self._owners.may_live_elsewhere(path)
            return Leftover(path, meta, self._whose(meta), is_free=is_free)
        if is_tried:
            return Leftover(path, meta, unsent, is_ours=True, is_free=not is_held(path))
        if is_held(path):
            busy = f"in use by another process ({meta.process} on {meta.host})"
            return Leftover(path, meta, busy, is_ours=True, is_free=False)
        if self._owners.may_live_elsewhere(path):
            busy = f"another machine ({meta.host}) may be working on it"
            return Leftover(path, meta, busy, is_ours=True, is_free=False)
        return Leftover(path, meta, unsent, is_ours=True)

    def _whose(self, meta: Meta) -> str:
        if self._destination.is_named(meta.destination, new_key=True):
            return "for another key; if it was replaced, add --new-key"
        if HandedOver.read(meta.destination) is not None:
            return f"for voicespan deliver, which sends it to {destination_name(meta.destination)}"
        return f"for another destination: {destination_name(meta.destination)}"


def lines(left: Iterable[Leftover]) -> Iterator[str]:
    """How many wait where and why, a line for each reason."""
    counted = Counter((each.noun, str(each.path.parent), each.why) for each in left)
    for (noun, folder, why), number in counted.items():
        yield printable(
            f"{count(number, noun)} {'waits' if number == 1 else 'wait'} in {folder}: {why}", _LONGEST
        )
