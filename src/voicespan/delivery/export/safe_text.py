"""What others wrote, made fit for a line of a log or of a terminal."""

from __future__ import annotations

_MOST = 300


def printable(text: str, most: int = _MOST) -> str:
    """`text` on one line of at most `most` characters.

    A line break would begin a line of its own in a log, an escape sequence would command the terminal, and
    a mark that turns the direction of writing would make a line read as another one.
    """
    line = " ".join(text[: 4 * most].split())[:most]
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
