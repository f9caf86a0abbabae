"""A recording gives its descriptor away and goes on: the file is the same as if it had kept it."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile as sf

from voicespan.recording.codec.audio_file import AudioFile
from voicespan.recording.codec.transcode import transcode

RATE = 24_000


def noise(seed, frames=RATE):
    return np.random.default_rng(seed).integers(-9_000, 9_000, (frames, 2)).astype(np.int16)


def test_files_that_give_way_between_two_blocks_hold_what_was_written(tmp_path):
    files = [AudioFile(tmp_path / f"{number}.flac", "flac", RATE, 2) for number in range(3)]
    blocks = [[noise(10 * number + block) for block in range(4)] for number in range(3)]
    for block in range(4):
        for number, file in enumerate(files):
            file.write(blocks[number][block])
            if (block + number) % 2:
                assert file.give_way()
                assert file.descriptor == -1
    for file in files:
        file.give_way()
        file.close()
        assert file.descriptor == -1
    for number in range(3):
        heard, _ = sf.read(tmp_path / f"{number}.flac", dtype="int16")
        assert np.array_equal(heard, np.concatenate(blocks[number]))


def test_what_is_encoded_holds_no_descriptor_between_two_turns(tmp_path):
    sf.write(tmp_path / "a.wav", noise(1), RATE)
    file = AudioFile(tmp_path / "b.ogg", "ogg", RATE, 2, keep=False)
    file.write(noise(1))
    assert file.descriptor == -1
    file.close()
    assert sf.info(tmp_path / "b.ogg").frames == RATE
    assert sf.info(transcode(tmp_path / "a.wav", "ogg")).frames == RATE


def test_an_abandoned_file_leaves_the_others_alone(tmp_path):
    first, second = (AudioFile(tmp_path / f"{name}.flac", "flac", RATE, 2) for name in "ab")
    first.write(noise(1))
    second.write(noise(2))
    first.abandon()
    second.close()
    assert np.array_equal(sf.read(tmp_path / "b.flac", dtype="int16")[0], noise(2))


def test_a_file_that_nobody_finished_and_python_collects_leaves_the_others_alone(tmp_path):
    first, second = (AudioFile(tmp_path / f"{name}.flac", "flac", RATE, 2) for name in "ab")
    first.write(noise(1))
    second.write(noise(2))
    first.give_way()
    del first
    second.close()
    assert np.array_equal(sf.read(tmp_path / "b.flac", dtype="int16")[0], noise(2))


def test_another_file_in_its_place_is_not_written_to(tmp_path):
    file = AudioFile(tmp_path / "a.flac", "flac", RATE, 2)
    file.write(noise(1))
    file.give_way()
    (tmp_path / "a.flac").unlink()
    (tmp_path / "a.flac").write_bytes(b"theirs")
    with pytest.raises(OSError, match="another file"):
        file.write(noise(2))
    file.abandon()
    assert (tmp_path / "a.flac").read_bytes() == b"theirs"


# Python 3.12 warns of forks beside threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_records_into_files_of_its_own(tmp_path):
    file = AudioFile(tmp_path / "parent.flac", "flac", RATE, 2)
    file.write(noise(1))
    child = os.fork()
    if not child:
        own = AudioFile(tmp_path / "child.flac", "flac", RATE, 2)
        own.write(noise(2))
        own.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    file.write(noise(3))
    file.close()
    heard, _ = sf.read(tmp_path / "parent.flac", dtype="int16")
    assert np.array_equal(heard, np.concatenate([noise(1), noise(3)]))
    assert np.array_equal(sf.read(tmp_path / "child.flac", dtype="int16")[0], noise(2))
