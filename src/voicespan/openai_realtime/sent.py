"""Messages that the application sent and the server has not shown yet.

Most services show an item that they take, with an id of their own. Some show none, and one that is refused
was never said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voicespan.openai_realtime import values
from voicespan.protocol.events import LocalId

#: So many wait: far more than an application sends between two responses.
_MOST = 256


@dataclass(slots=True)
class Sent:
    """One of them."""

    at: int
    event_id: str | None
    item: dict[str, Any]
    item_id: str
    text: str


class SentMessages:
    """Those of one connection, in the order in which they were sent."""

    def __init__(self) -> None:
        self._waiting: tuple[Sent, ...] = ()

    def add(self, event: dict[str, Any], item: dict[str, Any], at: int) -> None:
        """The application sent `item` in `event`."""
        if len(self._waiting) < _MOST:
            item_id = values.name(item.get("id")) or LocalId.new("sent")
            sent = Sent(at, values.name(event.get("event_id")), item, item_id, values.item_text(item))
            self._waiting += (sent,)

    def shown(self, item: dict[str, Any]) -> bool:
        """Whether the application sent this message, which the server shows now."""
        item_id, text, role = item.get("id"), values.item_text(item), item.get("role")
        for sent in self._waiting:
            if sent.item_id == item_id or (sent.item.get("role") == role and sent.text == text):
                self._waiting = tuple(other for other in self._waiting if other is not sent)
                return True
        return False

    def refused(self, event_id: str) -> None:
        """The server did not take the event with this id."""
        self._waiting = tuple(sent for sent in self._waiting if sent.event_id != event_id)

    def taken(self) -> tuple[Sent, ...]:
        """All that are neither shown nor refused: a response begins, and they are part of its input."""
        taken, self._waiting = self._waiting, ()
        return taken
