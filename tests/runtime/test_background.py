"""The one class that makes threads: it starts them without a lock, bears that they cannot be started, and ends them."""

from __future__ import annotations

import os
import threading

import pytest

from voicespan.runtime import background
from voicespan.runtime.background import Loop, Signal


@pytest.fixture
def loops():
    """Makes loops, and ends their threads."""
    made = []

    def make(step, **settings):
        made.append(Loop("voicespan-test", step, **settings))
        return made[-1]

    yield make
    for loop in made:
        loop.stop()


class Steps:
    """A step that counts, and says when it was called."""

    def __init__(self, *delays):
        self.delays, self.count, self.changed = list(delays), 0, threading.Condition()
        self.threads = set()

    def __call__(self):
        with self.changed:
            self.count += 1
            self.threads.add(threading.current_thread())
            self.changed.notify_all()
            return self.delays.pop(0) if self.delays else None

    def reached(self, count):
        with self.changed:
            return self.changed.wait_for(lambda: self.count >= count, 30)


def test_a_step_is_done_when_it_is_woken_and_when_its_time_comes(loops):
    steps = Steps(0.001, 0.001)
    loops(steps).wake()
    assert steps.reached(3)


def test_a_thread_that_has_nothing_to_do_ends_and_another_takes_its_place(loops):
    steps = Steps()
    loop = loops(steps, idle_seconds=0.01)
    loop.wake()
    assert steps.reached(1)
    (first,) = steps.threads
    first.join(30)
    assert not first.is_alive()
    loop.wake()
    assert steps.reached(2)
    assert len(steps.threads) == 2


@pytest.mark.parametrize("what", ["_thread.start_new_thread", "threading.Thread.start"])
def test_where_no_thread_can_be_started_the_next_wake_tries_again(loops, monkeypatch, what):
    steps = Steps()
    loop = loops(steps)
    tried = threading.Event()

    def cannot(*_):
        tried.set()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        module, name = what.split(".", 1)
        patched.setattr(f"{module}.{name}", cannot)
        loop.wake()
        assert tried.wait(30)
        # The token is back once the failure has been seen.
        assert loop._token.acquire(timeout=30)
        loop._token.release()
    loop.wake()
    assert steps.reached(1)


def test_where_no_thread_could_be_started_the_step_of_another_one_tries_again(loops, monkeypatch):
    late, other = Steps(), Steps()
    loop, running = loops(late), loops(other)
    running.wake()
    with other.changed:
        assert other.changed.wait_for(lambda: other.count, 10)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        loop.wake()
        while not loop._failed:  # it is found out in a thread of its own
            threading.Event().wait(0.01)
    assert late.count == 0
    running.wake()
    with late.changed:
        assert late.changed.wait_for(lambda: late.count, 10)


def test_what_interrupts_a_wake_or_a_start_may_wake_it_as_well(loops, monkeypatch):
    """A finaliser or a signal handler runs in the middle of what its thread does."""
    steps = Steps()
    loop = loops(steps)
    start = background._thread.start_new_thread

    def interrupted(function, arguments):
        loop.wake()
        return start(function, arguments)

    monkeypatch.setattr(background._thread, "start_new_thread", interrupted)
    woken = threading.Thread(target=loop.wake, daemon=True)
    woken.start()
    woken.join(30)
    assert not woken.is_alive()
    assert steps.reached(1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_step_that_leaves_its_thread_leaves_no_token_behind(loops):
    steps = Steps()

    def exits():
        steps()
        if steps.count == 1:
            raise SystemExit

    loop = loops(exits)
    loop.wake()
    assert steps.reached(1)
    for thread in steps.threads:
        thread.join(30)
    loop.wake()
    assert steps.reached(2)


def test_a_step_is_done_by_one_thread_at_a_time(loops):
    """Who does a step itself, since no thread may be started any more, does none beside one that is on its way."""
    steps = Steps()
    loop = loops(steps)
    assert loop._token.acquire(timeout=0)
    loop.run_once()
    assert steps.count == 0
    loop._token.release()
    loop.run_once()
    assert steps.threads == {threading.current_thread()}


def test_a_signal_is_taken_by_who_waited_for_it():
    signal = Signal()
    assert not signal.wait(0)
    signal.set()
    signal.set()
    assert signal.is_set()
    assert signal.wait()
    assert not signal.wait(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_a_thread_of_its_own(loops):
    steps = Steps()
    loop = loops(steps)
    loop.wake()
    assert steps.reached(1)
    child = os.fork()
    if not child:
        status = 1
        try:
            steps.changed = threading.Condition()
            loop.wake()
            status = 0 if steps.reached(2) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
