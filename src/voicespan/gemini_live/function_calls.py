"""Function calls: who asked for what, and which answer belongs to which call.

Most services give each call an id and want it back. Where there are none, calls and answers are matched by
name, in the order in which they were asked for: there is nothing else to go by.
"""

from __future__ import annotations

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


class FunctionCalls:
    """The calls of one connection that wait for their answers."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._partial: dict[str, dict[str, Any]] = {}

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
            call_id = call_id or LocalId.new(name)
            put(self._names, call_id, name)
            if len(turn.call_ids) < MOST:
                turn.call_ids.append(call_id)
            yield events.FunctionCalled(at, event_type, call_id, name, json_text(arguments), item_id, turn.id)

    def cancelled(self, call_ids: list[str], at: int) -> Iterator[Event]:
        """The model no longer wants these answers."""
        for call_id in call_ids[:MOST]:
            self._names.pop(call_id, None)
            yield events.FunctionCancelled(at, "tool_call_cancellation", call_id)

    def answered(
        self, turn: Turn | None, answer: dict[str, Any], at: int, event_type: str = "tool_response"
    ) -> Iterator[Event]:
        """The application answers a call; `turn` is in progress."""
        name, more = values.name(answer.get("name")), answer.get("willContinue") is True
        call_id = values.name(answer.get("id")) or next(
            (known for known, called in self._names.items() if name in (None, called)), None
        )
        if call_id is None:
            call_id = LocalId.new(name or "unknown")
        name = name or self._names.get(call_id)
        if not more:
            self._names.pop(call_id, None)
        yield events.FunctionAnswered(
            at,
            event_type,
            call_id,
            json_text(frames.without_bytes(answer.get("response") or {})),
            name,
            LocalId.new("result"),
            turn.id if turn is not None and call_id in turn.call_ids else None,
            more,
            {"scheduling": values.name(answer.get("scheduling")), "will_continue": more or None},
        )

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
