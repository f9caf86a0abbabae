"""The line on a terminal that says how much is being sent, and what others log meanwhile."""

from __future__ import annotations

import io
import logging
import sys
import time
from types import SimpleNamespace

import pytest

from voicespan.delivery.shutdown import ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def begin(monkeypatch):
    """A function that makes a line on a terminal of its own."""

    def begin(sender, now=time.monotonic):
        # Not before: pytest puts its own in place when the test begins.
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal, ProgressLine(sender, now)

    return begin


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def sender(left=1, collector=False, progress=(0, 0)):
    return SimpleNamespace(
        left=lambda: left,
        destination=SimpleNamespace(through_collector=collector),
        http=SimpleNamespace(progress=lambda: progress),
    )


class Late(logging.StreamHandler):
    """Writes a while after it was asked to: what draws in between is another thread in real life."""

    def emit(self, record):
        self.line.draw()
        super().emit(record)


@pytest.mark.parametrize("name", ["voicespan", "somebody.else"])
def test_a_line_of_the_log_stands_alone(begin, name):
    logger, clock = logging.getLogger(name), Clock()
    handler = Late()
    logger.addHandler(handler)
    try:
        terminal, line = begin(sender(), clock)
        handler.line, handler.stream = line, terminal
        line.draw()
        logger.warning("something happened")
        clock.now += 1
        line.draw()
        line.close()
        line.draw()
    finally:
        logger.removeHandler(handler)
    drawn = "voicespan: sending 1 conversation to LangSmith, Ctrl-C to leave them for later"
    gone = "\r" + " " * len(drawn) + "\r"
    assert terminal.getvalue() == f"\r{drawn}{gone}something happened\n\r{drawn}{gone}"
    assert handler.filters == []


def test_what_the_last_resort_writes_stands_alone(begin, monkeypatch):
    # Where nobody has configured logging, and no handler of the tests' own is there.
    monkeypatch.setattr(logging.root, "handlers", [])
    terminal, line = begin(sender(collector=True, progress=(2_000_000, 500_000)))
    line.draw()
    logging.getLogger("another").warning("something happened")
    line.close()
    shown = [part for part in terminal.getvalue().replace("\n", "\r").split("\r") if part.strip()]
    assert shown == [
        "voicespan: sending 1 conversation to the Collector (0.5 of 2.0 MB), Ctrl-C to leave them for later",
        "something happened",
    ]


def test_nothing_to_send_shows_nothing(begin):
    terminal, line = begin(sender(left=0))
    line.draw()
    line.close()
    assert terminal.getvalue() == ""


def test_where_there_is_no_terminal_nothing_is_drawn(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    line = ProgressLine(sender())
    line.draw()
    line.close()
    assert stream.getvalue() == ""
