"""What a person sees while a process that has ended its conversations delivers them."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Protocol

from voicespan.delivery.spool.recovery_command import recover_command
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.export.http_client import HttpClient
    from voicespan.delivery.pipeline import Pipeline

_logger = logging.getLogger("voicespan")
#: What writing to a terminal may raise: it is gone, or an object of the application's stands in its place.
_UNWRITABLE = (AttributeError, OSError, RuntimeError, TypeError, ValueError)


def wait_at_exit(pipeline: Pipeline, seconds: float) -> None:
    """Deliver what is complete within `seconds`; on a terminal with one line that shows how far it is."""
    line = ProgressLine(pipeline)
    try:
        pipeline.shutdown(pipeline.now() + seconds, line.draw)
    except KeyboardInterrupt:
        # A second Ctrl-C: the person does not want to wait. It is all in the spool.
        pipeline.stop()
    finally:
        line.close()
    for words in _farewell(pipeline):
        line.say(words)


def _farewell(pipeline: Pipeline) -> list[str]:
    """What is left and where, a line for each place."""
    left, in_memory = pipeline.left(), pipeline.left_in_memory()
    root = pipeline.spool.root
    said = []
    if left - in_memory and root is not None:
        waiting = (
            "1 conversation waits" if left - in_memory == 1 else f"{left - in_memory} conversations wait"
        )
        command = recover_command(pipeline.destination, root)
        said.append(f"voicespan: {waiting} in {root}; send with: {command}")
    if in_memory:
        lost = "1 conversation is" if in_memory == 1 else f"{in_memory} conversations are"
        reason = pipeline.scheduler.reason
        why = f" ({reason})" if reason else ""
        said.append(
            f"voicespan: {lost} lost: in memory, not sent to {pipeline.destination.shown}{why}, and no disk took what "
            "was missing"
        )
    return said


class Sender(Protocol):
    """Whoever sends what the line is about."""

    destination: Destination
    http: HttpClient

    def left(self) -> int:
        """How many conversations are not sent."""
        ...


class ProgressLine(logging.Filter):
    """One line at the bottom of the terminal, drawn again and again; nothing where there is no terminal.

    As a filter of our logger it makes room for what is logged, which would begin in the middle of the line.
    """

    def __init__(self, sender: Sender) -> None:
        super().__init__()
        self._sender = sender
        self._drawn = ""
        self._terminal = False
        with contextlib.suppress(*_UNWRITABLE):
            self._terminal = sys.stderr is not None and bool(sys.stderr.isatty())
        if self._terminal:
            _logger.addFilter(self)

    def close(self) -> None:
        """Take the line away; nothing is drawn any more."""
        _logger.removeFilter(self)
        self._clear()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  all are let through
        """Make room for a line of the log."""
        self._clear()
        return True

    def draw(self) -> None:
        """Show how far it is."""
        left = self._sender.left() if self._terminal else 0
        if not left:
            self._clear()
            return
        conversations = "1 conversation" if left == 1 else f"{left} conversations"
        collector = self._sender.destination.through_collector
        text = f"voicespan: sending {conversations} to {'the Collector' if collector else 'LangSmith'}"
        size, sent = self._sender.http.progress()
        if size:
            text += f" ({sent / 1e6:.1f} of {size / 1e6:.1f} MB)"
        text += ", Ctrl-C to leave them for later"
        if text != self._drawn:
            self._write(f"\r{text:<{len(self._drawn)}}")
            self._drawn = text

    def say(self, words: str) -> None:
        """Say what is left, where it is seen."""
        if self._terminal:
            self._write(words + "\n")
        if not self._terminal:
            with guard():
                _logger.warning("%s", words)

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r" + " " * len(self._drawn) + "\r")
            self._drawn = ""

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except _UNWRITABLE:
            self._terminal = False
