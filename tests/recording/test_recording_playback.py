"""What the trace asks the recorder: when the agent was heard, and how much of it."""

from __future__ import annotations

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from studio import noise

from voicespan.recording.codec.samples import AT_ONCE
from voicespan.recording.timeline import activity
from voicespan.recording.timeline.activity import ActivityDetector

RATE = 24_000


def quiet(seconds: float) -> np.ndarray:
    """Audio at and below the threshold: -60 dBFS."""
    return np.random.default_rng(0).integers(-32, 33, round(seconds * RATE)).astype(np.int16)


def ago(studio, time):
    """Seconds since the recorder was made."""
    return None if time is None else pytest.approx(time - studio.opened_at, abs=1e-6)


def test_heard_begins_with_the_first_sample_above_the_threshold(studio):
    recorder = studio.recorder()
    speech = noise(RATE)
    speech[0] = -33
    studio.wait(1.0)
    recorder.agent(np.concatenate([quiet(0.3), speech, quiet(0.3)]).tobytes())
    assert recorder.first_heard(studio.opened_at) is None  # nothing yet
    studio.wait(0.29)
    assert recorder.first_heard(studio.opened_at) is None
    studio.wait(0.02)
    assert ago(studio, recorder.first_heard(studio.opened_at)) == 1.3  # before it has settled
    studio.wait(3.0)
    assert ago(studio, recorder.first_heard(studio.opened_at)) == 1.3
    assert recorder.heard_ms(studio.opened_at) == pytest.approx(1_000)
    assert recorder.first_heard(studio.opened_at + 1.5) is None


def test_who_is_patient_has_nothing_looked_through_while_the_writer_is_behind(studio):
    recorder = studio.recorder()
    studio.wait(0.25)
    marked = studio.now
    recorder.mark_answer()
    recorder.agent(noise(RATE).tobytes())
    studio.clock.advance(0.6)  # the pass that was due is late
    assert recorder.first_heard(marked, patient=True) is None
    assert recorder._queue.waits  # neither the mark nor the audio was read
    studio.wait(0.25)
    assert ago(studio, recorder.first_heard(marked, patient=True)) == 0.25


def test_who_is_patient_is_told_at_once_while_it_is_not(studio):
    recorder = studio.recorder()
    studio.wait(0.25)
    recorder.agent(noise(RATE).tobytes())
    studio.clock.advance(0.1)
    assert ago(studio, recorder.first_heard(studio.opened_at, patient=True)) == 0.25


