"""LiveKit's chat contexts as messages."""

from __future__ import annotations

from typing import Any

#: Of one call; the history is compared from its end.
_MOST_MESSAGES = 1_000


def messages_of(chat_ctx: Any) -> list[dict[str, Any]] | None:
    """The messages of a `ChatContext`, in the shape of the chat APIs; None: it is none."""
    items = getattr(chat_ctx, "items", None)
    if not isinstance(items, list):
        return None
    # A very long history begins with instructions that would be lost.
    some = items if len(items) <= _MOST_MESSAGES else [items[0], *items[1 - _MOST_MESSAGES :]]
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
