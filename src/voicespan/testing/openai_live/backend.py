"""Who works for the model: the Responses backend with its functions, and Decisions, as their events come in a session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.testing._dialogue import pieces
from voicespan.testing.openai_realtime.rejected import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.testing.openai_live.answers import FunctionCall, Reply

_OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


class ResponsesBackend:
    """The delegated responses of one session.

    Args:
        emit: Sends a server event.
        next_id: Counts ids.
        say: Has the model say what the backend wrote.
    """

    def __init__(
        self,
        emit: Callable[[dict[str, Any]], None],
        next_id: Callable[[str], str],
        say: Callable[[str, Reply], None],
    ) -> None:
        self._emit = emit
        self._next_id = next_id
        self._say = say
        self._model = ""
        #: The calls that wait for their outputs, by call id.
        self._open: set[str] = set()
        self._waiting: tuple[str, Reply] | None = None

    def delegate(self, delegation_id: str, response_id: str, reply: Reply, model: str) -> None:
        """Work on a task."""
        self._model = model
        if reply.fails is not None:
            self._created(delegation_id, response_id)
            error = {"code": "server_error", "message": reply.fails}
            response = self._response(response_id, "failed", error=error)
            self._nested(delegation_id, {"type": "response.failed", "response": response})
        elif reply.calls:
            self._call(delegation_id, response_id, reply)
        else:
            self._write(delegation_id, response_id, reply)

    def add_item(self, item: Any) -> None:
        """The client gives an item: mostly the output of a function."""
        if not isinstance(item, dict):
            raise Rejected("missing_required_parameter", "Missing required parameter: 'item'.", "item")
        if item.get("type") in _OUTPUTS:
            if item.get("call_id") not in self._open:
                raise Rejected(
                    "invalid_function_call_output", f"No open call {item.get('call_id')}.", "item.call_id"
                )
            self._open.discard(str(item["call_id"]))

    def create(self) -> None:
        """The client asks for the next response."""
        if self._open:
            waits = ", ".join(sorted(self._open))
            raise Rejected("function_call_outputs_required", f"These calls have no output yet: {waits}.")
        if self._waiting is None:
            self._write(None, self._next_id("resp"), None)
            return
        (delegation_id, reply), self._waiting = self._waiting, None
        self._write(delegation_id, self._next_id("resp"), reply)

    def _call(self, delegation_id: str, response_id: str, reply: Reply) -> None:
        self._created(delegation_id, response_id)
        for index, call in enumerate(reply.calls):
            item = self._item(call)
            self._open.add(item["call_id"])
            added = {**item, "arguments": "", "status": "in_progress"}
            self._nested(
                delegation_id, {"type": "response.output_item.added", "output_index": index, "item": added}
            )
            for piece in pieces(item["arguments"]):
                self._nested(
                    delegation_id,
                    {
                        "type": "response.function_call_arguments.delta",
                        "item_id": item["id"],
                        "delta": piece,
                    },
                )
            self._nested(
                delegation_id, {"type": "response.output_item.done", "output_index": index, "item": item}
            )
        self._completed(delegation_id, response_id)
        self._waiting = (delegation_id, reply)

    def _item(self, call: FunctionCall) -> dict[str, Any]:
        arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
        return {
            "id": self._next_id("fc"),
            "type": "function_call",
            "status": "completed",
            "call_id": call.call_id or self._next_id("call"),
            "name": call.name,
            "arguments": arguments,
        }

    def _write(self, delegation_id: str | None, response_id: str, reply: Reply | None) -> None:
        text = "" if reply is None else reply.result
        self._created(delegation_id, response_id)
        item_id = self._next_id("msg")
        for piece in pieces(text):
            self._nested(
                delegation_id, {"type": "response.output_text.delta", "item_id": item_id, "delta": piece}
            )
        done = {"type": "response.output_text.done", "item_id": item_id, "text": text}
        self._nested(delegation_id, done)
        item = {
            "id": item_id,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
        self._nested(delegation_id, {"type": "response.output_item.done", "output_index": 0, "item": item})
        self._completed(delegation_id, response_id)
        if text and reply is not None:
            self._say(text, reply)

    def _created(self, delegation_id: str | None, response_id: str) -> None:
        response = self._response(response_id, "in_progress")
        self._nested(delegation_id, {"type": "response.created", "response": response})

    def _completed(self, delegation_id: str | None, response_id: str) -> None:
        usage = {
            "input_tokens": 120,
            "input_tokens_details": {"cached_tokens": 20},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 10},
            "total_tokens": 150,
        }
        response = self._response(response_id, "completed", usage=usage)
        self._nested(delegation_id, {"type": "response.completed", "response": response})

    def _response(self, response_id: str, status: str, **fields: Any) -> dict[str, Any]:
        # The snapshots in a session are small: neither output nor tools nor instructions stand in them.
        return {
            "id": response_id,
            "object": "response",
            "status": status,
            "model": self._model,
            "instructions": None,
            "output": [],
            "tools": [],
            "usage": None,
            "error": None,
            **fields,
        }

    def _nested(self, delegation_id: str | None, event: dict[str, Any]) -> None:
        self._emit({"type": "response.event", "delegation_id": delegation_id, "event": event})


def decision_event(model: str, reply: Reply, decision_id: str) -> dict[str, Any]:
    """What Decisions answers, as it stands in a `decision.event`."""
    usage = {"input_tokens": 80, "output_tokens": 4, "total_tokens": 84}
    decision = {
        "id": decision_id,
        "object": "decision",
        "model": model,
        "answers": [dict(answer) for answer in reply.answers],
        "usage": usage,
    }
    return {"type": "decision.completed", "decision": decision}
