"""What the guard logs goes through handlers and filters of the application's, which may do anything."""

from __future__ import annotations

import logging
import threading

import pytest

from voicespan.runtime import guard


@pytest.fixture(autouse=True)
def _nothing_reported_yet(monkeypatch):
    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(guard, "reraise", False)


def test_a_log_handler_that_raises_does_not_reach_the_application():
    class Strict(logging.Handler):
        def emit(self, record):
            raise RuntimeError(record.getMessage())

    strict = Strict()
    logging.getLogger("voicespan").addHandler(strict)
    try:
        with guard.guard():
            raise KeyError("of ours")
    finally:
        logging.getLogger("voicespan").removeHandler(strict)


def test_a_log_handler_may_itself_meet_a_fault_of_ours():
    """What is reported in the middle of a report takes no lock that its thread holds."""
    logged = []

    class Nested(logging.Handler):
        def emit(self, record):
            logged.append(record)
            with guard.guard():
                raise ValueError("while it is logged")

    nested = Nested()
    logging.getLogger("voicespan").addHandler(nested)
    try:
        reporting = threading.Thread(target=lambda: guard.report(KeyError("first")), daemon=True)
        reporting.start()
        reporting.join(30)
        assert not reporting.is_alive()
    finally:
        logging.getLogger("voicespan").removeHandler(nested)
    assert len(logged) == 2
