"""What the tap recorded is what the application was given, which is what was spoken into the microphone."""

from __future__ import annotations

import json
import sys

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
