"""What the tap recorded is what the application was given, which is what was spoken into the microphone."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest
import soundfile as sf
from sound_streams import RATE, noise
from test_devices_speaker import places

WAYS = {
    "sounddevice, callback": ["sounddevice_listening", "callback"],
    "sounddevice, both sides in one callback": ["sounddevice_listening", "duplex"],
    "sounddevice, read when there is enough": ["sounddevice_listening", "read"],
    "PyAudio, callback": ["pyaudio_listening", "callback"],
    "PyAudio, read": ["pyaudio_listening", "read"],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_was_spoken(start, sound_server, tmp_path, way):
    process = start(sys.executable, "sound_streams.py", str(tmp_path), json.dumps(way))
    assert process.stdout.readline() == "listening\n"
    spoken = noise()[: round(1.2 * RATE)]
    sound_server.speak(spoken.tobytes())
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    recorded, _ = sf.read(json.loads(out.splitlines()[-1])["path"], dtype="int16")
    microphone, given = recorded[:, 0], np.fromfile(tmp_path / "app.raw", "<i2")
    # Spoken, captured: a busy machine may make the server itself stutter in between, the tap may not.
    found = places(spoken, microphone)
    assert len(found) - found.count(None) >= 15
    (offset,) = set(places(given, microphone))
    sounding = np.flatnonzero(given)
    first, last = sounding[0], sounding[-1] + 1
    assert np.array_equal(given[first:last], microphone[first + offset : last + offset])
    assert not recorded[:, 1].any()


@pytest.mark.parametrize("library", ["sounddevice", "pyaudio"])
@pytest.mark.parametrize("late", [(3.0, 0.0), (0.0, 3.0)], ids=["first read late", "paused"])
def test_what_is_read_late_is_where_it_was_spoken(start, sound_server, tmp_path, library, late):
    """It was late by what had piled up: three seconds."""
    unread, paused = late
    way = ["late_listening", library, unread, paused]
    process = start(sys.executable, "sound_streams.py", str(tmp_path), json.dumps(way))
    assert process.stdout.readline() == "listening\n"
    time.sleep(unread + paused - 1.0)  # nobody reads; then, a little after the reading goes on
    times = []
    for again in range(2):
        times.append(time.monotonic())
        sound_server.speak(noise()[again * RATE :][: RATE // 2].tobytes()).wait(10)
        time.sleep(1.0)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    known = json.loads(out.splitlines()[-1])
    recorded, _ = sf.read(known["path"], dtype="int16")
    sounding = np.flatnonzero(recorded[:, 0])
    gap = int(np.flatnonzero(np.diff(sounding) > RATE // 2)[0])
    for spoken, place in zip(times, (sounding[0], sounding[gap + 1]), strict=True):
        # The program that speaks takes a tenth of a second and more to start.
        assert -0.05 < known["started_at"] + place / RATE - spoken < 0.6
