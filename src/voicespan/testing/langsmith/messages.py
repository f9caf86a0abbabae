"""Messages that instrumentations spread over span events and numbered attributes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Content = dict[str, Any]

_MESSAGES = {
    "gen_ai.system.message": "asked",
    "gen_ai.user.message": "asked",
    "gen_ai.assistant.message": "answered",
    "gen_ai.tool.message": "answered",
}


def from_events(events: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[Content | None, Content | None]:
    """Inputs and outputs that span events tell; None where they tell nothing.

    They come before every attribute, so a `gen_ai.user.message` event hides a `gen_ai.prompt`.
    """
    inputs: Content | None = None
    outputs: Content | None = None
    messages: dict[str, list[Content]] = {"asked": [], "answered": []}
    for name, event in events:
        if name in _MESSAGES and (message := _message(name, event)):
            messages[_MESSAGES[name]].append(message)
        elif name == "gen_ai.choice" and (choice := _choice(event)):
            outputs = {"choices": [choice]}
        elif name == "gen_ai.content.prompt" and isinstance(text := event.get("gen_ai.prompt"), str):
            inputs = object_or_text(text, "input")
        elif name == "gen_ai.content.completion" and isinstance(text := event.get("gen_ai.completion"), str):
            outputs = object_or_text(text, "output")
    if inputs is None and messages["asked"]:
        inputs = {"messages": messages["asked"]}
    if outputs is None and messages["answered"]:
        outputs = {"messages": messages["answered"]}
    return inputs, outputs


def from_events_attribute(written: Any) -> tuple[Content | None, Content | None]:
    """Inputs and outputs of an `events` attribute, as Logfire writes it: a list, or its JSON."""
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except ValueError:
            return None, None
    if not isinstance(written, list):
        return None, None
    events = [event for event in written if isinstance(event, dict)]
    asked = [event for event in events if event.get("event.name") != "gen_ai.choice"]
    chosen = [event for event in events if event.get("event.name") == "gen_ai.choice"]
    return ({"input": asked} if asked else None, chosen[-1] if chosen else None)


def indexed_messages(own: Mapping[str, Any], *prefixes_and_whole: str) -> Content | None:
    """The messages of `PREFIX.0.role`, `PREFIX.0.content`, … of the first prefix that has any.

    The last name is no prefix but an attribute with the messages as one JSON array.
    """
    *prefixes, whole = prefixes_and_whole
    for prefix in prefixes:
        if messages := _numbered(own, prefix):
            return {"messages": messages}
    written = own.get(whole)
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except ValueError:
            return None
    return {"messages": written} if isinstance(written, list) and written else None


def _numbered(own: Mapping[str, Any], prefix: str) -> list[Content]:
    messages: list[Content] = []
    while message := _numbered_message(own, f"{prefix}.{len(messages)}"):
        messages.append(message)
    return messages


def _numbered_message(own: Mapping[str, Any], prefix: str) -> Content:
    message = {}
    for part in ("role", "content"):
        value = own.get(f"{prefix}.{part}", own.get(f"{prefix}.message.{part}"))
        if isinstance(value, str):
            message[part] = value
    return message


def object_or_text(written: str, name: str) -> Content:
    """A JSON object as it is; any other text under `name`."""
    parsed = json_object(written)
    return {name: written} if parsed is None else parsed


def json_object(text: Any) -> Content | None:
    """The JSON object that `text` is; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _message(name: str, event: Mapping[str, Any]) -> Content:
    if whole := json_object(event.get("gen_ai.event.content")):
        return whole
    message = {part: event[part] for part in ("content", "role") if event.get(part) is not None}
    if name == "gen_ai.tool.message" and event.get("id") is not None:
        message["tool_call_id"] = event["id"]
    return message


def _choice(event: Mapping[str, Any]) -> Content:
    whole = json_object(event.get("gen_ai.event.content"))
    if whole and "message" in whole:
        return whole
    choice: Content = {}
    if event.get("finish_reason") is not None:
        choice["finish_reason"] = event["finish_reason"]
    message = {
        part: event[f"message.{part}"]
        for part in ("content", "role")
        if event.get(f"message.{part}") is not None
    }
    if message:
        choice["message"] = message
    if calls := _tool_calls(event):
        choice["tool_calls"] = calls
    return choice


def _tool_calls(event: Mapping[str, Any]) -> list[Content]:
    calls: list[Content] = []
    while (call_id := event.get(f"tool_calls.{len(calls)}.id")) is not None:
        prefix = f"tool_calls.{len(calls)}"
        call: Content = {"id": call_id}
        if (kind := event.get(f"{prefix}.type")) is not None:
            call["type"] = kind
        function = {
            part: event[f"{prefix}.function.{part}"]
            for part in ("name", "arguments")
            if event.get(f"{prefix}.function.{part}") is not None
        }
        if function:
            call["function"] = function
        calls.append(call)
    return calls
