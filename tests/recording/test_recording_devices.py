"""Devices without a device: samples out of every format, when a block is heard, whose stream it is."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from studio import Studio, noise

from voicespan.recording import Recorder
from voicespan.recording.audio_queue import AGENT, USER
from voicespan.recording.codec.formats import DEVICE_SAMPLES, SAMPLE_BYTES, SILENCE
from voicespan.recording.codec.samples import decode
from voicespan.recording.devices import routing, taps
from voicespan.recording.devices.clocks import PlayClock, ReadClock, time_of_block

MS = 1_000_000
RATE = 24_000

# Samples.


@pytest.mark.parametrize(
    ("encoding", "samples", "expected"),
    [
        ("int16*1", np.array([1, -2], "=i2"), [1, -2]),
        ("int32*1", np.array([1 << 16, -(1 << 31)], "=i4"), [1, -32_768]),
        ("int8*1", np.array([1, -128], "i1"), [256, -32_768]),
        ("uint8*1", np.array([128, 0, 255], "u1"), [0, -32_768, 32_512]),
        (
            "float32*1",
            np.array([0.5, -1, 1, 7, np.nan, np.inf], "=f4"),
            [16_384, -32_768, 32_767, 32_767, 0, 32_767],
        ),
        ("int16*2", np.array([100, 300, -100, -300], "=i2"), [200, -200]),
        ("int16*2", np.array([32_767, 32_767], "=i2"), [32_767]),
        ("float32*3", np.array([0.25, 0.5, 0.75], "=f4"), [16_384]),
    ],
)
def test_every_format_becomes_mono_int16(encoding, samples, expected):
    assert decode(samples.tobytes(), encoding).tolist() == expected
    assert len(samples.tobytes()) == len(expected) * SAMPLE_BYTES[encoding]


def test_packed_24_bit_samples():
    assert decode(bytes([255, 1, 0, 0, 0, 128]), "int24*1").tolist() == [1, -32_768]


@pytest.mark.parametrize("encoding", ["pcm16", "g711_ulaw", *(f"{sample}*2" for sample in DEVICE_SAMPLES)])
def test_silence_of_every_format(encoding):
    assert decode(SILENCE[encoding] * SAMPLE_BYTES[encoding] * 2, encoding).tolist() == [0, 0]


# Clocks.


@pytest.mark.parametrize(
    ("current", "block", "expected"),
    [
        (100.0, 100.04, 1_040 * MS),
        (100.0, 99.98, 980 * MS),
        (0.0, 0.0, 1_035 * MS),  # a driver that tells no times
        (100.0, 0.0, 1_035 * MS),
        (100.0, 1_700_000_000.0, 1_035 * MS),  # nor times of one clock
    ],
)
def test_a_block_on_our_own_clock(current, block, expected):
    assert time_of_block(1_000 * MS, current, block, 35 * MS) == pytest.approx(expected, abs=100)


def reads(*calls, started=0):
    """When what each read returned was captured; all in milliseconds: entered, returned, duration, left, emptied."""
    clock = ReadClock()
    clock.start(started * MS)
    return [
        clock.read(
            entered * MS, returned * MS, duration * MS, None if left is None else left * MS, emptied=emptied
        )
        // MS
        for entered, returned, duration, left, emptied in calls
    ]


def test_a_read_that_waits_gives_what_was_captured_before_it_returned():
    # The stream took 1.5 s to start.
    assert reads((1, 1_520, 20, 0, True), (1_521, 1_540, 20, None, False)) == [1_500, 1_520]


def test_a_stream_that_is_first_read_late_gives_what_it_captured_since_its_start():
    """PulseAudio fills the device's buffer (43 ms) again at once, so only the count knows how old the samples are."""
    late = [(3_000, 3_000, 20, 43, False)] * 149
    assert reads(*late, (3_000, 3_001, 20, 0, True))[::70] == [0, 1_400, 2_800]


def test_a_stream_that_lost_samples_is_set_right_when_its_buffer_is_empty():
    paused = [(5_000, 5_000, 20, 80, False), (5_001, 5_001, 20, 60, True), (5_002, 5_021, 20, 0, True)]
    assert reads((1, 20, 20, 0, True), *paused) == [0, 20, 4_921, 5_001]


def test_where_the_device_says_nothing_reads_are_counted():
    assert reads((20, 20, 20, None, False), (21, 21, 20, None, False), (22, 60, 20, None, False)) == [
        0,
        1,
        40,
    ]


class Playing:
    """Blocking writes, on a clock that is moved by hand; all times in milliseconds."""

    def __init__(self, latency: int = 30) -> None:
        self.clock, self.now = PlayClock(latency * MS), 1_000 * MS

    def write(self, waits: float, duration: int = 20) -> int:
        start = self.clock.enter(self.now, duration * MS)
        entered, self.now = self.now, self.now + round(waits * MS)
        self.clock.leave(entered, self.now)
        return start // MS


