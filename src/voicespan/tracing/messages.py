"""Messages as OpenTelemetry writes them, with parts, and as the chat APIs and LangSmith write them.

A span has OpenTelemetry's, its LangSmith copy has the others. Everything that a message says stands in both, so that
the copy can be made of the span: what OpenTelemetry's schema has no place for keeps its own key, which it allows.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from voicespan.protocol import events
from voicespan.tracing import semconv
from voicespan.tracing.message_shapes import as_given, as_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Sides(NamedTuple):
    """The attributes of what a span was given and of what came of it."""

    given: str
    came: str


class Written(NamedTuple):
    """A message of the transcript, as it stands on the root."""

    role: str
    json: str
    finish_reason: str


MESSAGES = Sides(semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES)
#: Of a function call.
TOOL = Sides(semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT)
#: Of whatever else there is: a frame, an error.
VALUES = Sides(semconv.INPUT_VALUE, semconv.OUTPUT_VALUE)
LANGSMITH = Sides(semconv.PROMPT, semconv.COMPLETION)

#: Holds a message in a shape of which OpenTelemetry's has no counterpart, as it is.
_NATIVE = "native"
_WITHOUT_COUNTERPART = frozenset({"parts", "finish_reason"})
#: OpenTelemetry's words for why a model stopped, by those of the services.
_REASONS = {
    "completed": "stop",
    "tool_calls": "tool_call",
    "max_output_tokens": "length",
    "failed": "error",
}
#: A message of one text, as it is written here, and what the chat APIs write for it. Nearly every one is such.
_TEXT = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_ONE = rf'{{"role":("\w+"),"parts":\[{{"type":"text","content":({_TEXT})}}\](?:,"finish_reason":"\w*")?}}'
_PLAIN = r'{"role":\1,"content":\2}'
_OF_MESSAGES = frozenset({"role", "parts", "finish_reason"})
_OF_PARTS = frozenset({"role", "content", "tool_calls", "tool_call_id", "reasoning"})


def own_name(name: str) -> str:
    """What a span is called without VOICESPAN_SEMCONV=draft."""
    return events.TURN_COMPLETE if name.startswith(semconv.REALTIME_INFERENCE) else name


def named(prompt: Any, completion: Any, attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a span was given and what came of it, each with the name of its attribute; None: there is none.

    `attributes`: what the span has beside it.
    """
    of_others = TOOL if attributes.get(semconv.OPERATION) == semconv.EXECUTE_TOOL else VALUES
    if _is_messages(prompt):
        yield MESSAGES.given, [with_parts(message) for message in prompt["messages"]]
    elif prompt is not None:
        yield of_others.given, prompt
    if _is_messages(completion):
        # Only a generation says it.
        reasons = attributes.get(semconv.FINISH_REASONS) or ("",)
        yield (
            MESSAGES.came,
            [with_parts(message, finish_reason(message, reasons[0])) for message in completion["messages"]],
        )
    elif completion is not None:
        yield of_others.came, completion


def _is_messages(content: Any) -> bool:
    return isinstance(content, dict) and len(content) == 1 and isinstance(content.get("messages"), list)


def with_parts(message: Any, finish_reason: str | None = None) -> dict[str, Any]:
    """A message of the chat APIs as OpenTelemetry writes it. `finish_reason`: of an output message."""
    written = None
    if isinstance(message, dict):
        written = _one_text(message) or _of_chat(message) or as_parts(message)
    written = written or _as_it_is(message)
    if finish_reason is not None:
        written["finish_reason"] = finish_reason
    return written


def _one_text(message: dict[str, Any]) -> dict[str, Any] | None:
    """Nearly every one is a role and a text."""
    role, content = message.get("role"), message.get("content")
    if len(message) != 2 or type(content) is not str or type(role) is not str or role == "tool":  # noqa: PLR2004
        return None
    return {"role": role, "parts": [{"type": "text", "content": content}] if content else []}


def _of_chat(message: dict[str, Any]) -> dict[str, Any] | None:
    parts = _parts(message)
    if parts is None:
        return None
    # A content of None goes with function calls, and is no part; only an answer has its call's id in one.
    rest = {
        key: value
        for key, value in message.items()
        if key not in _OF_PARTS or value is None or (key == "tool_call_id" and message["role"] != "tool")
    }
    return {"role": message["role"], "parts": parts, **rest}


def _as_it_is(message: Any) -> dict[str, Any]:
    role = message.get("role") if isinstance(message, dict) else None
    return {
        "role": role if isinstance(role, str) else "user",
        "parts": [{"type": _NATIVE, "message": message}],
    }


