"""A dict that forgets its oldest entry when it is full. Peers choose the keys, so it must be bounded."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

#: How many items, responses or calls of one conversation are remembered: far more than are ever open.
MOST = 256


def put(memory: dict[_K, _V], key: _K, value: _V, most: int = MOST) -> None:
    """Keep `value`, and forget the oldest if there are more than `most`.

    In a plain dict: unlike an `OrderedDict`, the garbage collector leaves it alone while it is empty or holds nothing
    but texts and numbers, and a conversation has a dozen of these.
    """
    memory[key] = value
    if len(memory) > most:
        del memory[next(iter(memory))]
