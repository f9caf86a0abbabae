"""`signal(SIGTERM, provider.shutdown)`: what has ended is delivered at once, wherever in our code the signal comes.

The handler interrupts the thread that reads frames, with any of our locks held, and waits for threads of ours. So none of
these may wait for a lock that frames are read with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from voicespan.delivery.traces import Trace

PROGRAM = Path(__file__).parent / "programs" / "stopped.py"
#: Seconds that a shutdown may take altogether, and in which it has to be done.
LIMIT, QUICK = "30", 15


@pytest.fixture
def stop(langsmith_server, spool_dir, monkeypatch):
    """Runs the program until it is stopped; what it says, and the runs that LangSmith has."""
    monkeypatch.setenv("LANGSMITH_API_KEY", langsmith_server.api_key)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith_server.url)
    monkeypatch.setenv("VOICESPAN_SPOOL_DIR", str(spool_dir))
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", LIMIT)

    def stop(way, seconds):
        command = [sys.executable, str(PROGRAM), way, str(seconds)]
        finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)
        return json.loads(finished.stdout), {root.id for root in langsmith_server.roots}

    return stop


@pytest.mark.parametrize("way", ["on_start", "on_end", "redact", "log"])
def test_raised_in_a_hook_of_the_application_inside_our_code(stop, way):
    said, roots = stop(way, 0)
    assert said["ended"]
    assert set(said["ended"]) <= roots
    assert said["took"] < QUICK


@pytest.mark.parametrize(("way", "seconds"), [("kill", 0.06), ("kill", 0.14), ("thread", 0.1)])
def test_whenever_it_comes_from_outside(stop, way, seconds):
    said, roots = stop(way, seconds)
    assert set(said["ended"]) <= roots
    assert said["took"] < QUICK


@contextmanager
def elsewhere(lock):
    """Another thread holds the lock, and does not come to let it go."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.timeout(20)
def test_a_checkpoint_does_not_wait_for_who_reads_a_frame(manual):
    conversation = manual().conversation()
    with elsewhere(conversation.lifecycle.lock):
        assert conversation.root_facts() is None
    assert conversation.root_facts()
    conversation.end()


@pytest.mark.timeout(20)
def test_nor_does_the_count_of_what_there_was_no_room_for():
    trace = Trace(1, 2, time.time_ns(), None)
    with elsewhere(trace._counting):
        trace.unwritten(2)
        trace.unwritten(3)
        assert trace.dropped == 5
