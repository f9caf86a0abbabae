"""Where each sample goes. Samples are numbered.

At 8 kHz one is 125 microseconds; where hypothesis makes up conversations, at 1 kHz, there are fewer of them.
"""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicespan.recording.timeline.agent_track import AgentTrack
from voicespan.recording.timeline.timeline import Timeline
from voicespan.recording.timeline.track import MS, TOLERANCE
from voicespan.recording.timeline.user_track import UserTrack

RATE = 8_000
SAMPLE = 125_000  # nanoseconds
ORIGIN = 10**12
LATER = ORIGIN + 10**12

COARSE = 1_000
made_up = settings(deadline=None, derandomize=True)
#: When a piece is handed over after the one before (ms), and how many samples of 1 ms it has.
pieces = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 250)), min_size=1, max_size=20)


def numbered(first: int, count: int) -> bytes:
    return struct.pack(f"<{count}H", *((first + n) % 65_535 + 1 for n in range(count)))


def hand_over(side, steps, known=False):
    """Place numbered pieces; gives [(handed, start or None, first number, count)]."""
    told, now, number = [], ORIGIN, 0
    for wait, count in steps:
        now += wait * MS
        at = now if known else None
        start = side.place(now, numbered(number, count), COARSE, "pcm16", at)
        told.append((now, start, number, count))
        number += count
    return told


