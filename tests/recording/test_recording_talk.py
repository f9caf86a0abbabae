"""How both sides share a call: the sums do not depend on when they are made, and each stretch counts once."""

from __future__ import annotations

import numpy as np
import pytest
from studio import Studio

from voicespan.recording.timeline.talk import TalkTimes
from voicespan.recording.timeline.timeline import FOREVER

MS, S = 1_000_000, 1_000_000_000
RATE = 24_000


def seconds(*times):
    return [(round(start * S), round(end * S)) for start, end in times]


def sums(times):
    return {
        name: getattr(times, name)
        for name in (
            "user", "agent", "overlap", "silence", "spoken", "longest_silence", "dead_air", "dead_air_count",
            "agent_interrupts", "talk_overs", "yields", "user_spoke_at",
        )
    }  # fmt: skip


USER = seconds((1, 3), (10, 11), (12, 15), (21, 22), (30, 31))
AGENT = seconds((4, 11.5), (14, 16), (22, 25))


def folded(*at):
    times = TalkTimes()
    for until in (*at, FOREVER):
        times.fold(USER, AGENT, until if until == FOREVER else round(until * S))
    return sums(times)


def test_the_sums_of_a_call():
    assert folded() == {
        "user": 8 * S,
        "agent": round(12.5 * S),
        "overlap": 2 * S,
        "silence": round((1 + 0.5 + 5 + 5) * S),
        "spoken": 30 * S,
        "longest_silence": 5 * S,
        "dead_air": 10 * S,
        "dead_air_count": 2,
        "agent_interrupts": 1,
        "talk_overs": 1,
        "yields": 1,
        "user_spoke_at": 1 * S,
    }


@pytest.mark.parametrize("at", [(2,), (10.5,), (3, 14.5, 14.5, 23), tuple(range(0, 40, 1)), (35,)])
def test_it_is_the_same_whenever_it_is_added(at):
    assert folded(*at) == folded()


def test_what_was_cut_since_ends_where_it_was_added():
    times = TalkTimes()
    times.fold([], seconds((1, 9)), 5 * S)
    times.fold([], seconds((1, 4.5)), FOREVER)
    assert (times.agent, times.spoken) == (4 * S, 4 * S)


def test_an_agent_that_pauses_while_it_is_spoken_over_interrupts_nobody():
    times = TalkTimes()
    times.fold(seconds((2, 6)), seconds((1, 3), (4, 5)), FOREVER)
    assert (times.agent_interrupts, times.talk_overs) == (0, 1)


def test_an_agent_that_goes_on_for_longer_than_two_seconds_does_not_yield():
    times = TalkTimes()
    times.fold(seconds((2, 3), (3.5, 4)), seconds((1, 5)), FOREVER)
    # At 5 s it is silent: 3 s after the first onset, 1.5 s after the second.
    assert (times.talk_overs, times.yields) == (2, 1)


@pytest.fixture
def studio(tmp_path) -> Studio:
    return Studio(tmp_path)


def tone(length, level=8_000):
    return (np.sin(np.arange(round(RATE * length)) * 0.05) * level).astype(np.int16)


def test_a_recorder_knows_how_a_call_was_shared(studio):
    recorder = studio.recorder()
    assert recorder.talk() is None
    quiet = np.zeros(RATE, np.int16)
    studio.speak(recorder.user, np.concatenate([quiet, tone(2), quiet]), RATE, piece=0.1)
    # What is not settled counts only when the call is over.
    recorder.agent(tone(1.5).tobytes(), RATE)
    assert recorder.talk().agent == 0
    talk = recorder.talk(final=True)
    assert talk.user == pytest.approx(2 * S, abs=20 * MS)
    assert talk.agent == pytest.approx(1.5 * S, abs=20 * MS)
    assert (talk.hears_user, talk.hears_agent, talk.microphone_dead) == (True, True, None)


def test_a_side_that_nobody_records_is_not_known(studio):
    recorder = studio.recorder()
    recorder.agent(tone(1).tobytes(), RATE)
    talk = recorder.talk(final=True)
    assert (talk.hears_user, talk.hears_agent) == (False, True)


@pytest.mark.parametrize(("level", "dead"), [(0, True), (20, True), (400, False)])
def test_a_microphone_that_gives_nothing_is_dead(studio, level, dead):
    recorder = studio.recorder()
    studio.speak(recorder.user, tone(6, level), RATE, piece=0.1)
    assert recorder.talk().microphone_dead is dead


def test_answers_that_nobody_could_hear_are_counted(studio):
    recorder = studio.recorder()
    for level in (8_000, 10, 8_000, 0):
        recorder.mark_answer()
        recorder.agent(tone(1, level).tobytes(), RATE)
        studio.wait(1.5)
    # The last one may go on, and be heard.
    assert recorder.talk().inaudible_answers == 1
    assert recorder.talk(final=True).inaudible_answers == 2


def test_what_is_heard_of_the_next_answer_is_not_heard_of_one_that_nobody_could_hear(studio):
    recorder = studio.recorder()
    marked = []
    for level in (8_000, 10, 8_000):
        marked.append(studio.now)
        recorder.mark_answer()
        studio.wait(0.1)
        recorder.agent(tone(1, level).tobytes(), RATE)
        studio.wait(1.5)
    first, silent, third = (recorder.first_heard(at) for at in marked)
    assert first == pytest.approx(marked[0] + 0.1, abs=0.01)
    assert silent is None
    assert third == pytest.approx(marked[2] + 0.1, abs=0.01)
    # A device may play it much later.
    recorder.source = "devices"
    assert recorder.first_heard(marked[1]) == third


def test_an_answer_that_was_cut_before_it_was_heard_is_not_inaudible(studio):
    recorder = studio.recorder()
    recorder.mark_answer()
    recorder.agent(np.concatenate([np.zeros(RATE // 10, np.int16), tone(1)]).tobytes(), RATE)
    studio.wait(0.1)
    recorder.cut_agent()
    studio.wait(1)
    assert recorder.talk(final=True).inaudible_answers == 0
    assert recorder.talk(final=True).agent == 0


def test_of_a_long_call_nothing_is_forgotten(studio):
    """More stretches than the detector remembers."""
    recorder = studio.recorder()
    said = np.concatenate([tone(0.3), np.zeros(round(0.4 * RATE), np.int16)])
    for _ in range(300):
        recorder.user(said.tobytes(), RATE)
        studio.wait(0.7)
    assert recorder.talk(final=True).user == pytest.approx(300 * 0.3 * S, rel=0.05)
