"""A recorder's file, sample by sample."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
import soundfile as sf
import soxr
from studio import noise

from voicespan.recording import Recorder, audio_queue
from voicespan.runtime import guard

RATE = 24_000


def at(seconds: float, rate: int = RATE) -> int:
    return round(seconds * rate)


def test_both_sides_lie_on_one_clock_with_gaps_and_overlap(studio):
    recorder = studio.recorder()
    user, agent, more = noise(at(1.0), 1), noise(at(1.5), 2), noise(at(0.5), 3)
    studio.wait(0.5)
    recorder.user(user.tobytes())  # 0.5 to 1.5
    studio.wait(0.7)
    recorder.agent(agent.tobytes())  # 1.2 to 2.7: they overlap
    studio.wait(3.0)
    recorder.user(more.tobytes())  # 4.2 to 4.7
    left, right, rate = studio.listen(recorder)
    expected = np.zeros((at(4.7), 2), np.int16)
    expected[at(0.5) : at(1.5), 0] = user
    expected[at(4.2) :, 0] = more
    expected[at(1.2) : at(2.7), 1] = agent
    assert rate == RATE
    assert np.array_equal(left, expected[:, 0])
    assert np.array_equal(right, expected[:, 1])


def test_a_burst_is_laid_out_at_the_speed_at_which_it_is_heard_and_cut_where_it_was_stopped(studio):
    recorder = studio.recorder()
    answer, user, later = noise(at(6.0), 1), noise(at(8.0), 2), noise(at(1.0), 3)
    studio.wait(0.25)
    for first in range(0, len(answer), 1_201):  # all of it in one instant
        recorder.agent(answer[first : first + 1_201].tobytes())
    studio.speak(recorder.user, user[: at(2.5)])
    cut = recorder.cut_agent()
    studio.speak(recorder.user, user[at(2.5) : at(4.0)])
    recorder.agent(later.tobytes())
    studio.speak(recorder.user, user[at(4.0) :])
    left, right, _ = studio.listen(recorder)
    expected = np.zeros(at(8.25), np.int16)
    expected[at(0.25) : at(2.75)] = answer[: at(2.5)]
    expected[at(4.25) : at(5.25)] = later
    assert np.array_equal(right, expected)
    assert np.array_equal(left[at(0.25) :], user)
    assert (cut.at - studio.opened_at, cut.heard_ms, cut.unheard_ms) == (pytest.approx(2.75), 2_500, 3_500)


def test_a_cut_that_is_reported_late_or_by_the_player_s_count(studio):
    recorder = studio.recorder()
    first, second = noise(at(3.0), 1), noise(at(3.0), 2)
    recorder.agent(first.tobytes())
    studio.wait(1.0)
    recorder.cut_agent(at=studio.now - 0.3)
    studio.wait(2.0)
    recorder.mark_answer()
    recorder.agent(second.tobytes())
    studio.wait(1.0)
    cut = recorder.cut_agent(played_ms=875)
    _, right, _ = studio.listen(recorder)
    expected = np.zeros(at(3.875), np.int16)
    expected[: at(0.7)] = first[: at(0.7)]
    expected[at(3.0) :] = second[: at(0.875)]
    assert np.array_equal(right, expected)
    assert cut.heard_ms == 875


def test_a_cut_of_nothing_removes_nothing(studio):
    recorder = studio.recorder()
    assert recorder.cut_agent().unheard_ms == 0
    recorder.agent(noise(240).tobytes())
    studio.wait(1)
    assert recorder.cut_agent().unheard_ms == 0
    _, right, _ = studio.listen(recorder)
    assert np.array_equal(right, noise(240))


def test_what_is_held_is_heard_when_the_playback_goes_on(studio):
    recorder = studio.recorder()
    answer, later = noise(at(3.0), 1), noise(at(1.0), 2)
    recorder.mark_answer()
    recorder.agent(answer[: at(2.0)].tobytes())
    studio.wait(1.0)
    recorder.hold_agent()
    studio.wait(0.1)
    recorder.hold_agent(played_ms=1_050)  # the player's count: it went on for a moment
    recorder.agent(answer[at(2.0) :].tobytes()[:-1])  # comes meanwhile, the last sample in two pieces
    recorder.agent(answer[at(2.0) :].tobytes()[-1:])
    studio.wait(1.9)
    recorder.release_agent(skipped_ms=150)  # at 3.0; so much had lain in the player's buffer
    studio.wait(0.25)
    cut = recorder.cut_agent()
    studio.wait(0.75)
    recorder.agent(later.tobytes())
    _, right, _ = studio.listen(recorder)
    expected = np.zeros(at(5.0), np.int16)
    expected[: at(1.05)] = answer[: at(1.05)]
    expected[at(3.0) : at(3.25)] = answer[at(1.2) : at(1.45)]
    expected[at(4.0) :] = later
    assert np.array_equal(right, expected)
    assert (cut.heard_ms, cut.unheard_ms) == (1_300, 1_550)


def test_what_is_held_and_cut_was_never_heard(studio):
    recorder = studio.recorder()
    first, second = noise(at(3.0), 1), noise(at(1.0), 2)
    recorder.agent(first.tobytes())
    studio.wait(1.0)
    recorder.hold_agent()
    studio.wait(1.0)
    cut = recorder.cut_agent(played_ms=1_000)
    recorder.mark_answer()
    recorder.agent(noise(at(2.0), 3).tobytes())  # another answer, while it is still paused
    never = recorder.cut_agent(played_ms=0)
    recorder.mark_answer()
    recorder.agent(second.tobytes())
    studio.wait(1.0)
    recorder.release_agent()
    _, right, _ = studio.listen(recorder)
    expected = np.zeros(at(4.0), np.int16)
    expected[: at(1.0)] = first[: at(1.0)]
    expected[at(3.0) :] = second
    assert np.array_equal(right, expected)
    assert (cut.heard_ms, cut.unheard_ms) == (1_000, 2_000)
    assert (never.heard_ms, never.unheard_ms) == (0, 2_000)
    assert recorder.dropped_bytes == 0


def test_times_that_are_told_count_more_than_the_handing_over(studio):
    recorder = studio.recorder()
    user, agent = noise(at(1.0), 1), noise(at(1.0), 2)
    studio.wait(0.5)
    for n in range(0, len(user), 480):
        recorder.user(user[n : n + 480].tobytes(), at=studio.now - 0.120)
        recorder.agent(agent[n : n + 480].tobytes(), at=studio.now + 0.060)
        studio.wait(0.02)
    left, right, _ = studio.listen(recorder)
    assert np.array_equal(left[at(0.38) : at(1.38)], user)
    assert np.array_equal(right[at(0.56) : at(1.56)], agent)
    assert np.count_nonzero(left) == np.count_nonzero(right) == RATE


def hold(studio, hand_over, samples, seconds):
    """The event loop is held for so long, and works off then what came meanwhile; the writer goes on."""
    begun = studio.now
    studio.wait(seconds)
    for first in range(0, len(samples), 480):
        at = begun + first / 24_000
        studio.wait(max(0.0, at + 0.02 - studio.now) + 0.0001)
        hand_over(samples[first : first + 480].tobytes(), at=at)


def flow(studio, hand_over, samples):
    for first in range(0, len(samples), 480):
        hand_over(samples[first : first + 480].tobytes(), at=studio.now)
        studio.wait(0.02)


def test_what_an_event_loop_hands_over_late_is_waited_for(studio):
    recorder = studio.recorder()
    said = noise(24_000 * 5)
    flow(studio, recorder.user, said[:24_000])
    hold(studio, recorder.user, said[24_000:], 3.0)
    left, _, _ = studio.listen(recorder)
    assert left.tolist() == said.tolist()
    assert recorder.dropped_bytes == 0


def test_what_came_before_an_event_loop_was_held_is_written_meanwhile(studio):
    recorder = studio.recorder()
    flow(studio, recorder.user, noise(24_000))
    studio.wait(1.0)
    assert 23_990 <= recorder._writer.frames <= 24_000


def test_a_loop_that_is_held_for_longer_loses_what_lies_before_what_was_written(studio):
    recorder = studio.recorder()
    said = noise(24_000 * 10)
    flow(studio, recorder.user, said[:24_000])
    hold(studio, recorder.user, said[24_000:], 7.0)
    left, _, _ = studio.listen(recorder)
    # Five seconds were waited for it, and what settles by then is 0.4 s old.
    lost = recorder.dropped_bytes / 48_000
    assert lost == pytest.approx(7.0 - 0.4, abs=0.3)
    assert left[-24_000:].tolist() == said[-24_000:].tolist()
    assert len(left) == len(said)


def test_a_microphone_that_ends_is_not_waited_for_while_the_agent_speaks(studio):
    recorder = studio.recorder()
    flow(studio, recorder.user, noise(24_000))
    flow(studio, recorder.agent, noise(48_000, 1))
    assert recorder._writer.frames > 24_000 * 2.2  # of three seconds


def test_a_microphone_that_ends_is_waited_for_five_seconds_at_most(studio):
    recorder = studio.recorder()
    recorder.agent(noise(240_000, 1).tobytes())
    flow(studio, recorder.user, noise(24_000))
    studio.wait(5.0)
    assert recorder._writer.frames < 24_000 * 1.1
    studio.wait(1.0)
    assert recorder._writer.frames > 24_000 * 6


def test_a_wall_clock_that_steps_moves_nothing(studio):
    recorder = studio.recorder()
    before = recorder.started_at_wall_ns
    user = noise(at(2.0))
    for n in range(0, len(user), 480):
        if n % 4_800 == 0:
            studio.clock.step_wall(-3_600 if n % 9_600 else 7_200)
        recorder.user(user[n : n + 480].tobytes())
        studio.wait(0.02)
    left, _, _ = studio.listen(recorder)
    assert np.array_equal(left, user)
    assert recorder.started_at_wall_ns == before


@pytest.mark.parametrize("seed", range(30))
def test_pieces_that_go_on_are_laid_out_as_each_would_be_alone(studio, tmp_path, seed):
    drawn = random.Random(seed)
    studio.wait(1.0)
    recorder, alone = studio.recorder(), studio.recorder(name="alone")
    recorders = recorder, alone
    times = [studio.now, studio.now]
    said = noise(RATE * 12, seed)
    for chunk in said.reshape(-1, RATE // 50):
        # The microphone goes on; the agent's answers come, are cut, and begin anew, a little early or late.
        for side in (audio_queue.USER, audio_queue.AGENT):
            if drawn.random() < 0.03:
                times[side] += drawn.choice((-0.3, -0.03, 0.02, 0.06, 0.5))
            pcm = chunk.tobytes()
            if drawn.random() < 0.02:
                pcm = pcm[:-1]  # a sample is split
            (recorder.user, recorder.agent)[side](pcm, at=times[side])
            alone.report(side, studio.clock.monotonic_ns(), pcm, (RATE, "pcm16"), int(times[side] * 1e9))
            times[side] += 0.02
        for act in ("cut_agent", "mark_answer", "pause", "resume"):
            if drawn.random() < 0.01:
                for each in recorders:
                    getattr(each, act)()
        if drawn.random() < 0.01:
            assert recorder.heard_ms(studio.now - 3) == alone.heard_ms(studio.now - 3)
        studio.wait(0.02)
        if drawn.random() < 0.02:
            studio.wait(drawn.choice((0.1, 0.7)))  # the loop was held
    heard = [recorder.heard_ms(studio.opened_at), alone.heard_ms(studio.opened_at)]
    (left, right, _), (left_alone, right_alone, _) = studio.listen(recorder), studio.listen(alone)
    assert left.any()
    assert np.array_equal(left, left_alone)
    assert np.array_equal(right, right_alone)
    assert heard[0] == heard[1]
    assert recorder.dropped_bytes == alone.dropped_bytes


def test_what_goes_on_is_ignored_once_somebody_else_reports_it(studio):
    recorder = studio.recorder()
    chunk = noise(RATE // 50)
    began = studio.now
    for count in range(50):
        recorder.user(chunk.tobytes(), at=began + count * 0.02)
        if count == 24:
            recorder.sources[audio_queue.USER] = recorder  # whoever it is
        if count >= 24:
            at = int((began + (count + 1) * 0.02) * 1e9)
            recorder.report(audio_queue.USER, studio.clock.monotonic_ns(), bytes(960), (RATE, "pcm16"), at)
        studio.wait(0.02)
    left, _, _ = studio.listen(recorder)
    assert np.array_equal(left[: 25 * 480], np.tile(chunk, 25))
    assert len(left) == 51 * 480
    assert not left[25 * 480 :].any()
    assert recorder.dropped_bytes == 0


def test_a_fact_that_cannot_be_laid_out_takes_no_other_along(studio, monkeypatch):
    recorder = studio.recorder()
    side, began = recorder._writer.timeline.user, studio.now
    for count in range(3):
        recorder.user(noise(480).tobytes(), at=began + count * 0.02)
    recorder.user(noise(4_800).tobytes(), at=began + 0.1)  # is told in full
    with monkeypatch.context() as broken:
        broken.setattr(guard, "reraise", False)
        broken.setattr(side, "go_on", lambda *_: 1 / 0)
        studio.clock.advance(0.2)
        recorder._writer.read_queue()
    recorder.user(noise(4_800, 3).tobytes(), at=began + 0.3)
    left, _, _ = studio.listen(recorder)
    assert np.array_equal(left[-4_800:], noise(4_800, 3))


def test_odd_pieces_are_put_together(studio):
    recorder = studio.recorder()
    agent = noise(at(1.0))
    pcm = agent.tobytes()
    position = 0
    for size in [1, 3, 959, 2, 1_001, 7] * 100:
        recorder.agent(pcm[position : position + size])
        position += size
    recorder.agent(pcm[position:])
    _, right, _ = studio.listen(recorder)
    assert np.array_equal(right, agent)


def test_the_slower_side_is_resampled_and_the_faster_one_is_left_alone(studio):
    recorder = studio.recorder()
    user, agent = noise(16_000, 1), noise(24_000, 2)
    for n in range(50):
        recorder.user(user[n * 320 : (n + 1) * 320].tobytes(), 16_000)
        recorder.agent(agent[n * 480 : (n + 1) * 480].tobytes(), 24_000)
        studio.wait(0.02)
    left, right, rate = studio.listen(recorder)
    assert rate == 24_000
    assert np.array_equal(right, agent)
    reference = soxr.resample(user, 16_000, 24_000, quality="HQ")
    assert len(left) == len(reference)
    assert np.abs(left.astype(int) - reference).max() <= 2  # soxr dithers int16


def test_a_rate_and_an_encoding_that_change_are_followed(studio):
    recorder = studio.recorder()
    recorder.expect_rate(16_000)
    tone = (10_000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)
    for rate in (16_000, 8_000, 48_000):
        studio.speak(recorder.user, tone[:: 48_000 // rate], rate)
    studio.speak(recorder.user, np.full(4_000, 0xFF, np.uint8), 8_000, encoding="g711_ulaw")
    left, _, rate = studio.listen(recorder)
    assert (rate, len(left)) == (16_000, 56_000)
    expected = (10_000 * np.sin(2 * np.pi * 440 * (np.arange(48_000) % 16_000) / 16_000)).astype(np.int16)
    inside = np.abs(np.arange(48_000) % 16_000 - 8_000) < 7_500  # the filters' edges aside
    assert np.abs(left[:48_000].astype(int) - expected)[inside].max() < 60
    assert np.abs(left[48_000:]).max() <= 1  # dither


@pytest.mark.parametrize(("rates", "expected"), [((8_000, 8_000), 8_000), ((16_000, 22_050), 24_000),
                                                 ((11_025, 8_000), 12_000), ((44_100, 96_000), 48_000)])  # fmt: skip
def test_the_file_has_the_faster_side_s_rate(studio, rates, expected):
    recorder = studio.recorder()
    recorder.user(noise(rates[0] // 2).tobytes(), rates[0])
    recorder.agent(noise(rates[1] // 2).tobytes(), rates[1])
    left, _, rate = studio.listen(recorder)
    assert (rate, len(left)) == (expected, expected // 2)


def test_a_faster_side_that_comes_later_is_resampled_down_unless_it_was_expected(studio):
    plain, told = studio.recorder(name="plain"), studio.recorder(name="told")
    told.expect_rate(24_000)
    for recorder in (plain, told):
        recorder.user(noise(8_000).tobytes(), 16_000)
    studio.wait(3)
    agent = noise(24_000)
    for recorder in (plain, told):
        recorder.agent(agent.tobytes(), 24_000)
    _, right, rate = studio.listen(plain)
    assert (rate, len(right), np.count_nonzero(right[48_000:])) == (
        16_000,
        64_000,
        pytest.approx(16_000, abs=20),
    )
    _, right, rate = studio.listen(told)
    assert rate == 24_000
    assert np.array_equal(right[72_000:], agent)


def test_g711_is_recorded_as_what_it_stands_for(studio, tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, 8_000, dtype=np.uint8)
    recorder = studio.recorder()
    recorder.user(codes.tobytes(), encoding="g711_ulaw")
    recorder.agent(codes.tobytes(), encoding="g711_alaw")
    left, right, rate = studio.listen(recorder)
    assert rate == 8_000
    for samples, subtype in ((left, "ULAW"), (right, "ALAW")):
        raw = tmp_path / subtype
        raw.write_bytes(codes.tobytes())
        reference, _ = sf.read(
            raw, samplerate=8_000, channels=1, format="RAW", subtype=subtype, dtype="int16"
        )
        assert np.array_equal(samples, reference)


def test_a_pause_leaves_a_silence(studio):
    recorder = studio.recorder()
    user, agent = noise(at(3.0), 1), noise(at(2.5), 2)
    recorder.agent(agent.tobytes())
    studio.speak(recorder.user, user[: at(1.0)])
    recorder.pause()
    assert recorder.status == "paused"
    recorder.agent(noise(at(0.5), 3).tobytes())  # handed over in the pause, to be heard from 2.5 on
    studio.speak(recorder.user, user[at(1.0) : at(2.0)])
    recorder.resume()
    studio.speak(recorder.user, user[at(2.0) :])
    left, right, _ = studio.listen(recorder)
    silent = slice(at(1.0), at(2.0))
    user[at(1.0) : at(2.02)] = 0  # the piece that was being captured at 2.0 is not kept
    agent[silent] = 0
    assert np.array_equal(left[: len(user)], user)
    assert np.array_equal(right[: len(agent)], agent)
    assert not right[len(agent) :].any()
    assert recorder.dropped_bytes == 0


def test_what_is_handed_over_need_not_be_bytes(studio):
    recorder = studio.recorder()
    samples = noise(480)
    for pcm in (bytearray(samples.tobytes()), memoryview(samples), samples, np.repeat(samples, 2)[::2]):
        recorder.agent(pcm)
    _, right, _ = studio.listen(recorder)
    assert np.array_equal(right, np.tile(samples, 4))


def test_what_is_handed_over_is_a_copy(studio):
    recorder = studio.recorder()
    buffer = noise(480)
    recorder.user(buffer)
    buffer[:] = 0  # as a device does, with the next block
    left, _, _ = studio.listen(recorder)
    assert np.array_equal(left, noise(480))


@pytest.mark.parametrize(
    "arguments",
    [("no bytes",), (None,), (480,), (np.zeros(480, np.float32),), (bytes(8), 0), (bytes(8), "fast"),
     (bytes(8), 10**9), (bytes(8), 8_000, "mp3"), (bytes(8), 8_000, None), (bytes(8), 8_000, "pcm16", "now")],
)  # fmt: skip
def test_nothing_that_is_handed_over_raises(studio, monkeypatch, arguments):
    monkeypatch.setattr(guard, "reraise", False)
    recorder = studio.recorder()
    recorder.user(noise(480).tobytes())
    recorder.agent(*arguments)
    recorder.user(*arguments)
    left, right, _ = studio.listen(recorder)
    assert np.array_equal(left, noise(480))
    assert not right.any()


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e300, 1.7e9, -5.0])
def test_a_time_that_is_none_is_not_used(studio, time):
    recorder = studio.recorder()
    recorder.agent(noise(480).tobytes(), at=time)
    _, right, _ = studio.listen(recorder)
    assert np.array_equal(right, noise(480))


def test_more_than_can_be_held_takes_its_place_as_silence(studio, monkeypatch):
    monkeypatch.setattr(audio_queue, "MOST_HELD", 100_000)
    recorder = studio.recorder()
    agent = noise(80_000)  # 160,000 bytes
    for n in range(0, len(agent), 8_000):
        recorder.agent(agent[n : n + 8_000].tobytes())
    assert recorder.dropped_bytes == pytest.approx(60_000, abs=4_000)
    studio.wait(3.0)
    after = noise(2_400, 9)
    recorder.agent(after.tobytes())
    studio.wait(1.0)
    recorder.user(noise(480).tobytes())  # the other side has its own room
    left, right, _ = studio.listen(recorder)
    kept = (160_000 - recorder.dropped_bytes) // 2
    assert np.array_equal(right[:kept], agent[:kept])
    assert not right[kept:80_000].any()
    assert np.array_equal(right[80_000:82_400], after)
    assert np.array_equal(left[-480:], noise(480))


def test_pieces_of_one_byte_are_bounded_as_well(studio, monkeypatch):
    monkeypatch.setattr(audio_queue, "MOST_HELD", 50_000)
    monkeypatch.setattr(audio_queue, "_MOST_HELD_WITH_SILENCE", 60_000)
    recorder = studio.recorder()
    for _ in range(2_000):
        recorder.agent(b"\x01")
        recorder.cut_agent()
    assert (
        len(recorder._queue.tracks[audio_queue.AGENT].entries) // 4 < 300
    )  # a piece is six parts, a cut two
    assert recorder.dropped_bytes > 1_500


def test_an_answer_of_ten_minutes_that_is_handed_over_at_once_is_kept(studio):
    recorder = studio.recorder()
    minute = noise(60 * RATE).tobytes()
    for _ in range(10):
        recorder.agent(minute)
    assert recorder.dropped_bytes == 0
    studio.wait(5)
    cut = recorder.cut_agent()
    _, right, _ = studio.listen(recorder)
    assert np.array_equal(right, np.frombuffer(minute, np.int16)[: 5 * RATE])
    assert cut.unheard_ms == 595_000


def test_a_long_silence_is_laid_out_too(studio):
    recorder = studio.recorder()
    recorder.user(noise(400, 1).tobytes(), 8_000)
    studio.clock.advance(1_500)
    recorder.user(noise(400, 2).tobytes(), 8_000)
    for _ in range(4):
        studio.wait(0.25)
    left, _, _ = studio.listen(recorder)
    assert len(left) == 1_500 * 8_000 + 400
    assert np.array_equal(left[-400:], noise(400, 2))


def test_a_folder_that_is_told_with_the_first_audio(studio):
    asked = []
    recorder = Recorder(lambda: asked.append(1) or studio.folder, clock=studio.clock, writer=studio.writer)
    studio.wait(1)
    assert (recorder.path, asked) == (None, [])
    recorder.user(noise(4_800).tobytes())
    studio.wait(1)
    assert (recorder.path, asked) == (studio.folder / "conversation.flac", [1])
    assert sf.info(recorder.finish()).frames == RATE + 4_800
    nowhere = Recorder(lambda: None, clock=studio.clock, writer=studio.writer)
    nowhere.user(noise(4_800).tobytes())
    studio.wait(6)  # it may be made late
    assert (nowhere.status, nowhere.finish(), nowhere.dropped_bytes) == ("failed", None, 9_600)


def test_a_recorder_that_is_off_costs_and_keeps_nothing(studio):
    recorder = Recorder(None, clock=studio.clock, writer=studio.writer)
    recorder.user(bytes(960))
    assert recorder.cut_agent().heard_ms is None
    studio.wait(1)
    assert (recorder.status, recorder.finish(), recorder.dropped_bytes) == ("off", None, 0)
    assert not studio.writer._writers


def test_a_conversation_without_audio_makes_no_file(studio):
    recorder = studio.recorder()
    studio.wait(2)
    assert recorder.status == "waiting"
    recorder.close()
    assert recorder.status == "closed"
    studio.wait(0.25)
    assert (recorder.status, recorder.finish()) == ("finished", None)
    assert list(studio.folder.iterdir()) == []


def test_a_closed_recorder_takes_nothing_more_and_is_finished_by_the_writer(studio):
    recorder = studio.recorder()
    recorder.user(noise(4_800).tobytes())
    recorder.close()
    recorder.user(noise(4_800, 2).tobytes())
    studio.wait(0.25)
    assert recorder.status == "finished"
    assert recorder.finish() == recorder.finish() == recorder.path
    assert recorder.seconds == 0.2
    assert not studio.writer._writers


def test_a_recorder_that_is_forgotten_is_finished(studio):
    recorder = studio.recorder()
    recorder.user(noise(4_800).tobytes())
    path = recorder.path
    del recorder
    studio.wait(0.25)
    assert sf.info(path).frames == 4_800


def test_threads_may_hand_over_at_once(studio):
    recorder = studio.recorder()
    start = threading.Barrier(4)

    def speak(hand_over):
        start.wait()
        for _ in range(500):
            hand_over(bytes([1, 0]) * 10)

    threads = [threading.Thread(target=speak, args=[side]) for side in (recorder.user, recorder.agent) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left, right, _ = studio.listen(recorder)
    assert (np.count_nonzero(left), np.count_nonzero(right)) == (10_000, 10_000)


def test_the_file_is_the_owner_s_alone_and_takes_no_other_s_place(studio):
    recorder, second = studio.recorder(), studio.recorder()
    for each in (recorder, second):
        each.user(noise(480).tobytes())
    studio.wait(1)
    assert recorder.path.stat().st_mode & 0o777 == 0o600
    assert (recorder.status, second.status, second.error) == ("recording", "failed", "File exists")
    assert second.finish() is None
    assert sf.info(recorder.finish()).frames == 480


def test_two_runs_that_are_rounded_to_one_frame_keep_their_times():
    from voicespan.recording.codec.resampler import Resampler
    from voicespan.recording.timeline.track import Piece

    channel = Resampler(0, 8_000)
    channel.feed(Piece(0, 8_000, "pcm16", b"", first=True, last=True), noise(5))
    channel.feed(Piece(125_000 * 4 + 50_000, 8_000, "pcm16", b"", first=True, last=True), noise(5, 3))
    column = np.zeros(10, np.int16)
    channel.fill(column, 0)
    assert np.array_equal(column, [*noise(5), *noise(5, 3)[1:], 0])


def test_what_the_resampler_holds_back_is_waited_for(studio):
    """From 8 to 48 kHz it is 175 ms, more than the writer lags behind."""
    recorder = studio.recorder()
    recorder.expect_rate(48_000)
    user = noise(16_000)
    studio.speak(recorder.user, user, 8_000)
    left, _, rate = studio.listen(recorder)
    assert rate == 48_000
    assert np.abs(left.astype(int) - soxr.resample(user, 8_000, 48_000, quality="HQ")).max() <= 2


def test_a_side_that_begins_where_the_other_s_last_frame_was_rounded_up():
    """Two rates, and times that fall between frames: the file has room for both."""
    from voicespan.recording.codec.resampler import Resampler
    from voicespan.recording.timeline.track import Piece

    channel = Resampler(0, 8_000)
    channel.feed(Piece(125_000 * 9, 8_000, "pcm16", b"", first=True, last=True), noise(5))
    column = np.zeros(8, np.int16)
    channel.fill(column, 10)  # frame 9 has been written
    assert np.array_equal(column, [*noise(5)[1:], 0, 0, 0, 0])
