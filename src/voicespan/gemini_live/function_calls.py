"""Function calls: who asked for what, and which answer belongs to which call.

Most services give each call an id and want it back. Where there are none, calls and answers are matched by
name, in the order in which they were asked for: there is nothing else to go by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.gemini_live import frames, values
from voicespan.protocol import events
from voicespan.protocol.events import LocalId
from voicespan.protocol.json_values import json_text
from voicespan.runtime.bounded import MOST, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.gemini_live.turns import Turn
    from voicespan.protocol.events import Event

#: Of one call's streamed arguments: how many, and characters of each.
_MOST_ARGUMENTS = 256
_LONGEST_ARGUMENT = 250_000
#: The values that a piece of a streamed argument can have.
_PIECES = ("stringValue", "numberValue", "boolValue")


@dataclass(slots=True)
class _Call:
    """One that waits for its answer."""

    name: str
    arguments: str
    event_type: str
    turn: Turn
    #: The model goes on when it has the answer only.
    waits: bool
    #: When the model went on although no answer was seen.
    went_on_at: int | None = None


class FunctionCalls:
    """The calls of one connection that wait for their answers."""

    def __init__(self) -> None:
        self._open: dict[str, _Call] = {}
        self._partial: dict[str, dict[str, Any]] = {}
        #: Functions during which the model goes on.
        self.non_blocking: set[str] = set()

    def called(
        self, turn: Turn, calls: list[dict[str, Any]], at: int, event_type: str = "tool_call"
    ) -> Iterator[Event]:
        """The model asks for functions, in one message."""
        item_id = LocalId.new("calls")
        for call in calls:
            name = values.name(call.get("name")) or "unknown"
            call_id = values.name(call.get("id"))
            arguments = self._arguments(call, call_id or name)
            if arguments is None:
                continue
            asked = _Call(name, json_text(arguments), event_type, turn, name not in self.non_blocking)
            if self._is_known(asked, call_id):
                continue
            call_id = call_id or LocalId.new(name)
            put(self._open, call_id, asked)
            turn.calls(call_id, at, waits=asked.waits)
            yield events.FunctionCalled(at, event_type, call_id, name, asked.arguments, item_id, turn.id)

    def _is_known(self, asked: _Call, call_id: str | None) -> bool:
        """Whether the call came before in another kind of message: the service can send one call in both."""
        return any(
            call_id in (None, known_id)
            and asked.event_type != known.event_type
            and (asked.name, asked.arguments) == (known.name, known.arguments)
            and asked.turn is known.turn
            for known_id, known in self._open.items()
        )

    def cancelled(self, call_ids: list[str], at: int) -> Iterator[Event]:
        """The model no longer wants these answers."""
        for call_id in call_ids[:MOST]:
            self._close(call_id, at)
            yield events.FunctionCancelled(at, "tool_call_cancellation", call_id)

    def answered(self, answer: dict[str, Any], at: int, event_type: str = "tool_response") -> Iterator[Event]:
        """The application answers a call."""
        name, more = values.name(answer.get("name")), answer.get("willContinue") is True
        call_id = values.name(answer.get("id")) or next(
            (known for known, call in self._open.items() if name in (None, call.name)), None
        )
        if call_id is None:
            call_id = LocalId.new(name or "unknown")
        if name is None and call_id in self._open:
            name = self._open[call_id].name
        if not more:
            self._close(call_id, at)
        yield events.FunctionAnswered(
            at,
            event_type,
            call_id,
            json_text(frames.without_bytes(answer.get("response") or {})),
            name,
            LocalId.new("result"),
            more=more,
            facts={"scheduling": values.name(answer.get("scheduling")), "will_continue": more or None},
        )

    def turn_ended(self, turn: Turn, at: int) -> Iterator[Event]:
        """A turn is over: calls without which the model could not have gone on were answered out of our sight."""
        for call_id, call in list(self._open.items()):
            if not call.waits:
                continue
            if call.turn is turn:
                call.went_on_at = at if turn.went_on else None
            elif turn.has_output or call.went_on_at is not None:
                del self._open[call_id]
                yield events.FunctionAnswerUnseen(
                    call.went_on_at or turn.started_at, "turn_complete", call_id
                )

    def _close(self, call_id: str, at: int) -> None:
        call = self._open.pop(call_id, None)
        if call is not None and call.waits:
            call.turn.answered(at)

    def connection_lost(self) -> Iterator[Event]:
        """The connection is over; calls that can still be answered on another one stay open."""
        for call_id, call in list(self._open.items()):
            if call.went_on_at is not None:
                del self._open[call_id]
                yield events.FunctionAnswerUnseen(call.went_on_at, "connection_closed", call_id)

    def _arguments(self, call: dict[str, Any], key: str) -> dict[str, Any] | None:
        """The arguments, when they are complete; where they are streamed, they come in pieces."""
        pieces, more = values.as_objects(call.get("partialArgs")), call.get("willContinue") is True
        if not pieces and not more:
            return {**self._partial.pop(key, {}), **values.as_object(call.get("args"))}
        known = self._partial.setdefault(key, {})
        for piece in pieces:
            path = (values.name(piece.get("jsonPath")) or "").removeprefix("$.")
            value = next((piece[kind] for kind in _PIECES if piece.get(kind) is not None), None)
            before = known.get(path)
            if isinstance(before, str) and isinstance(value, str):
                known[path] = before + value[: max(_LONGEST_ARGUMENT - len(before), 0)]
            elif path in known or len(known) < _MOST_ARGUMENTS:
                known[path] = value
        if more:
            put(self._partial, key, known)
            return None
        return {**self._partial.pop(key, {}), **values.as_object(call.get("args"))}