def laid_out(taken):
    """Each sample's time and number."""
    placed = []
    for piece in taken:
        numbers = struct.unpack(f"<{len(piece.pcm) // 2}H", piece.pcm)
        placed += [(piece.start + n * 10**9 // piece.rate, number) for n, number in enumerate(numbers)]
    return placed


@made_up
@given(pieces, st.sampled_from([AgentTrack, UserTrack]), st.booleans())
def test_nothing_is_invented_doubled_or_swapped(steps, kind, known):
    side = kind(ORIGIN)
    hand_over(side, steps, known)
    placed = laid_out(side.take(LATER))
    times, numbers = [time for time, _ in placed], [number for _, number in placed]
    assert numbers == sorted(set(numbers))
    assert times == sorted(set(times))
    assert set(numbers) <= set(range(1, sum(count for _, count in steps) + 1))


@made_up
@given(pieces)
def test_without_times_the_speaker_plays_everything_in_order_and_never_before_it_has_it(steps):
    side = AgentTrack(ORIGIN)
    told = hand_over(side, steps)
    placed = {number: time for time, number in laid_out(side.take(LATER))}
    assert len(placed) == sum(count for _, count in steps)
    end = ORIGIN - 10 * TOLERANCE
    for handed, _, first, count in told:
        begins, ends = placed[first + 1], placed[first + count] + MS
        assert ends - begins == count * MS  # a piece stays in one piece
        if handed - end > TOLERANCE:
            assert begins == handed  # a real gap, to the sample
        else:
            assert begins == end  # no gap, and no overlap
        end = ends


@made_up
@given(pieces)
def test_with_times_every_sample_lies_where_it_was_said_to_lie(steps):
    side = UserTrack(ORIGIN)
    told = hand_over(side, steps, known=True)
    placed = {number: time for time, number in laid_out(side.take(LATER))}
    for handed, _, first, count in told:
        for n in range(count):
            if first + n + 1 in placed:
                assert abs(placed[first + n + 1] - (handed + n * MS)) <= TOLERANCE + MS
    lost = sum(count for _, count in steps) - len(placed)
    assert side.left_out == lost * 2


@made_up
@given(pieces, st.lists(st.integers(1, 400), max_size=30), st.sampled_from([AgentTrack, UserTrack]))
def test_taking_in_steps_gives_what_taking_at_once_gives(steps, takes, kind):
    at_once, stepwise = kind(ORIGIN), kind(ORIGIN)
    hand_over(at_once, steps)
    hand_over(stepwise, steps)
    taken, until = [], ORIGIN
    for step in takes:
        until += step * MS
        taken += stepwise.take(until)
        assert all(time < until for time, _ in laid_out(taken))
    taken += stepwise.take(LATER)
    assert laid_out(taken) == laid_out(at_once.take(LATER))
    assert [piece.last for piece in taken if piece.first or piece.last].count(True) == [
        piece.first for piece in taken
    ].count(True)


@made_up
@given(pieces, st.data())
def test_a_cut_removes_exactly_what_had_not_been_heard(steps, data):
    whole, cut = AgentTrack(ORIGIN), AgentTrack(ORIGIN)
    hand_over(whole, steps)
    told = hand_over(cut, steps)
    reported = told[-1][0]
    place = data.draw(st.integers(reported, max(reported, cut.end)))
    at, _, removed = cut.cut(reported, place, None)
    everything, kept = laid_out(whole.take(LATER)), laid_out(cut.take(LATER))
    assert at == place
    assert kept == [(time, number) for time, number in everything if time < place]
    assert removed == pytest.approx((len(everything) - len(kept)) * MS, abs=MS)


@made_up
@given(pieces, st.integers(0, 500), st.integers(1, 250))
def test_what_is_spoken_after_a_cut_lies_at_its_own_time(steps, wait, count):
    side = AgentTrack(ORIGIN)
    reported = hand_over(side, steps)[-1][0]
    side.cut(reported, None, None)
    start = side.place(reported + wait * MS, numbered(0, count), COARSE, "pcm16")
    assert start == reported + wait * MS
    assert laid_out(side.take(LATER))[-count][0] == start


@made_up
@given(pieces, st.lists(st.integers(0, 3), min_size=1, max_size=40), st.sampled_from([AgentTrack, UserTrack]))
def test_samples_that_are_split_between_pieces_are_put_together(steps, splits, kind):
    whole, split = kind(ORIGIN), kind(ORIGIN)
    now, number = ORIGIN, 0
    for n, (_, count) in enumerate(steps):
        now += 10 * MS
        pcm = numbered(number, count)
        number += count
        whole.place(now, pcm, COARSE, "pcm16")
        middle = min(len(pcm), splits[n % len(splits)])
        for part in (pcm[:middle], pcm[middle:]):
            if part:
                split.place(now, part, COARSE, "pcm16")
    assert laid_out(split.take(LATER)) == laid_out(whole.take(LATER))


@made_up
@given(st.lists(st.integers(1, 199), min_size=2, max_size=20))
def test_a_split_sample_survives_a_short_gap(cuts):
    side = AgentTrack(ORIGIN)
    pcm = numbered(0, 200)
    edges = [0, *sorted({2 * cut - 1 for cut in cuts}), len(pcm)]
    for n, (first, beyond) in enumerate(itertools.pairwise(edges)):
        side.place(ORIGIN + n * 300 * MS, pcm[first:beyond], RATE, "pcm16")
    assert [number for _, number in laid_out(side.take(LATER))] == list(range(1, 201))


def test_a_split_sample_survives_its_run():
    side = AgentTrack(ORIGIN)
    side.place(ORIGIN, numbered(0, 10) + b"\x0b", RATE, "pcm16")
    taken = side.take(ORIGIN + 200 * MS)
    side.place(ORIGIN + 300 * MS, b"\0" + numbered(11, 9), RATE, "pcm16")
    assert [number for _, number in laid_out(taken + side.take(LATER))] == list(range(1, 21))


def test_what_comes_too_late_keeps_the_step_of_a_sender_that_splits_samples():
    side = AgentTrack(ORIGIN)
    side.take(ORIGIN + 1_000 * MS)
    pcm = numbered(0, 20)
    side.place(ORIGIN + 1_000 * MS, pcm[:7], RATE, "pcm16", ORIGIN + 500 * MS)
    side.place(ORIGIN + 1_000 * MS, pcm[7:], RATE, "pcm16")
    assert [number for _, number in laid_out(side.take(LATER))] == list(range(4, 21))


@pytest.mark.parametrize(("rate", "encoding"), [(16_000, "pcm16"), (RATE, "g711_alaw")])
def test_half_a_sample_belongs_to_nothing_of_another_kind(rate, encoding):
    side = AgentTrack(ORIGIN)
    side.place(ORIGIN, numbered(0, 10) + b"\x77", RATE, "pcm16")
    side.place(ORIGIN, numbered(30, 10), rate, encoding)
    assert side.take(LATER)[1].pcm == numbered(30, 10)


def test_half_a_sample_does_not_outlive_a_cut_of_nothing():
    side = AgentTrack(ORIGIN)
    side.place(ORIGIN, numbered(0, 10) + b"\x77", RATE, "pcm16")
    side.cut(ORIGIN + 100 * MS, None, None)
    side.place(ORIGIN + 100 * MS, numbered(30, 10), RATE, "pcm16")
    assert side.take(LATER)[1].pcm == numbered(30, 10)


def test_half_a_sample_does_not_outlive_a_cut_or_a_long_silence():
    side = AgentTrack(ORIGIN)
    side.place(ORIGIN, numbered(0, 10) + b"\x77", RATE, "pcm16")
    side.cut(ORIGIN, ORIGIN + 5 * SAMPLE, None)
    side.place(ORIGIN + 100 * MS, numbered(100, 10) + b"\x77", RATE, "pcm16")
    side.place(ORIGIN + 700 * MS, numbered(200, 10), RATE, "pcm16")
    numbers = [number for _, number in laid_out(side.take(LATER))]
    assert numbers == [*range(1, 6), *range(101, 111), *range(201, 211)]


def test_a_cut_goes_through_all_that_was_planned():
    side = AgentTrack(ORIGIN)
    for n in range(4):
        side.place(ORIGIN, numbered(n * 80, 80), RATE, "pcm16", ORIGIN + n * 100 * MS)
    assert side.cut(ORIGIN + 105 * MS, None, None) == (ORIGIN + 105 * MS, 15 * MS, 25 * MS)
    assert [number for _, number in laid_out(side.take(LATER))] == list(range(1, 121))
    assert side.held == 0


def test_a_cut_that_comes_too_late_leaves_what_was_taken():
    side = AgentTrack(ORIGIN)
    side.place(ORIGIN, numbered(0, 8_000), RATE, "pcm16")
    taken = side.take(ORIGIN + 500 * MS)
    at, heard, removed = side.cut(ORIGIN + 900 * MS, ORIGIN + 300 * MS, None)
    assert (at - ORIGIN, heard, removed) == (300 * MS, 300 * MS, 500 * MS)
    side.place(ORIGIN + 950 * MS, numbered(10_000, 8), RATE, "pcm16")
    rest = side.take(LATER)
    assert [number for _, number in laid_out(taken)] == list(range(1, 4_001))
    assert laid_out(rest)[0] == (ORIGIN + 950 * MS, 10_001)
    assert len(laid_out(rest)) == 8


def test_jitter_moves_and_loses_nothing():
    side = AgentTrack(ORIGIN)
    for n in range(500):
        at = ORIGIN + n * 20 * MS
        side.place(at, numbered(n * 160, 160), RATE, "pcm16", at + (n * 7 % 41 - 20) * MS if n else at)
    placed = laid_out(side.take(LATER))
    assert side.left_out == 0
    assert placed == [(ORIGIN + n * SAMPLE, n % 65_535 + 1) for n in range(80_000)]


def test_jitter_is_no_gap_and_drift_is_anchored_anew():
    """A device clock that runs 400 ppm slow, read with 5 ms of jitter, for half an hour."""
    side = UserTrack(ORIGIN)
    worst, seams = 0, 0
    for n in range(90_000):
        captured = ORIGIN + n * 20_008_000
        before = side.end
        start = side.place(captured, 320, RATE, "pcm16", captured + (n * 7 % 11 - 5) * MS)
        worst = max(worst, abs(start - captured))
        seams += before is not None and start != before
        side.take(captured - 400 * MS)
    assert worst <= TOLERANCE + 6 * MS
    assert 0 < seams < 40


@pytest.mark.parametrize("known", [True, False])
def test_a_clock_that_runs_fast_is_anchored_anew_by_leaving_a_little_out(known):
    side = UserTrack(ORIGIN)
    worst = 0
    for n in range(90_000):
        captured = ORIGIN + n * 19_996_000  # 200 ppm
        start = side.place(captured, 320, RATE, "pcm16", captured if known else None)
        worst = max(worst, (start or 0) - captured)
        side.take(captured - 400 * MS)
    assert worst <= TOLERANCE + 25 * MS
    drift = 90_000 * 4_000 // SAMPLE * 2  # bytes
    assert drift * 0.8 < side.left_out < drift * 1.1


def test_a_sender_that_stays_ahead_had_waited_and_loses_nothing():
    side = UserTrack(ORIGIN)
    for n in range(12_000):
        side.place(ORIGIN + max(0, n - 15) * 20 * MS, 320, RATE, "pcm16")
    assert side.left_out == 0
    assert side.end == ORIGIN + (12_000 - 15) * 20 * MS


def test_a_burst_that_nothing_follows_stays_where_it_is():
    side = UserTrack(ORIGIN)
    for n in range(500):
        side.place(ORIGIN + n * MS // 10, numbered(160 * n, 160), RATE, "pcm16")
    assert laid_out(side.take(LATER))[0] == (ORIGIN, 1)
    assert side.end == ORIGIN + 500 * 20 * MS


def test_a_stalled_event_loop_is_no_gap_in_what_the_user_said():
    side = UserTrack(ORIGIN)
    handed = [n * 20 for n in range(10)] + [500] * 15 + [n * 20 for n in range(26, 40)]
    for n, at in enumerate(handed):
        side.place(ORIGIN + at * MS, numbered(160 * n, 160), RATE, "pcm16")
    placed = laid_out(side.take(LATER))
    assert len(placed) == 160 * len(handed)
    assert placed[-1][0] - placed[0][0] == (len(placed) - 1) * SAMPLE


def test_a_stall_is_closed_as_far_as_it_was_not_written():
    side = UserTrack(ORIGIN)
    for n in range(10):
        side.place(ORIGIN + n * 20 * MS, numbered(160 * n, 160), RATE, "pcm16")
    side.take(ORIGIN + 300 * MS)
    for n in range(10, 25):
        side.place(ORIGIN + 500 * MS, numbered(160 * n, 160), RATE, "pcm16")
    assert laid_out(side.take(LATER))[0] == (ORIGIN + 300 * MS, 1_601)


def test_a_pause_of_the_user_stays_a_gap():
    side = UserTrack(ORIGIN)
    for n in range(10):
        side.place(ORIGIN + n * 20 * MS, 320, RATE, "pcm16")
    for n in range(20):
        side.place(ORIGIN + 500 * MS + n * 20 * MS, 320, RATE, "pcm16")
    starts = [piece.start - ORIGIN for piece in side.take(LATER)]
    assert starts == [0, 500 * MS]


@pytest.mark.parametrize(
    "handed",
    [
        [0] * 20 + [700] * 20,  # a sender of whole files, twice
        [n * 20 for n in range(10)] + [700] * 40,  # too long for a stall
    ],
)
def test_a_burst_after_a_gap_stays_where_it_is(handed):
    side = UserTrack(ORIGIN)
    for at in handed:
        side.place(ORIGIN + at * MS, 320, RATE, "pcm16")
    assert [piece.start - ORIGIN for piece in side.take(LATER)] == [0, 700 * MS]


def test_the_speaker_s_underrun_stays_a_gap():
    side = AgentTrack(ORIGIN)
    for at in [n * 20 for n in range(10)] + [500] * 15:
        side.place(ORIGIN + at * MS, 320, RATE, "pcm16")
    assert [piece.start - ORIGIN for piece in side.take(LATER)] == [0, 500 * MS]


def test_a_speaker_that_plays_something_else_did_not_play_the_rest():
    side = AgentTrack(ORIGIN)
    side.place(ORIGIN, numbered(0, 40_000), RATE, "pcm16")
    side.place(ORIGIN, numbered(50_000, 800), RATE, "pcm16", ORIGIN + 1_000 * MS)
    placed = laid_out(side.take(LATER))
    assert placed[7_999:8_001] == [(ORIGIN + 7_999 * SAMPLE, 8_000), (ORIGIN + 8_000 * SAMPLE, 50_001)]
    assert len(placed) == 8_800


def test_audio_for_a_time_that_was_taken_comes_too_late():
    side = UserTrack(ORIGIN)
    side.take(ORIGIN + 1_000 * MS)
    start = side.place(ORIGIN + 1_400 * MS, numbered(0, 1_600), RATE, "pcm16", ORIGIN + 900 * MS)
    assert start == ORIGIN + 1_000 * MS
    assert side.left_out == 1_600
    assert laid_out(side.take(LATER))[0] == (ORIGIN + 1_000 * MS, 801)
    assert side.place(ORIGIN, numbered(0, 10), RATE, "pcm16", ORIGIN) is None


@pytest.mark.parametrize("at", [0, ORIGIN - 10**12, 1_767_323_045 * 10**9])
def test_a_time_of_another_clock_is_no_time(at):
    side = AgentTrack(ORIGIN)
    assert side.place(ORIGIN + 5 * MS, 320, RATE, "pcm16", at) == ORIGIN + 5 * MS


def test_a_change_of_rate_goes_on_without_a_gap():
    side = UserTrack(ORIGIN)
    side.place(ORIGIN, 320, RATE, "pcm16")
    side.place(ORIGIN + 20 * MS, 640, 16_000, "pcm16")
    side.place(ORIGIN + 40 * MS, 160, RATE, "g711_ulaw")
    first, second, third = side.take(LATER)
    assert [first.start, second.start, third.start] == [ORIGIN, ORIGIN + 20 * MS, ORIGIN + 40 * MS]
    assert (first.last, second.first, second.rate, third.pcm) == (True, True, 16_000, b"\xff" * 160)


class TestPlayed:
    """A player that counts what it has played."""

    def test_counts_from_the_marked_answer(self):
        side = AgentTrack(ORIGIN)
        side.place(ORIGIN, numbered(0, 8_000), RATE, "pcm16")
        side.mark_answer(ORIGIN + 100 * MS)
        side.place(ORIGIN + 200 * MS, numbered(8_000, 8_000), RATE, "pcm16")
        at, heard, removed = side.cut(ORIGIN + 1_300 * MS, None, 250 * MS)
        assert (at - ORIGIN, heard, removed) == (1_250 * MS, 250 * MS, 750 * MS)

    def test_skips_underruns(self):
        side = AgentTrack(ORIGIN)
        side.place(ORIGIN, numbered(0, 800), RATE, "pcm16")
        side.place(ORIGIN + 300 * MS, numbered(800, 8_000), RATE, "pcm16")
        assert side.cut(ORIGIN + 500 * MS, None, 250 * MS)[0] == ORIGIN + 450 * MS

    def test_begins_anew_after_a_silence_and_after_a_cut(self):
        side = AgentTrack(ORIGIN)
        side.place(ORIGIN, numbered(0, 800), RATE, "pcm16")
        side.place(ORIGIN + 900 * MS, numbered(0, 8_000), RATE, "pcm16")
        assert side.cut(ORIGIN + 1_000 * MS, None, 90 * MS) == (ORIGIN + 990 * MS, 90 * MS, 910 * MS)
        side.place(ORIGIN + 1_100 * MS, numbered(0, 8_000), RATE, "pcm16")
        assert side.cut(ORIGIN + 1_400 * MS, None, 200 * MS) == (ORIGIN + 1_300 * MS, 200 * MS, 800 * MS)

    def test_more_than_there_is_removes_nothing(self):
        side = AgentTrack(ORIGIN)
        side.place(ORIGIN, numbered(0, 800), RATE, "pcm16")
        assert side.cut(ORIGIN + 50 * MS, None, 5_000 * MS) == (ORIGIN + 100 * MS, 100 * MS, 0)


class TestPause:
    def test_keeps_nothing_that_is_heard_in_it(self):
        timeline = Timeline(ORIGIN)
        timeline.agent.place(ORIGIN, numbered(0, 8_000), RATE, "pcm16")
        timeline.pause(ORIGIN + 250 * MS)
        timeline.pause(ORIGIN + 300 * MS)
        timeline.resume(ORIGIN + 500 * MS)
        _, pieces = timeline.take(ORIGIN + 400 * MS)
        _, more = timeline.take(LATER)
        numbers = [number for _, number in laid_out([*pieces, *more])]
        assert numbers == [*range(1, 2_001), *[0] * 2_000, *range(4_001, 8_001)]

    def test_without_an_end_lasts_to_the_end(self):
        timeline = Timeline(ORIGIN)
        timeline.pause(ORIGIN + 10 * MS)
        timeline.agent.place(ORIGIN, numbered(0, 160), RATE, "g711_alaw")
        (piece,) = timeline.take(LATER)[1]
        assert piece.pcm[80:] == b"\xd5" * 240
        assert piece.pcm[:80] == numbered(0, 40)

    def test_a_piece_that_was_being_captured_when_it_ended_begins_muted(self):
        timeline = Timeline(ORIGIN)
        timeline.pause(ORIGIN)
        timeline.resume(ORIGIN + 100 * MS)
        for n in range(3):
            timeline.user.place(ORIGIN + (105 + n * 20) * MS, numbered(n * 160, 160), RATE, "pcm16")
        numbers = [number for _, number in laid_out(timeline.take(LATER)[0])]
        assert numbers == [*[0] * 120, *range(121, 481)]
