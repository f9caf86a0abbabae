"""What `progress.json` says of a conversation whose runs are created while it is going on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: So many ids of spans that never came are remembered; the next one is looked for each time.
_MOST_ABSENT = 1000


@dataclass
class LiveRuns:
    """Which runs were created, and where what comes after them stands."""

    #: The root's span id, hexadecimal.
    root: str
    project: str
    #: By span id: the runs that are created before their spans have ended, as they are created.
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: By span id: the dotted order of runs that other folders create.
    known: dict[str, str] = field(default_factory=dict)
    #: The ids of spans that others name as their parents and that never came: what is below them is below the root.
    absent: list[str] = field(default_factory=list)

    def is_sound(self) -> bool:
        """Whether everything is of its kind."""
        return (
            isinstance(self.root, str)
            and isinstance(self.opened, dict)
            and isinstance(self.known, dict)
            and isinstance(self.project, str)
            and all(isinstance(order, str) for order in self.known.values())
            and isinstance(self.absent, list)
            and all(isinstance(span_id, str) for span_id in self.absent)
            and all(
                isinstance(run, dict) and isinstance(run.get("dotted_order"), str)
                for run in self.opened.values()
            )
        )

    def has(self, span_id: str) -> bool:
        """Whether a run that stands below that of `span_id` has where to stand; also if that never comes."""
        return span_id in ("", self.root) or self.order_of(span_id) is not None or span_id in self.absent

    def leave_out(self, span_id: str) -> None:
        """Nobody has this span."""
        if len(self.absent) < _MOST_ABSENT:
            self.absent.append(span_id)

    def order_of(self, span_id: str) -> str | None:
        """The dotted order of a run that was created; None: it is not known to be."""
        opened = self.opened.get(span_id)
        return self.known.get(span_id) if opened is None else str(opened["dotted_order"])