def _parts(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The parts of a message; None: it has another shape than the chat APIs' with one text."""
    content, calls = message.get("content", 0), message.get("tool_calls") or ()
    if not (content is None or isinstance(content, str)) or not isinstance(message.get("role"), str):
        return None
    if not _WITHOUT_COUNTERPART.isdisjoint(message) or not isinstance(calls, (list, tuple)):
        return None
    if message["role"] == "tool" and calls:
        return None
    parts: list[dict[str, Any]] = []
    if "reasoning" in message:
        parts.append({"type": "reasoning", "content": message["reasoning"]})
    if message["role"] == "tool":
        answer = {"type": "tool_call_response", "response": content}
        if "tool_call_id" in message:
            answer["id"] = message["tool_call_id"]
        return [*parts, answer]
    if content:
        parts.append({"type": "text", "content": content})
    for call in calls:
        part = _call_part(call)
        if part is None:
            return None
        parts.append(part)
    return parts


def _call_part(call: Any) -> dict[str, Any] | None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type") != "function" or not {"name"} <= function.keys():
        return None
    part = {"type": "tool_call", **function}
    if "id" in call:
        part["id"] = call["id"]
    return part


def finish_reason(message: Any, reason: str) -> str:
    """Why the model stopped, in OpenTelemetry's word if it has one. `reason`: what the service says.

    The schema asks for a text: it is empty where that is not known, and where no model generated the message.
    """
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return ""
    found = _REASONS.get(reason, reason)
    return "tool_call" if found in ("stop", "") and message.get("tool_calls") else found


def without_parts(message: Any) -> Any:
    """The same message as the chat APIs and LangSmith write it: what `with_parts` was given."""
    if not isinstance(message, dict) or not isinstance(message.get("parts"), list):
        return message
    given = as_given(message)
    if given is not None:
        return given
    plain: dict[str, Any] = {"role": message.get("role"), "content": ""}
    calls: list[Any] = []
    for part in message["parts"]:
        if not isinstance(part, dict):
            # Where some were left out, for there were too many.
            calls.append(part)
        elif part.get("type") == _NATIVE:
            return part.get("message")
        elif part.get("type") == "tool_call":
            calls.append(_call(part))
        else:
            plain.update(_plain_part(part))
    if calls:
        plain["tool_calls"] = calls
    plain.update({key: value for key, value in message.items() if key not in _OF_MESSAGES})
    return plain


def _plain_part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "reasoning":
        return {"reasoning": part.get("content")}
    if kind == "tool_call_response":
        answer = {"content": part.get("response")}
        return {**answer, "tool_call_id": part["id"]} if "id" in part else answer
    return {"content": part.get("content")}


def _call(part: Mapping[str, Any]) -> dict[str, Any]:
    function = {key: value for key, value in part.items() if key not in ("type", "id")}
    call = {"type": "function", "function": function}
    return {"id": part["id"], **call} if "id" in part else call


@functools.cache
def _of_one_text() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """One message of one text, and a list of such. Compiled for the first, and not while this is imported."""
    return re.compile(_ONE), re.compile(rf"\[{_ONE}(?:,{_ONE})*\]")


def langsmith_content(name: str, written: str) -> str:
    """The text of an attribute as LangSmith's copy has it."""
    if name not in MESSAGES:
        return written
    one, each = _of_one_text()
    if each.fullmatch(written):
        # As JSON has it in both: to read it and write it again takes ten times as long.
        return f'{{"messages":{one.sub(_PLAIN, written)}}}'
    try:
        messages = json.loads(written)
    except ValueError:
        return written
    if not isinstance(messages, list):
        return written
    plain = {"messages": [without_parts(message) for message in messages]}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def contents(attributes: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a span was given and what came of it, as LangSmith's copy has them; None where there is nothing.

    `attributes`: of the span, or of its copy.
    """
    given, came = (
        _content(attributes, names) for names in zip(MESSAGES, TOOL, VALUES, LANGSMITH, strict=True)
    )
    return given, came


def _content(attributes: Mapping[str, Any], names: Iterable[str]) -> Any:
    for name in names:
        written = attributes.get(name)
        if written is None:
            continue
        try:
            value = json.loads(written)
        except (TypeError, ValueError):
            return written
        if name in MESSAGES and isinstance(value, list):
            return {"messages": [without_parts(message) for message in value]}
        return value
    return None