def test_writes_follow_each_other_whatever_the_jitter():
    playing = Playing()
    starts = [playing.write(waits) for waits in (0, 0, 15, 23, 17, 26, 14)]
    assert starts == list(range(1_015, 1_015 + 7 * 20, 20))


def test_a_device_that_ran_dry_begins_anew():
    playing = Playing()
    playing.write(0)
    playing.now += 300 * MS
    assert playing.write(0) == 1_315


def test_a_device_that_is_much_later_than_thought_played_silence():
    playing = Playing()
    playing.write(20)
    assert playing.write(70) == 1_035
    assert playing.write(20) == 1_120


def test_a_write_that_a_busy_machine_held_did_not_wait_for_room():
    # Seen: PulseAudio took the first 400 ms at once, and one of the writes came back 3.6 ms late.
    playing = Playing(latency=85)
    assert [playing.write(waits, 200) for waits in (4, 305, 179, 179)] == [1_042, 1_242, 1_442, 1_642]


def test_what_was_written_takes_its_time_to_be_heard():
    # The device took more at once than it says that it can hold, and the machine was busy at the last write.
    playing = Playing(latency=85)
    starts = [playing.write(waits) for waits in (*[0] * 14, 12, 200, 20, 20)]
    assert starts == list(range(1_042, 1_042 + 18 * 20, 20))


def test_a_device_whose_clock_runs_fast_is_followed():
    playing = Playing(latency=85)
    starts = [playing.write(waits, 200) for waits in (0, *[199.9] * 2_000)]
    assert starts[-1] == pytest.approx(playing.now / MS + 85 - 200, abs=102)


def test_what_was_stopped_is_not_followed():
    playing = Playing()
    playing.write(0)
    playing.clock.stop()
    assert playing.write(0) == 1_015


# Taps.


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setattr(routing, "_said", set())  # what is said once a process is said in each test
    return Studio(tmp_path)


@pytest.fixture
def recorder(studio):
    recorder = studio.recorder()
    routing.conversation_opened(recorder, recorder)
    yield recorder
    routing.conversation_closed(recorder)
    recorder.finish()


@pytest.fixture
def other(tmp_path, studio):
    (tmp_path / "other").mkdir()
    recorder = Recorder(tmp_path / "other", clock=studio.clock, writer=studio.writer)
    yield recorder
    routing.conversation_closed(recorder)
    recorder.finish()


class Stream:
    """A stream of mono int16, in blocks of 20 ms."""

    def __init__(self, studio, side=AGENT) -> None:
        self._studio = studio
        self.tap = taps.tap(side, "int16", 1, RATE, 0.04)
        taps.attach(self, taps.Taps(self.tap, None) if side == USER else taps.Taps(None, self.tap))
        self.tap.running = True

    def play(self, samples, late_ms=40, **named):
        """In real time; what is heard is heard `late_ms` after it was handed over."""
        for first in range(0, len(samples), 480):
            now = self._studio.clock.monotonic_ns()
            self.tap.played(now, samples[first : first + 480].tobytes(), now + late_ms * MS, **named)
            self._studio.wait(0.02)
        return self

    def capture(self, samples):
        for first in range(0, len(samples), 480):
            now = self._studio.clock.monotonic_ns()
            self.tap.captured(now, samples[first : first + 480].tobytes(), now)
            self._studio.wait(0.02)
        return self


def test_a_stream_plays_into_the_only_open_conversation(studio, recorder):
    sound = noise(4_800)
    Stream(studio).play(sound)
    _, right, _ = studio.listen(recorder)
    assert np.array_equal(right[960 : 960 + 4_800], sound)
    assert recorder.source == "devices"


def test_with_two_open_neither_is_recorded(studio, recorder, other, caplog):
    routing.conversation_opened(other, other)
    Stream(studio).play(noise(4_800))
    assert (recorder.has_audio, other.has_audio) == (False, False)
    assert "only streams bound" in caplog.text
    routing.conversation_closed(other)
    Stream(studio).play(noise(4_800))
    assert (recorder.has_audio, other.has_audio) == (True, False)


def test_a_bound_stream_belongs_to_its_recorder(studio, recorder, other):
    routing.conversation_opened(other, other)
    stream = Stream(studio)
    other.bind(stream)
    stream.play(noise(4_800))
    assert (recorder.has_audio, other.has_audio) == (False, True)


def test_what_is_no_stream_is_told_once_and_disturbs_nobody(recorder, caplog):
    recorder.bind(object())
    assert "does not record this stream" in caplog.text


