"""The conversation as the server holds it: its items in order, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicespan.testing.openai_realtime.rejected import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What the vendor counts: a token for about four characters, ten a second for what it hears, twenty a
# second for what it says.
_CHARACTERS_PER_TOKEN = 4
_INPUT_MS_PER_TOKEN = 100
_OUTPUT_MS_PER_TOKEN = 50
_CACHE_BLOCK = 64


@dataclass(eq=False)
class Item:
    """One item of a conversation.

    Attributes:
        fields: The item as the protocol has it.
        audio_ms: How much audio it has.
    """

    fields: dict[str, Any]
    audio_ms: int = 0

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.fields["id"])

    @property
    def spoken_answer(self) -> bool:
        """Whether it is audio of the assistant, the only kind that can be truncated."""
        parts = self.fields.get("content") or []
        return self.fields.get("role") == "assistant" and any(p.get("type") == "output_audio" for p in parts)

    @property
    def text_tokens(self) -> int:
        """Tokens of what is written in it; what was spoken counts as audio."""
        texts = [part.get("text") for part in self.fields.get("content") or []]
        texts += [self.fields.get(name) for name in ("name", "arguments", "output")]
        return sum(text_tokens(text) for text in texts if isinstance(text, str))

    @property
    def audio_tokens(self) -> int:
        """Tokens of its audio."""
        per_token = _OUTPUT_MS_PER_TOKEN if self.fields.get("role") == "assistant" else _INPUT_MS_PER_TOKEN
        return math.ceil(self.audio_ms / per_token)


class Items:
    """All items of a conversation, in order."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._cached = (0, 0)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def last_id(self) -> str | None:
        """The id of the newest item; None where there is none."""
        return self._items[-1].id if self._items else None

    def find(self, item_id: str) -> Item | None:
        """The item with this id."""
        return next((item for item in self._items if item.id == item_id), None)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item, at the end or after the item `after` (`root`: at the beginning).

        Returns:
            The id of the item before it.

        Raises:
            Rejected: There is no such item, or there is one with the same id already.
        """
        if self.find(item.id) is not None:
            raise Rejected("invalid_value", f"there is an item '{item.id}' already", "item.id")
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            before = self.find(after)
            if before is None:
                raise Rejected("invalid_value", f"there is no item '{after}'", "previous_item_id")
            place = self._items.index(before) + 1
        self._items.insert(place, item)
        return self._items[place - 1].id if place else None

    def before(self, item: Item) -> str | None:
        """The id of the item before this one; None for the first and for one that was deleted."""
        place = self._items.index(item) if item in self._items else 0
        return self._items[place - 1].id if place else None

    def remove(self, item: Item) -> None:
        """Take an item out."""
        self._items.remove(item)

    def usage(self, output: list[Item], instructions: str) -> dict[str, Any]:
        """The `usage` of a response that made `output`; what it read is in the cache for the next one."""
        context = [item for item in self._items if item not in output]
        counted = usage(context, output, instructions, self._cached)
        self._cached = context_tokens(context, instructions)
        return counted

    def has_call(self, call_id: str) -> bool:
        """Whether a function was called by this id."""
        return any(
            item.fields.get("type") == "function_call" and item.fields.get("call_id") == call_id
            for item in self._items
        )


def text_tokens(text: str) -> int:
    """Roughly what a tokenizer would count."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def usage(
    context: Iterable[Item], output: Iterable[Item], instructions: str, cached: tuple[int, int]
) -> dict[str, Any]:
    """The `usage` of a response.

    Args:
        context: The items before it.
        output: The items it made.
        instructions: The session's instructions.
        cached: How many text and audio tokens were there for an earlier response already.
    """
    text_in, audio_in = context_tokens(context, instructions)
    made = list(output)
    text_out = sum(item.text_tokens + spoken_text_tokens(item) for item in made)
    audio_out = sum(item.audio_tokens for item in made)
    cached_text, cached_audio = (
        min(before, now) // _CACHE_BLOCK * _CACHE_BLOCK
        for before, now in zip(cached, (text_in, audio_in), strict=True)
    )
    return {
        "total_tokens": text_in + audio_in + text_out + audio_out,
        "input_tokens": text_in + audio_in,
        "output_tokens": text_out + audio_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens": cached_text + cached_audio,
            "cached_tokens_details": {
                "text_tokens": cached_text,
                "audio_tokens": cached_audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


def context_tokens(context: Iterable[Item], instructions: str) -> tuple[int, int]:
    """Text and audio tokens of what a response is made from."""
    items = list(context)
    text = text_tokens(instructions) + sum(item.text_tokens for item in items)
    return text, sum(item.audio_tokens for item in items)


def spoken_text_tokens(item: Item) -> int:
    """Tokens of the transcript, which the model makes besides the audio."""
    parts = item.fields.get("content") or []
    return sum(text_tokens(part.get("transcript") or "") for part in parts)


#: The `usage` of a response that was cancelled before it had any output.
NO_USAGE = usage((), (), "", (0, 0))
