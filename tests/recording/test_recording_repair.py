from __future__ import annotations

import shutil
import struct
import wave

import numpy as np
import pytest
import soundfile as sf
from studio import noise

from voicespan.recording import repair
from voicespan.recording.codec.audio_file import AudioFile
from voicespan.recording.repair import _crc8

RATE = 24_000


def speech(frames: int, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes: frames of every size, silence included."""
    loudness = np.repeat(np.random.default_rng(seed).choice([0, 3, 300, 32_767], frames // 480 + 1), 480)[
        :frames
    ]
    return np.stack([noise(frames, seed) * loudness // 32_767, noise(frames, seed + 5)], axis=1).astype(
        np.int16
    )


def crc16(data: bytes) -> int:
    """Bit by bit, with the polynomial of RFC 9639, section 9.3."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1) ^ 0x18005 if value & 0x8000 else value << 1
    return value


@pytest.fixture
def killed(tmp_path):
    """The bytes of a FLAC as they are in mid call, and what was written."""
    path = tmp_path / "growing.flac"
    written = speech(20 * RATE)
    file = AudioFile(path, "flac", RATE, 2)
    for first in range(0, len(written), RATE // 4):
        file.write(written[first : first + RATE // 4])
    copy = tmp_path / "killed.flac"
    shutil.copyfile(path, copy)
    file.close()
    assert sf.info(copy).frames > 2**60  # not known
    return copy, written


def test_a_killed_flac_is_whole_again(killed):
    path, written = killed
    frames = repair(path)
    samples, rate = sf.read(path, dtype="int16")
    assert rate == RATE
    assert len(samples) == frames >= len(written) - 2 * 1_152
    assert np.array_equal(samples, written[:frames])


def test_wherever_it_was_cut_off(killed):
    path, written = killed
    whole = path.read_bytes()
    for size in [
        *range(len(whole) - 6_000, len(whole), 331),
        len(whole) // 2,
        20_000,
        9_000,
        100,
        42,
        41,
        8,
        3,
        0,
    ]:
        path.write_bytes(whole[:size])
        frames = repair(path)
        assert size < 9_000 or frames >= (size - 9_000) // 5
        if frames:
            samples, _ = sf.read(path, dtype="int16")
            assert len(samples) == frames
            assert np.array_equal(samples, written[:frames])


@pytest.mark.parametrize("tail", [b"\0", b"\xff\xf8", b"\xff\xf8\xc9\x18", bytes(3_000_000)])
def test_what_is_no_frame_is_cut_off(killed, tail):
    path, written = killed
    frames = repair(path)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(tail)
    assert repair(path) == frames
    assert path.stat().st_size == size
    assert np.array_equal(sf.read(path, dtype="int16")[0], written[:frames])


def test_a_whole_flac_is_left_as_it_is(tmp_path):
    path = tmp_path / "whole.flac"
    written = speech(3 * RATE + 17)
    file = AudioFile(path, "flac", RATE, 2)
    file.write(written)
    file.close()
    before = path.read_bytes()
    assert repair(path) == len(written)
    assert path.read_bytes() == before


@pytest.mark.parametrize("options", [{}, {"compression_level": 1.0}, {"channels": 1}, {"rate": 44_100}])
def test_other_flacs(tmp_path, options):
    path = tmp_path / "other.flac"
    channels, rate = options.pop("channels", 2), options.pop("rate", 8_000)
    written = speech(rate * 3)[:, :channels]
    sf.SoundFile(path, "w", rate, channels, format="FLAC", subtype="PCM_16", **options).write(written)
    path.write_bytes(path.read_bytes()[:-1_000])
    assert any(path.read_bytes()[26:42])
    frames = repair(path)
    assert not any(path.read_bytes()[26:42])  # the sum of samples that are gone
    samples, _ = sf.read(path, dtype="int16", always_2d=True)
    assert 0 < len(written) - len(samples) <= 2 * 4_096
    assert np.array_equal(samples, written[:frames])


def test_a_flac_with_blocks_of_different_sizes(killed):
    """There a frame is numbered by its first sample."""
    path, _ = killed
    data = bytearray(path.read_bytes())
    first = data.index(b"\xff\xf8")
    second = data.index(data[first : first + 4], first + 16)
    frame = bytearray(data[first:second])
    # The first frame alone, as if it were the one of sample 5.
    frame[1], frame[4] = 0xF9, 5
    head = 5 + {6: 1, 7: 2}.get(frame[2] >> 4, 0)
    frame[head] = _crc8(frame[:head])
    frame[-2:] = crc16(frame[:-2]).to_bytes(2, "big")
    path.write_bytes(data[:first] + frame)
    assert repair(path) == 5 + 1_152


def test_a_killed_wav_is_whole_again(tmp_path):
    path = tmp_path / "killed.wav"
    written = speech(2 * RATE)
    sf.write(path, written, RATE, "PCM_16")
    whole = path.read_bytes()
    for cut in (0, 1, 3, 4_001):
        data = bytearray(whole[: len(whole) - cut])
        data[4:8] = data[40:44] = bytes(4)
        path.write_bytes(data)
        frames = repair(path)
        assert frames == len(written) - -(-cut // 4)
        with wave.open(str(path)) as read:
            assert read.getnframes() == frames
            assert read.readframes(frames) == written[:frames].tobytes()
        assert struct.unpack("<I", path.read_bytes()[4:8])[0] == path.stat().st_size - 8
        assert repair(path) == frames


def test_a_whole_wav_with_more_behind_its_audio_is_left_as_it_is(tmp_path):
    path = tmp_path / "tagged.wav"
    with sf.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        file.write(speech(480))
        file.title = "a title, in a LIST chunk"
    before = path.read_bytes()
    assert b"LIST" in before
    assert repair(path) == 480
    assert path.read_bytes() == before


def test_a_killed_wav_with_an_odd_chunk_before_its_audio(tmp_path):
    path = tmp_path / "odd.wav"
    sf.write(path, speech(480), RATE, "PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole[:36] + b"note" + struct.pack("<I", 3) + b"abc\0data" + bytes(4) + whole[44:])
    assert repair(path) == 480
    assert np.array_equal(sf.read(path, dtype="int16")[0], speech(480))


def test_a_wav_that_was_killed_before_its_audio(tmp_path):
    path = tmp_path / "early.wav"
    sf.write(path, speech(480), RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[:30])
    assert repair(path) == 0


def test_anything_else_is_refused(tmp_path):
    path = tmp_path / "other.ogg"
    path.write_bytes(b"OggS" + bytes(100))
    with pytest.raises(ValueError, match="neither"):
        repair(path)
    with pytest.raises(FileNotFoundError):
        repair(tmp_path / "nothing.flac")
    assert path.read_bytes() == b"OggS" + bytes(100)
