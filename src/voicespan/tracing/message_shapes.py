"""Messages of other APIs than chat completions: as parts, and back as they were.

A cascade's application gives its messages as its SDK has them: in blocks (chat completions with pictures, Anthropic),
as items (OpenAI Responses, LiveKit), in parts without a type (Gemini). Each part says by `shape` which it was.
"""

from __future__ import annotations

from typing import Any

_BLOCK, _PART = "block", "part"
#: By the type of a block: that of its part, and what its members are called there.
_BLOCKS: dict[str, tuple[str, dict[str, str]]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), ("text", {"text": "content"})),
    "tool_use": ("tool_call", {"input": "arguments"}),
    "tool_result": ("tool_call_response", {"tool_use_id": "id", "content": "response"}),
}
#: The same of items, which are whole messages, and whose they are.
_ITEMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "function_call": ("assistant", "tool_call", {"call_id": "id", "id": "item_id"}),
    "function_call_output": (
        "tool",
        "tool_call_response",
        {"call_id": "id", "id": "item_id", "output": "response"},
    ),
}


def as_parts(message: dict[str, Any]) -> dict[str, Any] | None:
    """The message with parts; None: nothing is known of its shape."""
    kind, role = message.get("type"), message.get("role")
    if kind in _ITEMS and role is None:
        role, part_type, names = _ITEMS[kind]
        part = _part(message, part_type, kind, names)
        return None if part is None else {"role": role, "parts": [part]}
    for member, convert in (("content", _block), ("parts", _gemini_part)):
        found = message.get(member)
        if isinstance(role, str) and isinstance(found, list) and found:
            parts = [convert(each) if isinstance(each, dict) else None for each in found]
            rest = {key: value for key, value in message.items() if key not in ("role", member)}
            if None in parts or not {"content", "parts", "finish_reason", "tool_calls"}.isdisjoint(rest):
                return None
            return {"role": role, "parts": parts, **rest}
    return None


def as_given(message: dict[str, Any]) -> dict[str, Any] | None:
    """What `as_parts` was given; None: the message is of chat completions."""
    parts: list[dict[str, Any]] = message["parts"]
    shape = parts[0].get("shape") if parts and isinstance(parts[0], dict) else None
    if not isinstance(shape, str):
        return None
    if shape in _ITEMS:
        return _given(parts[0], shape, _ITEMS[shape][2])
    rest = {key: value for key, value in message.items() if key not in ("role", "parts", "finish_reason")}
    if shape == _PART:
        return {"role": message.get("role"), "parts": [_given_gemini_part(part) for part in parts], **rest}
    return {"role": message.get("role"), "content": [_given_block(part) for part in parts], **rest}


def _block(block: dict[str, Any]) -> dict[str, Any] | None:
    kind = block.get("type")
    if not isinstance(kind, str) or "shape" in block:
        return None
    if kind not in _BLOCKS:
        return {**block, "shape": _BLOCK}
    part_type, names = _BLOCKS[kind]
    return _part(block, part_type, kind, names)


def _gemini_part(part: dict[str, Any]) -> dict[str, Any] | None:
    if not isinstance(part.get("text"), str) or not {"type", "content", "shape"}.isdisjoint(part):
        return None
    rest = {key: value for key, value in part.items() if key != "text"}
    return {"type": "text", "content": part["text"], **rest, "shape": _PART}


def _part(members: dict[str, Any], kind: str, shape: str, names: dict[str, str]) -> dict[str, Any] | None:
    renamed = {names.get(key, key): value for key, value in members.items() if key != "type"}
    part = {"type": kind, **renamed, "shape": shape}
    # None where two members would have one name, or where it is no text.
    if len(part) != len(members) + 1 or (kind == "text" and not isinstance(part.get("content"), str)):
        return None
    return part


def _given(part: dict[str, Any], shape: str, names: dict[str, str]) -> dict[str, Any]:
    theirs = {name: key for key, name in names.items()}
    return {
        "type": shape,
        **{theirs.get(key, key): value for key, value in _same(part).items() if key != "type"},
    }


def _given_block(part: Any) -> Any:
    shape = part.get("shape") if isinstance(part, dict) else None
    # What stands for others that were left out has no shape.
    if not isinstance(shape, str):
        return part
    return _given(part, shape, _BLOCKS[shape][1]) if shape in _BLOCKS else _same(part)


def _given_gemini_part(part: Any) -> Any:
    if not isinstance(part, dict) or "shape" not in part:
        return part
    rest = {key: value for key, value in part.items() if key not in ("type", "content", "shape")}
    return {"text": part.get("content"), **rest}


def _same(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "shape"}
