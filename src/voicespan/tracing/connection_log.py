"""The connections of one conversation: how many there were, what they carried, when there was none.

That a connection opens or closes is an event only where it says more than the root's own begin
and end: in a scope, and from the second connection on. So the first one's events are kept until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.content.truncation import cut_text
from voicespan.protocol.events import (
    ConnectionClosed,
    ConnectionOpened,
    ProviderEvent,
    SpeechStarted,
    SpeechStopped,
)
from voicespan.tracing.sessions import SessionOver, SessionSwitched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicespan.protocol.events import Event
    from voicespan.tracing.connection import Connection


class ConnectionLog:
    """Not thread-safe: the conversation's lock is held."""

    def __init__(self, *, scoped: bool, began_at: int) -> None:
        """`scoped`: whether a single connection is worth telling of; `began_at`: when the conversation did."""
        self.live: list[Connection] = []
        self.reconnects = 0
        self._kept: list[Event] | None = None if scoped else []
        self._past = 0
        self._frames = (0, 0, 0)  # received, sent and unsent, on those that are over
        self._sockets = 0
        #: When the first one opened, in monotonic nanoseconds; without one, when the conversation began.
        self.first_at = began_at
        self._numbers: dict[Connection, tuple[int, int]] = {}
        self._none_since: int | None = None
        self._close: dict[str, Any] = {}
        #: The session that was said last.
        self._session: str | None = None

    @property
    def are_over(self) -> bool:
        """Whether there were connections, and there is none."""
        return self._past > 0 and not self.live

    def opened(self, connection: Connection, at: int, facts: dict[str, Any]) -> list[Event]:
        """A connection is open. As all of these: returns its events."""
        self.live.append(connection)
        return self._opened(connection, at, facts)

    def reopened(self, connection: Connection, at: int) -> list[Event]:
        """The SDK has opened a new socket behind the same connection."""
        self.reconnects += 1
        closed = self._closed(connection, at if connection.lost_at is None else connection.lost_at)
        if len(self.live) == 1:
            self._none_since = connection.lost_at
        return closed + self._opened(connection, at, {})

    def find_session(self, connection: Connection) -> None:
        """`connection` has a session; what the first of its connections reports holds for all of them."""
        connection.beside = (
            next(
                (
                    each
                    for each in self.live[: self.live.index(connection)]
                    if each.session_id == connection.session_id and not each.superseded
                ),
                None,
            )
            if connection in self.live
            else None
        )

    def seen_on(self, connection: Connection, events: Sequence[Event]) -> Sequence[Event]:
        """What of `events`, which came on this connection, is to be told: where its session is another one, that first."""
        if connection.beside is not None:
            events = self._without_repeated(events, connection)
        if connection.session_id == self._session or not events:
            return events
        self._session = connection.session_id
        return [SessionSwitched(events[0].at, "session", self._session), *events]

    @staticmethod
    def _without_repeated(events: Sequence[Event], connection: Connection) -> Sequence[Event]:
        """What the server does not say on the other connection of the session as well.

        Turns, transcripts and function calls are known by their ids, and each counts once, whichever connection reports it first.
        """
        beside = connection.beside
        if beside is None or beside.ended or beside.loss is not None:
            return events
        return [
            event
            for event in events
            if not isinstance(event, (SpeechStarted, SpeechStopped))
            and (not isinstance(event, ProviderEvent) or event.from_client)
        ]

    def closed(self, connection: Connection, at: int) -> list[Event]:
        """A connection is over."""
        self.live.remove(connection)
        self._past += 1
        received, sent, unsent = self._frames
        self._frames = (
            received + connection.frames_received,
            sent + connection.frames_sent,
            unsent + connection.frames_unsent,
        )
        self._close = _close_facts(connection)
        if not self.live:
            self._none_since = at
        return self._closed(connection, at)

    def close(self) -> None:
        """The conversation is over, whatever still comes on them."""
        for connection in self.live:
            connection.stop()
        self.live.clear()
        self._numbers.clear()

    def facts(self) -> dict[str, Any]:
        """For the root."""
        received, sent, unsent = self._frames
        return {
            "connection_count": self._past + len(self.live),
            "reconnect_count": self.reconnects or None,
            "event_count": received
            + sent
            + sum(each.frames_received + each.frames_sent for each in self.live),
            "frames_unsent": (unsent + sum(each.frames_unsent for each in self.live)) or None,
            **self._close,
        }

    def _opened(self, connection: Connection, at: int, facts: dict[str, Any]) -> list[Event]:
        self._sockets += 1
        if self._sockets == 1:
            self.first_at = at
        self._numbers[connection] = (self._sockets, at)
        gap = None if self._none_since is None else round((at - self._none_since) / 1e6, 3)
        self._none_since = None
        opened = ConnectionOpened(
            at, "connection_opened", {"connection": self._sockets, "gap_ms": gap, **facts}
        )
        if self._session is None:
            return self._note(opened)
        self._session = None
        return [SessionSwitched(at, "session", None), *self._note(opened)]

    def _closed(self, connection: Connection, at: int) -> list[Event]:
        number, opened_at = self._numbers.pop(connection, (self._sockets, at))
        facts = {
            "connection": number,
            "realtime_session_id": connection.session_id,
            "abnormal": connection.closed_abnormally,
            "duration_s": round((at - opened_at) / 1e9, 6),
            **_close_facts(connection),
        }
        closed = self._note(ConnectionClosed(at, "connection_closed", facts))
        shared = any(
            each is not connection and each.session_id == connection.session_id for each in self.live
        )
        return closed if shared else [*closed, SessionOver(at, "session", connection.session_id)]

    def _note(self, event: Event) -> list[Event]:
        if self._kept is not None and self._sockets <= 1:
            self._kept.append(event)
            return []
        kept, self._kept = self._kept, None
        return [*(kept or ()), event]


def _close_facts(connection: Connection) -> dict[str, Any]:
    return {
        "close_code": connection.close_code,
        "close_reason": cut_text(connection.close_reason, 200) if connection.close_reason else None,
    }
