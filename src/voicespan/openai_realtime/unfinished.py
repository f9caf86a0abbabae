"""What a connection that ends in the middle of an answer leaves of it.

The words of an answer are told by one frame when they are complete. Where that frame no longer comes, their
fragments are all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicespan.openai_realtime import values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicespan.protocol.events import Role

#: No frame told it.
EVENT_TYPE = "connection_closed"


def texts(fragments: Iterable[dict[str, Any]]) -> dict[tuple[Role, str], str]:
    """The words of each item, by who said it and its id, from the fragments in their order."""
    joined: dict[tuple[Role, str], str] = {}
    for event in fragments:
        user = str(event.get("type")).startswith("conversation.item.")
        key: tuple[Role, str] = ("user" if user else "assistant", values.name(event.get("item_id")) or "")
        joined[key] = joined.get(key, "") + (values.text(event.get("delta")) or "")
    return {key: text for key, text in joined.items() if text.strip()}
