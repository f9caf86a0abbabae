"""LiveKit's chat contexts as messages."""

from __future__ import annotations

from typing import Any

#: Of the first call of a session, and of a later one, which is compared with the one before from its end.
_MOST_MESSAGES, _MOST_LATER = 1_000, 48


def messages_of(chat_ctx: Any, *, first: bool = True) -> list[dict[str, Any]] | None:
    """The messages of a `ChatContext`, in the shape of the chat APIs; None: it is none.

    `first`: no call had any before.
    """
    items = getattr(chat_ctx, "items", None)
    if not isinstance(items, list):
        return None
    most = _MOST_MESSAGES if first else _MOST_LATER
    # A long history begins with instructions that would be lost.
    some = items if len(items) <= most else [items[0], *items[1 - most :]]
    return [message for item in some if (message := message_of(item)) is not None]


def message_of(item: Any) -> dict[str, Any] | None:
    """One item; None for what no model is given, a handoff say."""
    kind = getattr(item, "type", None)
    if kind == "message":
        return {"role": item.role, "content": text_of(item)}
    if kind == "function_call":
        return {
            "type": "function_call",
            "call_id": item.call_id,
            "name": item.name,
            "arguments": item.arguments,
        }
    if kind == "function_call_output":
        return {"role": "tool", "tool_call_id": item.call_id, "name": item.name, "content": item.output}
    return None


def text_of(item: Any) -> str:
    """The words of a message."""
    content = item.content if isinstance(item.content, list) else [item.content]
    words = [part if isinstance(part, str) else getattr(part, "transcript", None) for part in content]
    return "\n".join(str(word) for word in words if word)
