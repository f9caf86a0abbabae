from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from voicespan.recording.codec.formats import SILENCE
from voicespan.recording.codec.g711 import decode


@pytest.mark.parametrize(("encoding", "subtype"), [("g711_ulaw", "ULAW"), ("g711_alaw", "ALAW")])
def test_every_code_stands_for_what_libsndfile_says(encoding, subtype):
    codes = bytes(range(256))
    reference, _ = sf.read(
        io.BytesIO(codes), samplerate=8_000, channels=1, format="RAW", subtype=subtype, dtype="int16"
    )
    assert np.array_equal(decode(codes, encoding), reference)


@pytest.mark.parametrize(("encoding", "silence"), [("pcm16", 0), ("g711_ulaw", 0), ("g711_alaw", 8)])
def test_silence(encoding, silence):
    assert set(decode(SILENCE[encoding] * 4, encoding).tolist()) == {silence}


def test_pcm16_is_little_endian():
    assert decode(b"\x01\x00\x00\x80", "pcm16").tolist() == [1, -32_768]
