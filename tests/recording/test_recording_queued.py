"""An answer that waits behind one that is still played, where only the loudspeaker is heard."""

from __future__ import annotations

import numpy as np
import pytest

RATE = 24_000
MS = 1_000_000


def words(*seconds, pause=0.3):
    """Tones of so many seconds, each with a pause after it."""
    quiet = np.zeros(round(RATE * pause), np.int16)
    tones = [(8_000 * np.sin(np.arange(round(RATE * each)) * 0.3)).astype(np.int16) for each in seconds]
    return np.concatenate([part for tone in tones for part in (tone, quiet)])


@pytest.fixture
def speaker(studio):
    """Plays samples as a device does, in blocks with their times, and marks the second answer after `received` s."""

    class Speaker:
        recorder = studio.recorder()
        began = round(studio.now * 1e9)

        def play(self, samples, received):
            for first in range(0, len(samples), 1_200):
                if first == round(received * RATE):
                    self.recorder.mark_answer()
                    self.received = round(studio.now * 1e9)
                block = samples[first : first + 1_200]
                # What is quiet for long is not reported.
                if samples[max(0, first - RATE // 2) : first + RATE // 2].any():
                    self.recorder.agent(block.tobytes(), RATE, at=studio.now)
                studio.wait(0.05)
            studio.wait(1.0)

        def heard_behind(self, seconds):
            at = self.recorder.first_heard_behind(self.began, round(seconds * 1e9), self.received)
            return None if at is None else round((at - self.began) / 1e9, 2)

    made = Speaker()
    made.recorder.mark_answer()
    return made


def test_it_is_heard_when_the_one_before_is_over(speaker):
    older, newer = words(*[0.5] * 8), words(1.0)
    speaker.play(np.concatenate([older, newer]), received=1.2)
    assert speaker.heard_behind(6.4) == 6.4


def test_it_is_not_heard_while_the_one_before_is_played(speaker):
    speaker.play(words(*[0.5] * 5), received=1.2)
    assert speaker.heard_behind(6.4) is None


def test_where_the_player_dropped_the_one_before_it_is_heard_after_the_silence(speaker):
    dropped, silence = words(0.5, 0.5, 0.5, pause=0.3), np.zeros(RATE * 2, np.int16)
    speaker.play(np.concatenate([dropped, silence, words(2.0, 2.0, 2.0)]), received=1.2)
    assert speaker.heard_behind(6.4) == pytest.approx(len(dropped) / RATE + 2.0, abs=0.051)


def test_behind_one_that_was_played_whole_it_waits_for_nothing(speaker):
    speaker.play(np.concatenate([words(0.5, 0.5), words(1.0)]), received=1.6)
    assert speaker.heard_behind(1.6) == 1.6


def test_where_one_goes_over_into_the_other_nobody_can_say_when(speaker):
    speaker.play(np.concatenate([words(3.0, pause=0), words(3.0, pause=0)]), received=1.0)
    assert speaker.heard_behind(3.0) is None
