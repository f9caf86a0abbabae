"""How threads of ours leave the interpreter to the application's; `Spread` is tested with the recordings'."""

from __future__ import annotations

import os
import threading
import time

import pytest

from voicespan import courtesy
from voicespan.courtesy import turn


def test_one_works_at_a_time():
    at_work, most = 0, 0

    def work():
        nonlocal at_work, most
        for _ in range(20):
            with turn():
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
            waited.append(courtesy._turns.patience)
            with turn():
                pass

    with turn():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
    assert waited == [courtesy._PATIENCE] + [0.0] * 19
    with turn():
        assert courtesy._turns.patience == courtesy._PATIENCE


def test_who_is_late_waits_less_and_that_says_nothing_of_the_others():
    with turn():
        thread = threading.Thread(target=lambda: turn(0.0).__enter__())
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert courtesy._turns.patience == courtesy._PATIENCE


def test_a_turn_ends_whatever_goes_wrong_in_it():
    with pytest.raises(ZeroDivisionError), turn():
        1 / 0  # noqa: B018
    with turn():
        pass
    assert not courtesy._turns.lock.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
# Python 3.12 warns of forks beside threads, which is just what is tried here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_waits_for_nobody():
    with turn():
        child = os.fork()
        if not child:
            os._exit(courtesy._turns.lock.locked())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
