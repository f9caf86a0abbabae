"""What a person sees while a process that has ended its conversations delivers them."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from voicespan.delivery.spool.recovery_command import recover_command

if TYPE_CHECKING:
    from voicespan.delivery.pipeline import Pipeline

_logger = logging.getLogger("voicespan")


def wait_at_exit(pipeline: Pipeline, seconds: float) -> None:
    """Deliver what is complete within `seconds`; on a terminal with one line that shows how far it is."""
    line = _Line(pipeline)
    try:
        pipeline.shutdown(pipeline.now() + seconds, line.draw)
    except KeyboardInterrupt:
        # A second Ctrl-C: the person does not want to wait. It is all in the spool.
        pipeline.stop()
    finally:
        line.clear()
    left = pipeline.left()
    if left:
        conversations = "1 conversation waits" if left == 1 else f"{left} conversations wait"
        line.say(_farewell(conversations, pipeline))


def _farewell(conversations: str, pipeline: Pipeline) -> str:
    root = pipeline.spool.root
    if root is None:
        return f"voicespan: {conversations} in memory and could not be sent"
    return f"voicespan: {conversations} in {root}; send with: {recover_command(pipeline.destination, root)}"


class _Line:
    """One line at the bottom of the terminal, drawn again and again; nothing where there is no terminal."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._drawn = ""

    def draw(self) -> None:
        """Show how far it is."""
        if not self._terminal:
            return
        left = self._pipeline.left()
        conversations = "1 conversation" if left == 1 else f"{left} conversations"
        text = f"voicespan: sending {conversations} to LangSmith"
        size, sent = self._pipeline.http.progress()
        if size:
            text += f" ({sent / 1e6:.1f} of {size / 1e6:.1f} MB)"
        text += ", Ctrl-C to leave them for later"
        if text != self._drawn:
            sys.stderr.write(f"\r{text:<{len(self._drawn)}}")
            sys.stderr.flush()
            self._drawn = text

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            sys.stderr.write("\r" + " " * len(self._drawn) + "\r")
            sys.stderr.flush()
            self._drawn = ""

    def say(self, words: str) -> None:
        """Tell what is left, where it is seen."""
        if self._terminal:
            sys.stderr.write(words + "\n")
        else:
            _logger.warning("%s", words)
