"""What a person sees while a process that has ended its conversations delivers them."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from voicespan.delivery.destination.folder_destination import FolderDestination, not_delivered
from voicespan.delivery.destination.handed_over import HandedOver
from voicespan.delivery.spool.recovery_command import recover_command
from voicespan.runtime.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicespan.delivery.destination.any_destination import AnyDestination
    from voicespan.delivery.export.http_client import HttpClient
    from voicespan.delivery.pipeline import Pipeline

_logger = logging.getLogger("voicespan")
#: Seconds after a line of the log in which nothing is drawn: its handler has not written it yet.
_QUIET = 0.3
#: Seconds to wait for another thread that writes to the terminal.
_PATIENCE = 0.2
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
        if isinstance(pipeline.destination, FolderDestination):
            said.append(f"voicespan: {waiting} in {root}, not finished; finish with: voicespan view {root}")
        elif isinstance(pipeline.destination, HandedOver):
            said.append(f"voicespan: {waiting} in {root}, which voicespan deliver finishes and sends")
        else:
            command = recover_command(pipeline.destination, root)
            said.append(f"voicespan: {waiting} in {root}; send with: {command}")
    if in_memory:
        lost = "1 conversation is" if in_memory == 1 else f"{in_memory} conversations are"
        reason = pipeline.scheduler.reason
        why = f" ({reason})" if reason else ""
        said.append(
            f"voicespan: {lost} lost: in memory, {not_delivered(pipeline.destination)}{why}, and no disk took what "
            "was missing"
        )
    return said


class Sender(Protocol):
    """Whoever sends what the line is about."""

    @property
    def destination(self) -> AnyDestination:
        """Where it goes."""

    @property
    def http(self) -> HttpClient | None:
        """What it goes through; None: nothing goes over the network."""

    def left(self) -> int:
        """How many conversations are not sent."""
        ...


class ProgressLine(logging.Filter):
    """One line at the bottom of the terminal, drawn again and again; nothing where there is no terminal.

    As a filter of every handler it makes room for what anybody logs, which would begin in the middle of the line.
    """

    def __init__(self, sender: Sender, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds on a clock that only goes forward."""
        super().__init__()
        self._sender = sender
        self._now = now
        self._drawn = ""
        self._quiet_until = -math.inf
        self._lock = threading.RLock()
        self._terminal = False
        self._handlers: list[logging.Handler] = []
        with contextlib.suppress(*_UNWRITABLE):
            self._terminal = sys.stderr is not None and bool(sys.stderr.isatty())
        if self._terminal:
            with guard():
                for handler in _handlers():
                    handler.addFilter(self)
                    self._handlers.append(handler)

    def close(self) -> None:
        """Take the line away; nothing is drawn any more."""
        while self._handlers:
            with guard():
                self._handlers.pop().removeFilter(self)
        with self._held():
            self._quiet_until = math.inf
            self._clear()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  all are let through
        """Make room for a line of the log, which its handler writes a moment later."""
        with self._held():
            self._quiet_until = max(self._quiet_until, self._now() + _QUIET)
            self._clear()
        return True

    def draw(self) -> None:
        """Show how far it is."""
        left = self._sender.left() if self._terminal else 0
        with self._held():
            if not left:
                self._clear()
            elif self._now() >= self._quiet_until:
                self._show(self._text(left))

    def _text(self, left: int) -> str:
        conversations = "1 conversation" if left == 1 else f"{left} conversations"
        destination, http = self._sender.destination, self._sender.http
        if isinstance(destination, FolderDestination | HandedOver):
            text = f"voicespan: finishing {conversations}"
        else:
            collector = destination.through_collector
            text = f"voicespan: sending {conversations} to {'the Collector' if collector else 'LangSmith'}"
        size, sent = (0, 0) if http is None else http.progress()
        if size:
            text += f" ({sent / 1e6:.1f} of {size / 1e6:.1f} MB)"
        return text + ", Ctrl-C to leave them for later"

    def _show(self, text: str) -> None:
        if text != self._drawn:
            before, self._drawn = self._drawn, text
            self._write(f"\r{text:<{len(before)}}")

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Alone with the terminal; not for the price of waiting for a terminal that has stopped."""
        held = self._lock.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            if held:
                self._lock.release()

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


def _handlers() -> set[logging.Handler]:
    """Those of every logger, and what stands in where there is none."""
    loggers = [logging.root, *list(logging.root.manager.loggerDict.values())]
    found = {handler for logger in loggers for handler in getattr(logger, "handlers", ())}
    return found if logging.lastResort is None else {*found, logging.lastResort}
