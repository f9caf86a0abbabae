"""What the tap recorded is what the loudspeaker played: compared with what is heard behind it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import soundfile as sf
from sound_streams import RATE, noise

#: Frames that tell where they are from.
_PIECE = 200


def places(pieces_of: np.ndarray, within: np.ndarray) -> list[int]:
    """Where pieces of one are found in the other, relative to where they were; None for those that are not."""
    sounding = np.flatnonzero(pieces_of)
    starts = range(sounding[0], sounding[-1] - _PIECE, 1_200)
    whole = within.tobytes()
    found = []
    for start in starts:
        piece = pieces_of[start : start + _PIECE]
        if np.count_nonzero(piece) > _PIECE * 0.9:
            at = whole.find(piece.tobytes())
            found.append(None if at < 0 else at // 2 - start)
    return found


def play(start, sound_server, folder, way):
    """Returns what was heard, the recording's right channel, and what the program said."""
    with sound_server.heard(folder / "heard.raw"):
        process = start(sys.executable, "sound_streams.py", str(folder), json.dumps(way))
        out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    recorded, rate = sf.read(told["path"], dtype="int16")
    assert (rate, told["source"]) == (RATE, "devices")
    return np.fromfile(folder / "heard.raw", "<i2"), recorded[:, 1], told


WAYS = {
    "callback": ["sounddevice_callback", "int16", 1, 480, "abort"],
    "callback, float32, two channels": ["sounddevice_callback", "float32", 2, 1200, "abort"],
    "callback, stop()": ["sounddevice_callback", "int16", 1, 1200, "stop"],
    "callback, close()": ["sounddevice_callback", "int16", 1, 0, "close"],
    "write, array": ["sounddevice_blocking", "OutputStream", 480],
    "write, raw": ["sounddevice_blocking", "RawOutputStream", 2_400],
    "PyAudio write": ["pyaudio_blocking", 1_024],
    "PyAudio callback": ["pyaudio_callback"],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_was_played_until_it_was_cut(start, sound_server, tmp_path, way):
    heard, recorded, told = play(start, sound_server, tmp_path, way)
    found = places(heard, recorded)
    # One stretch, in one place, bit for bit. A busy machine may make the server itself skip.
    usual = max(set(found), key=found.count)
    assert len(found) > 20
    assert usual is not None
    assert sum(place is not None and abs(place - usual) < 0.03 * RATE for place in found) >= len(found) - 2
    # Both end together: what the device had and did not play is not in the recording.
    end_of_heard = np.flatnonzero(heard)[-1] + usual
    end_of_recorded = np.flatnonzero(recorded)[-1]
    assert abs(end_of_recorded - end_of_heard) <= 0.03 * RATE
    ((_, heard_ms, _),) = told["cuts"]
    assert heard_ms == pytest.approx(np.count_nonzero(heard) / RATE * 1000, abs=45)


@pytest.mark.parametrize(
    "way",
    [
        ["sounddevice_raw_callback_that_ends", "CallbackStop"],
        ["sounddevice_raw_callback_that_ends", "CallbackAbort"],
        ["sounddevice_play"],
    ],
    ids=["CallbackStop", "CallbackAbort", "play"],
)
def test_what_ends_by_itself(start, sound_server, tmp_path, way):
    # PulseAudio does not play the last blocks of a stream that says it is done: then they are not recorded.
    heard, recorded, _ = play(start, sound_server, tmp_path, way)
    sounding = np.flatnonzero(recorded)
    sound = recorded[sounding[0] : sounding[-1] + 1]
    assert np.array_equal(sound, noise()[: len(sound)])
    assert abs(len(sound) - np.count_nonzero(heard)) <= 0.03 * RATE
