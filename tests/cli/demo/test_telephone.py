"""The caller's telephone, step by step, without a clock."""

from __future__ import annotations

import numpy as np
import pytest

from voicespan.cli.demo.story import Cue, Line
from voicespan.cli.demo.telephone import Caller, Loudspeaker

BLOCK = 960  # bytes of 20 ms
SILENT = bytes(BLOCK)


class Word(Line):
    """A line of 60 ms."""

    def pcm(self):
        return b"\x01\x02" * (3 * BLOCK // 2)


WORD = Word("word", "word")


def sound(milliseconds, value=7):
    return np.full(24 * milliseconds, value, "<i2").tobytes()


def test_the_loudspeaker_plays_at_the_speed_of_speech_what_came_all_at_once():
    loudspeaker = Loudspeaker()
    loudspeaker.play("answer", sound(50))

    assert [len(loudspeaker.block()) for _ in range(4)] == [BLOCK, BLOCK, BLOCK // 2, 0]
    assert loudspeaker.heard == pytest.approx(0.05)
    assert not loudspeaker.sounding


def test_a_cut_tells_how_much_of_the_answer_was_heard():
    loudspeaker = Loudspeaker()
    loudspeaker.play("first", sound(30))
    loudspeaker.play("second", sound(500))
    for _ in range(5):
        loudspeaker.block()

    assert loudspeaker.cut() == ("second", 70)
    assert loudspeaker.block() == b""
    assert loudspeaker.cut() is None


def test_of_an_answer_that_was_played_to_its_end_nothing_is_cut():
    loudspeaker = Loudspeaker()
    loudspeaker.play("answer", sound(20))
    loudspeaker.block()

    assert loudspeaker.cut() is None


def test_an_answer_that_was_not_begun_is_forgotten_without_a_cut():
    loudspeaker = Loudspeaker()
    loudspeaker.play("answer", sound(20))

    assert loudspeaker.cut() is None
    assert loudspeaker.block() == b""


def steps(caller, loudspeaker, seconds):
    """Whether the caller speaks, for each 20 ms."""
    spoken = []
    for _ in range(round(seconds * 50)):
        block = caller.block(loudspeaker)
        assert len(block) == BLOCK
        loudspeaker.block()
        spoken.append(block != SILENT)
    return spoken


def test_the_caller_speaks_after_a_silence():
    caller = Caller([Cue(WORD, after_silence=0.1)])

    assert steps(caller, Loudspeaker(), 0.2) == [False] * 4 + [True] * 3 + [False] * 3


def test_the_caller_waits_for_an_answer_before_the_next_line():
    caller, loudspeaker = Caller([Cue(WORD, 0.02), Cue(WORD, 0.1)]), Loudspeaker()
    assert sum(steps(caller, loudspeaker, 2)) == 3

    loudspeaker.play("answer", sound(200))
    assert sum(steps(caller, loudspeaker, 0.26)) == 0
    assert sum(steps(caller, loudspeaker, 0.2)) == 3


def test_the_caller_loses_patience_with_an_agent_that_does_not_answer():
    caller = Caller([Cue(WORD, 0.02), Cue(WORD, 0.1)])

    assert sum(steps(caller, Loudspeaker(), 8)) == 3
    assert sum(steps(caller, Loudspeaker(), 1)) == 3
    assert not caller.done
    steps(caller, Loudspeaker(), 8)
    assert caller.done


def test_the_caller_cuts_in_where_the_story_says():
    caller, loudspeaker = Caller([Cue(WORD, after_silence=5, cutting_in_at=0.3)]), Loudspeaker()
    loudspeaker.play("answer", sound(1000))

    spoken = steps(caller, loudspeaker, 1)
    assert spoken.index(True) == 15


def test_the_caller_hangs_up_a_second_after_the_last_answer():
    caller, loudspeaker = Caller([Cue(WORD, 0.02)]), Loudspeaker()
    steps(caller, loudspeaker, 0.2)
    loudspeaker.play("answer", sound(100))
    steps(caller, loudspeaker, 1.0)
    assert not caller.done
    steps(caller, loudspeaker, 0.2)
    assert caller.done


def test_no_call_is_longer_than_a_minute():
    caller, loudspeaker = Caller([Cue(WORD, after_silence=0.5)]), Loudspeaker()
    loudspeaker.play("answer", sound(100_000))
    steps(caller, loudspeaker, 59.9)
    assert not caller.done
    steps(caller, loudspeaker, 0.2)
    assert caller.done