def test_before_and_after_a_conversation_nothing_is_kept(studio, recorder):
    stream = Stream(studio)
    routing.conversation_closed(recorder)
    stream.play(noise(480))
    routing.conversation_opened(recorder, recorder)
    routing.conversation_closed(recorder)
    stream.play(noise(480))
    assert not recorder.has_audio


def test_the_applications_own_calls_are_ignored_on_a_side_that_a_device_reports(studio, recorder):
    sound = noise(4_800)
    Stream(studio).play(sound)
    recorder.agent(noise(480, seed=5).tobytes(), RATE)
    assert recorder.cut_agent().heard_ms is None
    recorder.user(sound.tobytes(), RATE)  # the microphone is the application's still
    studio.wait(1)
    left, right, _ = studio.listen(recorder)
    assert np.count_nonzero(right) == np.count_nonzero(left) == 4_800


def test_a_stream_of_silence_stands_in_nobodys_way(studio, recorder):
    Stream(studio).play(np.zeros(4_800, np.int16))
    assert not recorder.has_audio
    sound = noise(4_800)
    Stream(studio).play(sound)
    _, right, _ = studio.listen(recorder)
    assert np.count_nonzero(right) == 4_800


def test_of_two_that_sound_at_once_the_first_is_recorded(studio, recorder):
    first, second = Stream(studio), Stream(studio)
    first.play(noise(480))
    second.play(noise(480, seed=3))
    assert recorder.sources[AGENT] is first.tap
    studio.wait(1)
    second.play(noise(480, seed=3))
    assert recorder.sources[AGENT] is second.tap


def test_what_was_pending_is_cut_where_the_stream_was_stopped(studio, recorder):
    sound = noise(9_600)
    stream = Stream(studio).play(sound)
    stopped = studio.clock.monotonic_ns()
    stream.tap.stop(stopped)
    stream.play(noise(480))  # after it was stopped, nothing counts
    studio.wait(1)
    _, right, _ = studio.listen(recorder)
    assert np.flatnonzero(right)[-1] == 960 + 9_600 - 960 - 1


def test_stopping_what_has_fallen_silent_cuts_nothing(studio, recorder):
    cut = []
    recorder.cut = cut.append
    stream = Stream(studio).play(noise(480))
    studio.wait(0.5)
    stream.tap.stop(studio.clock.monotonic_ns())
    assert cut == []


def test_a_pause_in_the_middle_counts_as_heard_and_the_end_does_not(studio, recorder):
    quiet = np.zeros(4_800, np.int16)
    Stream(studio).play(np.concatenate([quiet, noise(4_800), quiet, noise(4_800), quiet, quiet, quiet]))
    recorder._writer.read_queue()
    heard = recorder._writer.timeline.agent.played(0, studio.clock.monotonic_ns())
    assert heard == 600 * MS


def test_an_underrun_is_a_gap_however_short(studio, recorder):
    sound = noise(2_400)
    stream = Stream(studio)
    stream.play(sound[:1_440])
    studio.wait(0.03)  # within what would otherwise be jitter
    stream.play(sound[1_440:1_920], after_gap=True)
    stream.play(sound[1_920:])
    _, right, _ = studio.listen(recorder)
    gap = np.flatnonzero(right == 0)
    inside = gap[(gap > 960) & (gap < 960 + 2_400)]
    assert len(inside) == 720


def test_a_pause_of_the_recorder_is_one_for_devices(studio, recorder):
    stream = Stream(studio, USER)
    stream.capture(noise(4_800))
    recorder.pause()
    stream.capture(noise(4_800))
    recorder.resume()
    stream.capture(noise(4_800))
    left, _, _ = studio.listen(recorder)
    assert np.count_nonzero(left) == pytest.approx(9_600, abs=480)
    assert not left[4_900:9_500].any()


def test_a_stream_that_is_gone_is_forgotten(studio):
    stream = Stream(studio)
    gone = weakref.ref(stream.tap)
    del stream
    gc.collect()
    assert gone() is None


def test_a_stream_of_too_many_channels_is_left_alone():
    assert taps.tap(AGENT, "int16", 64, RATE, 0.0) is None
    assert taps.tap(AGENT, "float64", 1, RATE, 0.0) is None


@pytest.mark.parametrize(("source", "recorded"), [("app", False), ("wire", False), ("devices", True)])
def test_whether_a_device_is_recorded_is_decided_when_its_stream_starts(
    studio, recorder, monkeypatch, source, recorded
):
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", source)
    stream = Stream(studio, USER)
    stream.tap.running = False
    taps.started(stream)
    stream.capture(noise(480))
    assert recorder.has_audio is recorded
