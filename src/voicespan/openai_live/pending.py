"""What the application asked for and the service has not taken or refused yet: context to place, a fixture to play.

The service answers with the `event_id` that the application gave its command, where it gave one; else in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Event, LocalId, OperationEnded, OperationStarted, WireError
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_live.delegations import Delegations

#: Of the type of an acknowledgement: `session.commentary.appended`.
_PARTS = 3
_FIXTURE = "session.output_audio.fixture.play"
#: Of each kind of context, whose words it is.
_ROLES = {"instructions": "system", "thinking": "assistant", "commentary": "assistant"}


@dataclass(slots=True)
class _Command:
    kind: str
    event_id: str | None
    delegation_id: str | None
    content: str
    at: int


class Pending:
    """The commands of one session that wait."""

    def __init__(self, delegations: Delegations) -> None:
        self._delegations = delegations
        self._waiting: dict[LocalId, _Command] = {}

    def append(self, kind: str, command: dict[str, Any], at: int) -> Iterator[Event]:
        """`instructions`, `thinking` or `commentary` is to be placed."""
        content = command["content"]
        delegation_id = command["delegation_id"]
        key = LocalId.new(kind)
        put(self._waiting, key, _Command(kind, command["event_id"], delegation_id, content, at))
        yield OperationStarted(
            at,
            f"session.{kind}.append",
            key,
            f"context: {kind}",
            prompt={"messages": [{"role": _ROLES[kind], "content": content}]},
            within=delegation_id,
            facts={"delegation_id": delegation_id},
        )

    def fixture(self, event_id: str | None, size: int, at: int) -> Iterator[Event]:
        """Audio of the application's is to be played in place of the model's."""
        key = LocalId.new("fixture")
        put(self._waiting, key, _Command("fixture", event_id, None, "", at))
        yield OperationStarted(at, _FIXTURE, key, "audio_fixture", facts={"audio_bytes": size})

    def accepted(
        self, kind: str, event_id: str | None, facts: dict[str, Any], event_type: str, at: int
    ) -> Iterator[Event]:
        """The service took the oldest command of this kind, or the one with this id."""
        key = self._find(kind, event_id)
        if key is None:
            return
        command = self._waiting.pop(key)
        yield OperationEnded(at, event_type, key, facts=facts)
        if kind == "commentary" and command.delegation_id is not None:
            yield from self._delegations.answered(command.delegation_id, command.content, command.at)

    def refused(self, event_id: str | None, error: WireError | None, at: int) -> Iterator[Event]:
        """The service refused the command with this id; no `error`: it came too late, and that is no fault."""
        key = next(
            (each for each, command in self._waiting.items() if event_id and command.event_id == event_id),
            None,
        )
        if key is not None:
            del self._waiting[key]
            yield OperationEnded(
                at, "error", key, error=error, facts={} if error is not None else {"placed": False}
            )

    def expects(self, kind: str, event_id: str | None) -> bool:
        """Whether an event of this type answers a command that waits here."""
        if event_id is not None:
            return any(command.event_id == event_id for command in self._waiting.values())
        # The service names no command where the application gave it no id.
        parts = kind.split(".")
        return len(parts) == _PARTS and any(command.kind == parts[1] for command in self._waiting.values())

    def close(self, at: int) -> Iterator[Event]:
        """Nothing will be answered any more. Whether it was placed is not known."""
        for key, command in self._waiting.items():
            yield OperationEnded(at, "session.closed", key, facts={"acknowledged": False})
            if command.kind == "commentary" and command.delegation_id is not None:
                yield from self._delegations.answered(command.delegation_id, command.content, command.at)
        self._waiting.clear()

    def _find(self, kind: str, event_id: str | None) -> LocalId | None:
        oldest = None
        for key, command in self._waiting.items():
            if command.kind == kind:
                if event_id is not None and command.event_id == event_id:
                    return key
                oldest = key if oldest is None and command.event_id is None else oldest
        return oldest
