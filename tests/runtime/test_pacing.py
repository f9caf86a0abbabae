"""How threads of ours leave the interpreter to the application's."""

from __future__ import annotations

import os
import threading
import time

import pytest

from voicespan.runtime import pacing
from voicespan.runtime.pacing import background_slot, paced


def test_one_works_at_a_time():
    at_work, most = 0, 0

    def work():
        nonlocal at_work, most
        for _ in range(20):
            with background_slot():
                at_work += 1
                most = max(most, at_work)
                time.sleep(0.0002)
                at_work -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_has_waited_long_enough_works_all_the_same_and_the_next_does_not_wait():
    waited = []

    def work():
        for _ in range(20):
            waited.append(pacing._slot.patience)
            with background_slot():
                pass

    with background_slot():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
    assert waited == [pacing._PATIENCE] + [0.0] * 19
    with background_slot():
        assert pacing._slot.patience == pacing._PATIENCE


def test_who_is_late_waits_less_and_that_says_nothing_of_the_others():
    with background_slot():
        thread = threading.Thread(target=lambda: background_slot(0.0).__enter__())
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert pacing._slot.patience == pacing._PATIENCE


def test_a_turn_ends_whatever_goes_wrong_in_it():
    with pytest.raises(ZeroDivisionError), background_slot():
        1 / 0  # noqa: B018
    with background_slot():
        pass
    assert not pacing._slot.lock.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
# Python 3.12 warns of forks beside threads, which is just what is tried here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_waits_for_nobody():
    with background_slot():
        child = os.fork()
        if not child:
            os._exit(pacing._slot.lock.locked())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def slept(monkeypatch, fake_clock):
    """How long a thread rests, on a clock on which it works all the time that it does not."""
    rests = []

    def sleep(seconds):
        rests.append(pytest.approx(seconds, abs=1e-9))
        fake_clock.advance(seconds)
        rested[0] += seconds

    rested = [fake_clock.monotonic_ns() / 1e9]
    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.thread_time", lambda: fake_clock.monotonic_ns() / 1e9 - rested[0])
    return rests


def test_pieces_are_spread_over_their_time(slept, fake_clock):
    paced([0.0015] * 5, fake_clock.advance, 0.02, fake_clock)
    assert slept == [0.0025] * 4  # none after the last


def test_small_pieces_go_together(slept, fake_clock):
    """To have the interpreter again is what a small one costs most."""
    paced([0.0003] * 10, fake_clock.advance, 0.02, fake_clock)
    # Four are 1.2 ms of work, and have 8 ms.
    assert slept == [0.0068, 0.0068]


def test_a_rest_is_never_long(slept, fake_clock):
    paced([0.0015] * 2, fake_clock.advance, 1.0, fake_clock)
    assert slept == [0.01]


def test_who_is_late_rests_as_long_as_it_worked(slept, fake_clock):
    """Else an event loop gets no more of the interpreter than each of our threads."""
    paced([0.002, 0.003, 3.0, 0.001], fake_clock.advance, 0.0, fake_clock, rests=1.0)
    assert slept == [0.002, 0.003, 0.01]


def test_who_does_not_rest_lets_another_thread_wake_up(slept, fake_clock):
    paced([0.002] * 3, fake_clock.advance, 0.0, fake_clock)
    assert slept == [50e-6, 50e-6]


def test_pieces_are_worked_on_in_a_turn_that_others_have_between(slept, fake_clock, monkeypatch):
    held = []

    def work(seconds):
        held.append(pacing._slot.lock.locked())
        fake_clock.advance(seconds)

    monkeypatch.setattr("time.sleep", lambda _: held.append(pacing._slot.lock.locked()))
    paced([0.002, 0.002], work, 0.0, fake_clock)
    assert held == [True, False, True]
    with pytest.raises(ZeroDivisionError):
        paced([1, 0], lambda piece: 1 / piece, 0.0, fake_clock)
    assert not pacing._slot.lock.locked()


def test_nothing_to_do_is_done_at_once(slept, fake_clock):
    paced([], fake_clock.advance, 0.02, fake_clock)
    assert slept == []
