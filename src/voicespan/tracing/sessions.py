"""The sessions that a service keeps for one conversation: which one a span belongs to, what it was told, its figures.

A conversation has one session for each of its connections, or fewer: a session can be resumed, and be on two
connections at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.content.masking import without_secrets
from voicespan.content.truncation import encode
from voicespan.protocol.events import Event, SessionDescribed
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from voicespan.content.policy import Content


@dataclass(slots=True, eq=False, repr=False)
class SessionSwitched(Event):
    """What comes after this belongs to another session; None: to one that has no id, or to none."""

    session_id: str | None


@dataclass(slots=True, eq=False, repr=False)
class SessionOver(Event):
    """No connection of this session is left."""

    session_id: str | None


#: What `Sessions.record` takes.
SESSION_EVENTS = (SessionDescribed, SessionSwitched, SessionOver)
_MOST_SESSIONS = 40
#: Bytes of the instructions, and of the definitions of tools: a span has other contents as well.
_LONGEST_REQUEST = 16_000
#: What nothing stands on a span for: no text, no tool, no limit.
_NONE = ("[]", 0)
_SESSION = "realtime_session_id"
_NAMED = (
    semconv.PROVIDER,
    semconv.REQUEST_MODEL,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.REALTIME_SESSION_ID,
)


class Sessions:
    """Of one conversation. Not thread-safe: the lifecycle's lock is held, but in `redacted`."""

    __slots__ = ("_content", "_facts", "_ids", "_keeps_request", "_request", "_unnamed", "_wall", "common")

    def __init__(self, content: Content, wall: Callable[[int], int], *, keeps_request: bool) -> None:
        """`keeps_request`: whether instructions and tools are kept for the generations (VOICESPAN_REQUEST)."""
        self._content = content
        self._wall = wall
        self._keeps_request = keeps_request
        self._ids: tuple[str, ...] = ()
        self._facts: dict[str, AttributeValue] = {}
        #: Those that began without an id, and are not over.
        self._unnamed = 0
        #: What stands on every span of the conversation, and of its current session.
        self.common: dict[str, AttributeValue] = {}
        #: What the model is given with each generation besides messages, as far as it is kept.
        self._request: dict[str, AttributeValue] = {}

    def redacted(self, event: Event, limit: int) -> Mapping[str, AttributeValue]:
        """What a session is said to be, as it may be stored. The lock is not held: it asks the users' hook."""
        if not isinstance(event, SessionDescribed):
            return {}
        facts = self._content.names(event.facts, limit)
        return {**facts, **self._redacted_request(event)} if self._keeps_request else facts

    def _redacted_request(self, event: SessionDescribed) -> Mapping[str, AttributeValue]:
        given = {"instructions": event.instructions, "tools": event.tools}
        stored = self._content.frame(given, role="system")
        request: dict[str, AttributeValue] = {}
        instructions, tools = stored["instructions"], stored["tools"]
        if instructions is not None:
            parts = [{"type": "text", "content": instructions}] if instructions else []
            request[semconv.SYSTEM_INSTRUCTIONS] = encode(parts, _LONGEST_REQUEST)
        if tools is not None:
            request[semconv.TOOL_DEFINITIONS] = encode([_named(tool) for tool in tools], _LONGEST_REQUEST)
        if event.max_output_tokens is not None:
            request[semconv.REQUEST_MAX_TOKENS] = event.max_output_tokens
        return request

    def record(
        self,
        event: Event,
        stored: Mapping[str, AttributeValue],
        root: Span,
        known: Mapping[str, AttributeValue],
    ) -> None:
        """What happened to a session. `stored`: as `redacted` returned it; `known`: of the model and the server."""
        if isinstance(event, SessionDescribed):
            for key, fact in stored.items():
                if key not in semconv.REQUEST:
                    self._facts[key] = fact
                elif fact in _NONE:
                    self._request.pop(key, None)
                else:
                    self._request[key] = fact
            self._began(event, root, known)
        elif isinstance(event, SessionSwitched):
            self.common.pop(semconv.REALTIME_SESSION_ID, None)
            if event.session_id is not None:
                self.common[semconv.REALTIME_SESSION_ID] = without_secrets(event.session_id)
        elif isinstance(event, SessionOver):
            self._over(event, root, known)

    def _began(self, event: SessionDescribed, root: Span, known: Mapping[str, AttributeValue]) -> None:
        session_id, room = event.session_id, len(self._ids) + self._unnamed < _MOST_SESSIONS
        is_new = event.begins if session_id is None else session_id not in self._ids
        if not (is_new and room):
            return
        if session_id is None:
            self._unnamed += 1
        else:
            self._ids += (session_id,)
        self._note(semconv.SESSION_STARTED, event.at, root, known, session_id)

    def _over(self, event: SessionOver, root: Span, known: Mapping[str, AttributeValue]) -> None:
        if event.session_id is None:
            if not self._unnamed:
                return
            self._unnamed -= 1
        elif event.session_id not in self._ids:
            return
        self._note(semconv.SESSION_ENDED, event.at, root, known, event.session_id)

    def _note(
        self, name: str, at: int, root: Span, known: Mapping[str, AttributeValue], session_id: str | None
    ) -> None:
        named = {} if session_id is None else {semconv.REALTIME_SESSION_ID: without_secrets(session_id)}
        whole: Mapping[str, AttributeValue] = {**known, **named}
        root.add_event(name, {key: whole[key] for key in _NAMED if key in whole}, self._wall(at))

    def of_generation(self, *, own_request: bool) -> dict[str, AttributeValue]:
        """What stands on a generation that ends now. `own_request`: it was asked for with something else."""
        session = self.common.get(semconv.REALTIME_SESSION_ID)
        named: dict[str, AttributeValue] = {}
        if session is not None:
            named[semconv.REALTIME_SESSION_ID] = session
        return named if own_request else {**named, **self._request}

    def facts(self) -> dict[str, Any]:
        """For the root's metadata."""
        # Not `session_id`: LangSmith would take it for the thread.
        return {**self._facts, _SESSION: without_secrets(",".join(self._ids)) or None}

    def attributes(self) -> dict[str, AttributeValue]:
        """For the root, where there was one session."""
        if len(self._ids) != 1:
            return {}
        return {semconv.REALTIME_SESSION_ID: without_secrets(self._ids[0])}


def _named(tool: Any) -> Any:
    """The definition of a tool has a type and a name."""
    if not isinstance(tool, dict):
        return {"type": "unknown", "name": ""}
    kind = tool.get("type", "function")
    return {"type": kind, "name": tool.get("server_label", kind), **tool}
