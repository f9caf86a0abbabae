"""Text for a person: as wide as the terminal, and readable where there is none."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Lines longer than this are hard to read on any screen.
_WIDEST = 140
_NARROWEST = 60
_NO_TERMINAL = (100, 24)

_STYLES = {"strong": "\x1b[1m", "faint": "\x1b[2m"}
_PLAIN = "\x1b[0m"

#: What stands for our characters where the output's encoding has none of them.
_ASCII = {
    "├": "|", "└": "`", "│": "|", "─": "-", "→": "->", "…": "...", "“": '"', "”": '"',
    "▁": ".", "▂": ":", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "#", "█": "@",
}  # fmt: skip


class Page:
    """Writes to a terminal or to a file.

    Args:
        out: Where to; by default the standard output.
        width: In columns; by default the terminal's.
    """

    def __init__(self, out: TextIO | None = None, width: int | None = None) -> None:
        self._out = out or sys.stdout
        columns = width or shutil.get_terminal_size(_NO_TERMINAL).columns
        self.width = max(_NARROWEST, min(columns, _WIDEST))
        self._styled = (
            self._out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        )
        self._ascii = not _can_write(self._out, "".join(_ASCII))

    def line(self, text: str = "", style: Literal["strong", "faint"] | None = None) -> None:
        """One line, as it is."""
        if self._ascii:
            text = "".join(_ASCII.get(character, character) for character in text)
        text = text.rstrip()
        if style is not None and self._styled:
            text = f"{_STYLES[style]}{text}{_PLAIN}"
        encoding = self._out.encoding or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._out.flush()

    def heading(self, text: str) -> None:
        """What comes next."""
        self.line()
        self.line(text, "strong")
        self.line()

    def paragraph(self, text: str, first: str = "", indent: str = "  ") -> None:
        """Words, broken into lines; `first` precedes them in the place of the first indent."""
        for line in wrapped(text, self.width - len(indent)):
            self.line((first or indent) + line)
            first = ""


def wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` characters, without anything that moves a terminal's cursor."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    yield from textwrap.wrap(clean, max(width, 20), break_on_hyphens=False) or [""]


def _can_write(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def amount(size: int) -> str:
    """Bytes, for a person."""
    megabytes = size / 1e6
    return f"{megabytes:.1f} MB" if megabytes >= 1 else f"{size / 1e3:.1f} kB"
