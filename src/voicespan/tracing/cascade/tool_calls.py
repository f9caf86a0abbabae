"""The functions that a language model asks for, in the shapes in which the SDKs have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import FunctionCalled, LocalId
from voicespan.protocol.json_values import json_text, safe_str
from voicespan.tracing.cascade.messages import field

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of one answer.
_MOST_CALLS = 128


def function_calls(calls: Iterable[Any], at: int) -> tuple[FunctionCalled, ...]:
    """What the model asked for. `at`: monotonic nanoseconds.

    Understood are the `tool_calls` of chat completions, `function_call` items of the Responses API, Anthropic's
    `tool_use` blocks and Gemini's `functionCall`, as objects and as dicts.
    """
    found: list[FunctionCalled] = []
    for call in calls:
        if len(found) >= _MOST_CALLS:
            break
        inner = field(call, "function") or field(call, "function_call") or field(call, "functionCall") or call
        name = field(inner, "name")
        if not isinstance(name, str):
            continue
        arguments = next(
            (value for key in ("arguments", "input", "args") if (value := field(inner, key)) is not None), ""
        )
        found.append(
            FunctionCalled(
                at,
                "llm",
                _id_of(call, inner),
                str.__str__(name),
                arguments if isinstance(arguments, str) else json_text(arguments),
            )
        )
    return tuple(found)


def _id_of(call: Any, inner: Any) -> str:
    for holder, key in ((call, "call_id"), (call, "id"), (inner, "id")):
        value = field(holder, key)
        if value is not None and value != "":
            return safe_str(value)
    return LocalId.new("call")
