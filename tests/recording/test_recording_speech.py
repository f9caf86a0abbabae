"""When the user spoke, as the recorder tells it and as a detector tells it that nobody here wrote."""

from __future__ import annotations

import time

import numpy as np
import pytest
import soundfile as sf
from studio import Studio

from voicespan.recording.timeline.speech import SpeechDetector

audio = pytest.importorskip("voicebench.audio", reason="voicebench needs Python 3.11")
vad = pytest.importorskip("voicebench.vad")

MS = 1_000_000
#: Start and length of what is said, in seconds.
SAID = ((1.0, 0.9), (4.0, 0.3), (7.5, 2.2), (12.0, 0.6))


@pytest.fixture
def studio(tmp_path) -> Studio:
    return Studio(tmp_path)


def microphone(rate: int, noise_db: float | None, seconds: float = 15.0, seed: int = 1) -> np.ndarray:
    samples = np.zeros(round(seconds * rate))
    if noise_db is not None:
        samples += audio.noise(seconds * 1_000, rate, level_db=noise_db, seed=seed)
    for number, (start, length) in enumerate(SAID):
        said = audio.speech_like(length * 1_000, rate, level_db=-20.0, seed=seed + number)
        samples[round(start * rate) :][: len(said)] += said
    return np.clip(np.rint(samples * 32_767), -32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
@pytest.mark.parametrize("noise_db", [None, -58.0, -50.0, -42.0])
def test_agrees_with_voicebench_on_the_recording(studio, rate, noise_db):
    recorder = studio.recorder()
    studio.speak(recorder.user, microphone(rate, noise_db), rate)
    studio.wait(1.0)
    # Its threshold is set for the noise: by default it never closes at -50 dBFS.
    config = vad.VadConfig(threshold_db=-45.0 if noise_db is None else noise_db + 10.0)
    samples, file_rate = sf.read(recorder.finish(), dtype="float64")
    segments = vad.detect_segments(samples[:, 0], file_rate, config)
    assert len(segments) == len(SAID)
    origin = round(studio.opened_at * 1e9)
    for segment in segments:
        begin, end = origin + round(segment.start * 1e9), origin + round(segment.end * 1e9)
        assert abs(recorder.user_speech_began_after(begin - 100 * MS) - begin) <= 20 * MS
        assert abs(recorder.user_speech_ended_before(end + 300 * MS) - end) <= 20 * MS


def test_what_is_not_settled_is_known_as_well(studio):
    recorder = studio.recorder()
    origin = round(studio.opened_at * 1e9)
    studio.speak(
        recorder.user, microphone(16_000, -58.0, 15.0)[: 16_000 * 2], 16_000
    )  # the end is 100 ms ago
    end = recorder.user_speech_ended_before(origin + 2_000 * MS)
    assert abs(end - (origin + 1_900 * MS)) <= 20 * MS
    assert recorder.user_speech_began_after(origin) == pytest.approx(origin + 1_000 * MS, abs=20 * MS)


def test_who_speaks_on_has_not_ended(studio):
    recorder = studio.recorder()
    origin = round(studio.opened_at * 1e9)
    studio.speak(recorder.user, microphone(16_000, -58.0), 16_000)
    assert recorder.user_speech_ended_before(origin + 1_500 * MS) is None
    assert recorder.user_speech_ended_before(origin + 500 * MS) is None  # nothing was said yet
    assert recorder.user_speech_began_after(origin + 12_500 * MS) is None


def test_clicks_and_growing_noise_are_no_speech(studio):
    recorder = studio.recorder()
    samples = microphone(16_000, -58.0)[: 16_000 * 1]
    samples[8_000:8_320] = 20_000  # 20 ms
    rng = np.random.default_rng(5)
    louder = (rng.standard_normal(20 * 16_000) * 32_768 * np.logspace(-2.9, -2.4, 20 * 16_000)).astype(
        np.int16
    )
    studio.speak(recorder.user, np.concatenate([samples, louder]), 16_000)
    assert recorder.user_speech_began_after(round(studio.opened_at * 1e9)) is None


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_same_in_whatever_pieces_it_comes(seed):
    """The frames are those of the file, also where a piece ends within one, and where there is nothing between two."""
    samples = microphone(16_000, -58.0 if seed % 2 else None)
    samples[5 * 16_000 + 7 : 6 * 16_000 + 3] = 0
    origin, chance = 1_000_000_007, np.random.default_rng(seed)
    whole, pieces = SpeechDetector(), SpeechDetector()
    whole.listen(origin, 16_000, samples, origin)
    first = 0
    while first < len(samples):
        after = min(first + int(chance.integers(1, 2_000)), len(samples))
        # What has no sound is not given at all.
        if seed < 2 or samples[first:after].any():
            pieces.listen(origin + first * 10**9 // 16_000, 16_000, samples[first:after], origin)
        first = after
    assert list(pieces.times) == list(whole.times)
    assert len(list(whole.times)) == len(SAID)


def test_a_recorder_that_heard_nothing_knows_nothing(studio):
    recorder = studio.recorder()
    assert recorder.user_speech_began_after(0) is None
    assert recorder.user_speech_ended_before(1 << 60) is None
    assert recorder.agent_audible_after(0) is None


def test_when_the_agent_is_audible(studio):
    recorder = studio.recorder()
    origin = round(studio.opened_at * 1e9)
    quiet, tone = np.zeros(12_000, np.int16), np.full(24_000, 5_000, np.int16)
    studio.speak(recorder.agent, np.concatenate([quiet, tone, quiet, tone]), 24_000)
    assert recorder.agent_audible_after(origin) == pytest.approx(origin + 500 * MS, abs=MS)
    assert recorder.agent_audible_after(origin + 600 * MS) == pytest.approx(origin + 2_000 * MS, abs=MS)
    assert recorder.agent_audible_after(origin + 2_500 * MS) is None


def test_costs_a_fiftieth_of_a_percent_of_a_core():
    """Measured 0.013 % on 2.6 GHz; the limit leaves room for a machine that is busy."""
    rate = 24_000
    samples = np.tile(microphone(rate, -58.0), 4)
    detector = SpeechDetector()
    began = time.thread_time()
    for first in range(0, len(samples), rate // 4):
        detector.listen(first * 10**9 // rate, rate, samples[first : first + rate // 4])
    assert time.thread_time() - began < 5 * 0.0002 * len(samples) / rate
