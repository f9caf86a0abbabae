"""The user's side is where it was said, also when what was said waited before it was handed over, without its time."""

from __future__ import annotations

import numpy as np
import pytest
from studio import noise

RATE = 24_000
PIECE = 480


def call(studio, hand_over, said, *, unread=(), took=0.0):
    """A microphone whose pieces are handed over as they are captured; not while it is `unread`, and then at once.

    `unread`: from when to when, in seconds of the call. `took`: how long it then takes to hand over a piece.
    """
    began = studio.now
    for first in range(0, len(said), PIECE):
        captured = (first + PIECE) / RATE
        read = max([captured, *(end for start, end in unread if start <= captured < end)])
        studio.wait(max(began + read - studio.now, took if read > captured else 0.0, 0.0))
        hand_over(said[first : first + PIECE].tobytes(), RATE)
    return began


def place(recorder, began, said, at):
    """By how much the second from `at` on is late in the file, in seconds."""
    left = recorder[0]
    part = said[round(at * RATE) : round(at * RATE) + PIECE]
    places = [n for n in np.flatnonzero(left == part[0]) if np.array_equal(left[n : n + len(part)], part)]
    assert len(places) == 1
    return recorder[1] + places[0] / RATE - began - at


@pytest.mark.parametrize("took", [0.0, 0.004], ids=["at once", "a while to work off"])
@pytest.mark.parametrize(
    "unread",
    [
        [(0.0, 2.0)],
        [(0.0, 4.0)],
        [(2.0, 3.0)],
        [(2.0, 6.5)],
        [(1.0, 3.0), (5.0, 8.0)],
        [(0.0, 2.0), (4.0, 7.0)],
    ],
    ids=str,
)
def test_what_was_not_read_for_seconds_is_where_it_was_said(studio, unread, took):
    recorder = studio.recorder()
    said = noise(RATE * 12)
    studio.wait(1.0)
    began = call(studio, recorder.user, said, unread=unread, took=took)
    recorder.close()
    seconds = recorder.final_seconds
    left, _, _ = studio.listen(recorder)
    assert seconds == pytest.approx(len(left) / RATE, abs=0.0005)
    file = left, recorder.started_at
    late = {at: place(file, began, said, at) for at in (0.5, 1.5, 2.5, 3.5, 5.5, 6.0, 7.5, 9.5, 11.5)}
    assert all(-0.06 <= each <= 0.06 for each in late.values()), late
    assert recorder.dropped_bytes == 0


def test_the_length_that_is_known_before_there_is_a_file_is_the_files(studio):
    recorder = studio.recorder()
    began = call(studio, recorder.user, noise(RATE * 4), unread=[(0.0, 3.0)])
    recorder.close()
    seconds = recorder.final_seconds
    left, _, _ = studio.listen(recorder)
    assert seconds == pytest.approx(len(left) / RATE, abs=0.0005)
    assert recorder.started_at == pytest.approx(began, abs=0.03)


def test_a_pause_stays_a_pause(studio):
    recorder = studio.recorder()
    first, second = noise(RATE * 2), noise(RATE * 2, 7)
    began = call(studio, recorder.user, first)
    studio.wait(3.0)
    call(studio, recorder.user, second)
    left, _, _ = studio.listen(recorder)
    file = left, recorder.started_at
    assert place(file, began, first, 0.0) == pytest.approx(0.02, abs=0.001)
    assert place(file, began + 5.0, second, 0.0) == pytest.approx(0.02, abs=0.001)


def test_a_file_that_is_read_at_once_is_said_from_then_on_and_soon_written(studio):
    recorder = studio.recorder()
    said = noise(RATE * 5)
    recorder.user(said.tobytes(), RATE)
    studio.wait(1.5)
    assert recorder._writer.frames > RATE * 0.9
    left, _, _ = studio.listen(recorder)
    assert np.array_equal(left, said)


def test_a_microphone_that_ends_is_not_waited_for_while_the_agent_speaks(studio):
    """A kill costs one second at most of what was said."""
    recorder = studio.recorder()
    call(studio, recorder.user, noise(RATE * 2))
    call(studio, recorder.agent, noise(RATE * 2, 7))
    assert recorder._writer.frames > RATE * 3.2  # of four seconds


def test_what_is_given_faster_than_it_is_said_is_held_for_five_seconds_at_most(studio):
    recorder = studio.recorder()
    said = noise(RATE * 20)
    for first in range(0, len(said), PIECE):
        recorder.user(said[first : first + PIECE].tobytes(), RATE)
        studio.wait(0.012)
        if first == RATE * 15:
            written = recorder._writer.frames
    assert written > RATE * 7
    left, _, _ = studio.listen(recorder)
    assert np.array_equal(left, said)
