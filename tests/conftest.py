"""What every test shares: a guard that lets our own mistakes through, and the public fixtures."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time

import pytest
from opentelemetry import context as otel_context

from voicespan.runtime import guard
from voicespan.runtime.background import Loop
from voicespan.testing.gemini_live.certificates import authority
from voicespan.tracing import event_queue, registry, tracer

pytest_plugins = ["voicespan.testing.fixtures"]

# A shell starts its background jobs with SIGINT ignored, and every process that a test starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Let every SDK client trust one authority: to read the system's 140 takes 30 ms for each client.

    No test talks to a machine that the system's authorities vouch for.
    """
    if "SSL_CERT_FILE" not in os.environ:
        trusted = authority().file()
        os.environ["SSL_CERT_FILE"] = trusted.__enter__()
        config.add_cleanup(lambda: trusted.__exit__(None, None, None))
        config.add_cleanup(lambda: os.environ.pop("SSL_CERT_FILE", None))


def pytest_collection_finish():
    """Keep the garbage collector from looking through all modules and tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_calls_of_the_users(tmp_path_factory):
    """What is kept where nobody says where does not go into the home of who runs the tests."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _loud_guard(monkeypatch):
    """What production swallows is raised here."""
    monkeypatch.setattr(guard, "reraise", True)


#: A thread of ours stays for five seconds for what comes next, and each test waits for its threads.
Loop.__init__.__kwdefaults__["idle_seconds"] = 0.2


@pytest.fixture(autouse=True)
def _own_log_level():
    """A command that is called here sets it for its process."""
    ours = logging.getLogger("voicespan")
    before = ours.level
    yield
    ours.setLevel(before)


def _join(thread):
    for _ in range(1_000):
        try:
            thread.join(10)
        except RuntimeError:  # noqa: PERF203  it is being started
            time.sleep(0.01)
        else:
            return


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    """What a thread that was told to end still says must not stand in the next test's log."""
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        # The span thread is the process's own.
        if thread.name.startswith("voicespan") and thread not in before and thread.name != "voicespan-spans":
            _join(thread)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def unattended(monkeypatch):
    """What a frame tells is not written by another thread: only where too much waits, or somebody catches up.

    To be asked for before a conversation begins: the span thread comes again to one that it knows.
    """
    monkeypatch.setattr(event_queue._span_thread, "announce", lambda _queue: None)


@pytest.fixture(autouse=True)
def _fresh_context():
    """A conversation leaves no token behind, so each test starts from an empty context itself."""
    token = otel_context.attach(otel_context.Context())
    named = tracer.named_provider()
    yield
    tracer.name_provider(named)
    otel_context.detach(token)
    # What a test leaves open is not the next one's.
    registry._forget_open()
