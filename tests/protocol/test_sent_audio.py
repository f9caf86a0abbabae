"""When a position in the audio that was sent was spoken."""

from __future__ import annotations

import pytest

from voicespan.protocol.sent_audio import SentAudio

MS = 1_000_000
#: When the microphone was opened.
OPENED = 1_000_000 * MS
BYTES_PER_MS = 48


class Microphone:
    """Gives 20 ms of audio every 20 ms, of which each piece can be sent later than it is there."""

    def __init__(self) -> None:
        self.sent = SentAudio(BYTES_PER_MS)
        self.now = OPENED
        self._held = 0

    def speak(self, ms, *, held=False):
        """So much time passes with the microphone on; `held`: what it gives is sent when that is over."""
        for _ in range(ms // 20):
            self.now += 20 * MS
            self._held += 1
            if not held:
                self._send()
        self._send()
        return self

    def _send(self):
        for _ in range(self._held):
            self.sent.add(20 * BYTES_PER_MS, self.now)
        self._held = 0

    def mute(self, ms):
        self.now += ms * MS
        return self

    def spoken_ms(self, position_ms, heard_ms=None, late_ms=100):
        """When it was spoken, after the opening, by a word of the service's that came `late_ms` after now."""
        heard_ms = position_ms if heard_ms is None else heard_ms
        at = self.sent.spoken_at(position_ms, heard_ms, self.now + late_ms * MS)
        return None if at is None else (at - OPENED) / MS


def test_without_delays_the_position_is_the_time():
    assert Microphone().speak(3_000).spoken_ms(2_500, 3_000) == pytest.approx(2_500, abs=1)


@pytest.mark.parametrize("late_ms", [0, 250, 1_900])
def test_how_late_the_services_word_comes_changes_nothing(late_ms):
    assert Microphone().speak(3_000).spoken_ms(2_500, 3_000, late_ms) == pytest.approx(2_500, abs=1)


def test_what_waited_for_the_socket_was_spoken_before_it_was_sent():
    microphone = Microphone().speak(2_000, held=True).speak(1_000)
    assert microphone.spoken_ms(1_500, 2_000) == pytest.approx(1_500, abs=1)
    assert microphone.spoken_ms(2_500, 3_000) == pytest.approx(2_500, abs=1)


def test_what_a_held_loop_sent_late_was_spoken_before():
    microphone = Microphone().speak(1_000).speak(800, held=True).speak(500)
    assert microphone.spoken_ms(1_400, 2_000) == pytest.approx(1_400, abs=1)


def test_a_muted_microphone_has_no_positions():
    microphone = Microphone().speak(1_000).mute(5_000).speak(1_000)
    assert microphone.spoken_ms(1_500, 2_000) == pytest.approx(6_500, abs=1)


def test_before_a_pause_it_is_as_it_was():
    microphone = Microphone().speak(1_000).mute(1_000).speak(200)
    assert microphone.spoken_ms(500, 1_000) == pytest.approx(500, abs=1)


def test_a_format_that_changes_goes_on_from_where_it_was():
    microphone = Microphone().speak(1_000)
    microphone.sent.ns_per_byte = 1e6 / 8
    for _ in range(50):
        microphone.now += 20 * MS
        microphone.sent.add(160, microphone.now)
    assert microphone.spoken_ms(1_500, 2_000) == pytest.approx(1_500, abs=1)


@pytest.mark.parametrize(
    ("position", "heard"),
    [
        # More than was sent: the service counts otherwise.
        (2_500, 3_100),
        # What it heard was sent long before its word: so does it here.
        (1_000, 1_200),
        (-500, 0),
        (0, 0),
    ],
)
def test_of_a_service_that_counts_otherwise_nothing_is_known(position, heard):
    assert Microphone().speak(3_000).mute(2_000).spoken_ms(position, heard) is None


def test_of_what_was_said_long_ago_nothing_is_known():
    assert Microphone().speak(60_000).spoken_ms(30_000, 60_000) is None


def test_before_anything_was_sent_nothing_is_known():
    assert Microphone().spoken_ms(100) is None


def test_the_marks_are_bounded():
    microphone = Microphone().speak(120_000)
    assert microphone.spoken_ms(119_000, 120_000) == pytest.approx(119_000, abs=1)
    assert len(microphone.sent._leads) == 128
