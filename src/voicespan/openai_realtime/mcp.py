"""Tools of MCP servers, which the service calls itself, and a person may have to approve.

A call begins with `response.mcp_call.in_progress` and ends with `.completed` or `.failed`; its result stands in the
item that follows. An approval is an item that asks, and one that the application sends for an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values
from voicespan.openai_realtime.response_state import MOST_ITEMS
from voicespan.protocol import events
from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicespan.openai_realtime.response_state import ResponseStates
    from voicespan.protocol.events import Event

CALL = "mcp_call"
APPROVAL = "mcp_approval_request"
ANSWER = "mcp_approval_response"


@dataclass(slots=True)
class _Call:
    name: str
    server: str | None
    arguments: str = ""
    approval: str | None = None
    begun: bool = False
    over: bool = False
    ended_at: int | None = None


@dataclass(slots=True)
class _Approval:
    asked_at: int
    wait_ms: float | None = None


class McpCalls:
    """Those of one connection."""

    def __init__(self, states: ResponseStates) -> None:
        self._states = states
        self._calls: dict[str, _Call] = {}
        self._approvals: dict[str, _Approval] = {}

    def item(self, event_type: str, item: dict[str, Any], at: int) -> Iterator[Event]:
        """An item was added, or is complete."""
        kind, item_id = item.get("type"), values.name(item.get("id"))
        if kind == ANSWER:
            yield from self.answer(event_type, item, at)
        elif kind == APPROVAL and item_id is not None:
            yield from self._ask(event_type, item_id, item, at)
        elif kind == CALL and item_id is not None:
            call = self._find(item_id, item)
            if item.get("status") != "in_progress" and not event_type.endswith(".added"):
                yield from self._begin(event_type, item_id, call, at)
                yield from self._end(event_type, item_id, item, call, at)

    def arguments(self, event: dict[str, Any], _at: int) -> Iterator[Event]:
        """The arguments of a call are complete."""
        call = self._calls.get(values.name(event.get("item_id")) or "")
        if call is not None:
            call.arguments = values.arguments(event.get("arguments")) or call.arguments
        return iter(())

    def begun(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The service calls the tool."""
        item_id = values.name(event.get("item_id")) or ""
        call = self._calls.get(item_id)
        if call is not None:
            yield from self._begin(event["type"], item_id, call, at)

    def ended(self, event: dict[str, Any], at: int) -> Iterator[Event]:
        """The tool has answered, or failed; what it said follows with the item."""
        call = self._calls.get(values.name(event.get("item_id")) or "")
        if call is not None and call.ended_at is None:
            call.ended_at = at
        return iter(())

    def answer(self, event_type: str, item: dict[str, Any], at: int) -> Iterator[Event]:
        """A person approved a call, or did not."""
        request_id = values.name(item.get("approval_request_id")) or ""
        approval = self._approvals.get(request_id)
        if approval is None or approval.wait_ms is not None:
            return
        approval.wait_ms = round((at - approval.asked_at) / 1e6, 3)
        approved, reason = item.get("approve") is True, values.text(item.get("reason"))
        yield events.OperationEnded(
            at,
            event_type,
            _approval_key(request_id),
            completion={"approve": approved, **({"reason": reason} if reason else {})},
            facts={"approved": approved, "approval_wait_ms": approval.wait_ms},
        )

    def _ask(self, event_type: str, item_id: str, item: dict[str, Any], at: int) -> Iterator[Event]:
        if item_id in self._approvals:
            return
        put(self._approvals, item_id, _Approval(at))
        yield events.OperationStarted(
            at,
            event_type,
            _approval_key(item_id),
            f"mcp_approval: {values.name(item.get('name')) or 'unknown'}",
            kind="tool",
            prompt={"arguments": values.arguments(item.get("arguments"))},
            facts={"approval_request_id": item_id, "server_label": values.name(item.get("server_label"))},
        )

    def _find(self, item_id: str, item: dict[str, Any]) -> _Call:
        call = self._calls.get(item_id)
        if call is None:
            name = values.name(item.get("name")) or "unknown"
            call = _Call(name, values.name(item.get("server_label")))
            put(self._calls, item_id, call)
        call.arguments = values.arguments(item.get("arguments")) or call.arguments
        call.approval = values.name(item.get("approval_request_id")) or call.approval
        return call

    def _begin(self, event_type: str, item_id: str, call: _Call, at: int) -> Iterator[Event]:
        if call.begun:
            return
        call.begun = True
        response_id = self._states.of_item(item_id)
        response = self._states.find(response_id)
        if response is not None and len(response.call_ids) < MOST_ITEMS:
            response.call_ids += (item_id,)
        facts = {"server_label": call.server}
        yield events.FunctionCalled(
            at, event_type, item_id, call.name, call.arguments, item_id, response_id, facts, by_service=True
        )

    def _end(
        self, event_type: str, item_id: str, item: dict[str, Any], call: _Call, at: int
    ) -> Iterator[Event]:
        if call.over:
            return
        call.over = True
        approval = self._approvals.get(call.approval or "")
        facts = {
            "approval_request_id": call.approval,
            "approval_wait_ms": None if approval is None else approval.wait_ms,
        }
        yield events.FunctionAnswered(
            call.ended_at or at,
            event_type,
            item_id,
            values.arguments(item.get("output")),
            call.name,
            facts={name: fact for name, fact in facts.items() if fact is not None},
            error=values.error_in(CALL, item),
            by_service=True,
        )


def _approval_key(request_id: str) -> str:
    return f"approval {request_id}"
