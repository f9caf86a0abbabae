"""Which of a service's sessions what comes belongs to. Said by the conversation, which knows its connections."""

from __future__ import annotations

from dataclasses import dataclass

from voicespan.protocol.events import Event


@dataclass(slots=True, eq=False, repr=False)
class SessionSwitched(Event):
    """What comes after this belongs to another session; None: to one that has no id, or to none."""

    session_id: str | None


@dataclass(slots=True, eq=False, repr=False)
class SessionOver(Event):
    """No connection of this session is left."""

    session_id: str | None