@pytest.mark.parametrize(("value", "heard"), [(32, None), (-32, None), (33, 0.25), (-33, 0.25)])
def test_the_threshold(studio, value, heard):
    recorder = studio.recorder()
    samples = np.zeros(RATE, np.int16)
    samples[RATE // 4 :] = value
    recorder.agent(samples.tobytes())
    studio.wait(1.5)
    first = recorder.first_heard(studio.opened_at)
    assert first == heard if heard is None else ago(studio, first) == heard


def test_quiet_between_words_is_speech_and_takes_no_room(studio):
    recorder = studio.recorder()
    recorder.agent(np.concatenate([noise(4_800), quiet(0.15)] * 20).tobytes())
    studio.wait(10)
    assert len(recorder._writer._listener.agent._times) == 1


def test_what_a_late_cut_took_back_was_not_heard(studio):
    recorder = studio.recorder()
    recorder.agent(np.concatenate([quiet(0.5), noise(RATE)]).tobytes())
    studio.wait(1.25)
    assert ago(studio, recorder.first_heard(studio.opened_at)) == 0.5
    recorder.cut_agent(at=studio.opened_at + 0.4)
    assert recorder.first_heard(studio.opened_at) is None


def test_a_user_is_not_the_agent(studio):
    recorder = studio.recorder()
    recorder.user(noise(RATE).tobytes())
    studio.wait(2)
    assert recorder.first_heard(studio.opened_at) is None
    assert recorder.heard_ms(studio.opened_at) == 0


def test_what_was_sounding_already_is_not_the_answer(studio):
    recorder = studio.recorder()
    recorder.agent(noise(2 * RATE).tobytes())  # 0 to 2
    studio.wait(1.0)
    asked = studio.now
    studio.wait(2.0)
    recorder.agent(noise(RATE).tobytes())  # 3 to 4
    studio.wait(0.5)
    assert ago(studio, recorder.first_heard(asked)) == 3.0
    studio.wait(2.0)
    assert ago(studio, recorder.first_heard(asked)) == 3.0
    assert ago(studio, recorder.first_heard(studio.opened_at)) == 0.0


def test_an_answer_that_waits_behind_another_is_heard_after_it(studio):
    recorder = studio.recorder()
    recorder.agent(noise(2 * RATE).tobytes())  # 0 to 2
    studio.wait(1.0)
    recorder.mark_answer()
    marked = studio.now
    assert recorder.first_heard(marked) is None
    studio.wait(0.25)
    recorder.agent(noise(2 * RATE).tobytes())  # 2 to 4, without a gap
    studio.wait(0.5)
    assert recorder.first_heard(marked) is None
    studio.wait(1.0)
    assert ago(studio, recorder.first_heard(marked)) == 2.0
    cut = recorder.cut_agent()
    assert (cut.heard_ms, cut.unheard_ms) == (750, 1_250)
    assert ago(studio, recorder.first_heard(studio.opened_at)) == 0.0


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("silence", [0.0, 0.1])
def test_an_answer_is_told_apart_from_one_that_just_ended(studio, settled, silence):
    recorder = studio.recorder()
    recorder.agent(noise(RATE).tobytes())  # 0 to 1
    studio.wait(0.5)
    recorder.mark_answer()
    recorder.agent(np.concatenate([quiet(silence), noise(RATE)]).tobytes())
    marked = studio.now
    studio.wait(0.5 + silence + (2.0 if settled else 0.001))
    assert ago(studio, recorder.first_heard(marked)) == 1.0 + silence


def test_heard_milliseconds_are_those_between_two_times(studio):
    recorder = studio.recorder()
    recorder.agent(noise(2 * RATE).tobytes())
    studio.wait(3.0)
    recorder.agent(noise(2 * RATE).tobytes())
    studio.wait(1.0)
    opened = studio.opened_at
    assert recorder.heard_ms(opened, opened + 1.5) == pytest.approx(1_500)
    assert recorder.heard_ms(opened + 1.0, opened + 3.5) == pytest.approx(1_500)
    assert recorder.heard_ms(opened + 2.1, opened + 2.9) == 0
    assert recorder.heard_ms(opened) == pytest.approx(3_000)  # not what is still to be heard
    recorder.cut_agent()
    studio.wait(5.0)
    assert recorder.heard_ms(opened) == pytest.approx(3_000)


def test_a_device_s_endless_stream_of_zeros_is_not_heard(studio):
    recorder = studio.recorder()
    speech = noise(RATE)
    stream = np.concatenate([np.zeros(RATE, np.int16), speech, np.zeros(RATE, np.int16)] * 2)
    for n in range(0, len(stream), 480):
        recorder.agent(stream[n : n + 480].tobytes(), at=studio.now + 0.1)
        studio.wait(0.02)
    assert ago(studio, recorder.first_heard(studio.opened_at)) == 1.1
    assert ago(studio, recorder.first_heard(studio.opened_at + 2.0)) == 4.1
    assert recorder.heard_ms(studio.opened_at, studio.opened_at + 3.5) == pytest.approx(1_000)


def test_a_pause_is_not_listened_to(studio):
    recorder = studio.recorder()
    recorder.pause()
    recorder.agent(noise(RATE).tobytes())
    studio.wait(2)
    assert recorder.first_heard(studio.opened_at) is None


def test_only_the_last_minutes_are_remembered(studio):
    recorder = studio.recorder()
    for _ in range(400):
        recorder.agent(noise(80).tobytes(), 8_000)
        studio.wait(1.0)
    writer = recorder._writer
    assert len(writer._listener.agent._times) == len(writer.timeline.agent._intervals) == 256
    assert ago(studio, recorder.first_heard(studio.opened_at + 398.5)) == 399.0
    assert recorder.heard_ms(studio.opened_at + 390) == pytest.approx(100)


def test_what_is_told_of_the_file(studio):
    recorder = studio.recorder(started_at=studio.now - 2.0)
    assert (recorder.channels, recorder.rate, recorder.seconds, recorder.source) == (2, 0, 0.0, "app")
    assert recorder.started_at == studio.now - 2.0
    assert recorder.started_at_wall_ns == studio.clock.time_ns() - 2 * 10**9
    recorder.user(noise(16_000).tobytes(), 16_000)
    studio.wait(2.0)
    assert (recorder.rate, recorder.seconds) == (16_000, 3.0)
    left, _, _ = studio.listen(recorder)
    assert not left[:32_000].any()
    assert np.array_equal(left[32_000:], noise(16_000))


@pytest.mark.parametrize("seconds", [0.3, 1, 3])
@pytest.mark.parametrize("rates", [(24_000, 24_000), (16_000, 24_000), (8_000, 11_025)])
def test_how_long_the_file_will_be_is_known_before_its_tail_is_written(studio, seconds, rates):
    """The root says so when the conversation ends: it said what was written by then, half a second less."""
    recorder = studio.recorder()
    for _ in range(round(seconds * 50)):
        for give, rate in zip((recorder.user, recorder.agent), rates, strict=True):
            give(noise(rate // 50).tobytes(), rate)
        studio.wait(0.02)
    recorder.cut_agent()
    recorder.close()
    foreseen = recorder.final_seconds
    left, _, rate = studio.listen(recorder)
    assert foreseen == pytest.approx(len(left) / rate, abs=0.001)
    assert recorder.final_seconds == recorder.seconds == len(left) / rate


@hypothesis.given(
    pieces=st.lists(st.integers(1, 700), min_size=1, max_size=12),
    apart=st.lists(st.sampled_from([1, 3, 60, 195, 199, 200, 201, 202, 206, 300]), max_size=12),
)
def test_however_the_audio_comes_in_pieces_the_same_was_heard(pieces, apart):
    """At 1,000 Hz, where 200 samples of quiet are still speech."""
    loud = set(itertools.accumulate(apart))
    told = ActivityDetector()
    begin, heard = 0, []
    for size in pieces:
        samples = np.array([100 * (place in loud) for place in range(begin, begin + size)], np.int16)
        told.listen(begin * 1_000_000, 1_000, samples)
        begin += size
    for place in sorted(place for place in loud if place < begin):
        if heard and place - heard[-1][1] <= 200:
            heard[-1][1] = place + 1
        else:
            heard.append([place, place + 1])
    assert list(told._times) == [(first * 1_000_000, last * 1_000_000) for first, last in heard]


@hypothesis.given(
    stretches=st.lists(
        st.tuples(
            st.sampled_from([1, 2, 499, 501, 4_799, 4_800, 9_700, 60_000]),
            st.sampled_from([0, 20, 33, 9_000]),
        ),
        max_size=8,
    ),
    merged=st.sampled_from([800, 1_600, 4_800]),
)
@hypothesis.settings(deadline=None)
def test_what_is_heard_of_long_audio_is_what_each_sample_says(stretches, merged):
    samples = np.concatenate(
        [np.zeros(0, np.int16), *(np.full(size, loud, np.int16) for size, loud in stretches)]
    )
    places = np.flatnonzero(np.abs(samples) > 32)
    gaps = np.flatnonzero(np.diff(places) > merged)
    told = list(zip(places[[0, *(gaps + 1)]], places[[*gaps, -1]], strict=True)) if len(places) else []
    assert list(activity._intervals(samples, merged)) == told


def test_of_speech_so_little_is_looked_at_that_numpy_keeps_the_interpreter(monkeypatch):
    """Of 500 recordings each time that it is left means to wait for it, up to 5 ms."""
    looks = []
    loud = activity._loud
    monkeypatch.setattr(activity, "_loud", lambda samples: looks.append(len(samples)) or loud(samples))
    speech = np.concatenate([noise(5 * RATE), np.zeros(RATE, np.int16), noise(5 * RATE)])
    heard = ActivityDetector()
    heard.listen(0, RATE, speech)
    assert len(heard._times) == 2
    assert max(looks) <= AT_ONCE
    assert len(looks) < 100
