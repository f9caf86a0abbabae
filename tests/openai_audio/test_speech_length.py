"""How long generated speech is, in any format, in pieces of any size."""

from __future__ import annotations

import pytest

from voicespan.openai_audio.speech_length import SpeechLength
from voicespan.testing.cascade import audio

SOUND = audio.hum(1.5, "nova")


def seconds(body, size=1_000_000, form=None):
    length = SpeechLength(form)
    for at in range(0, len(body), size):
        length.piece(body[at : at + size])
    return length.seconds


def adts(count, rate_index=6, blocks=1, body=b"x" * 90):
    """Frames of AAC, of which nobody reads more than the header."""
    bits = (
        0xFFF << 44
        | 1 << 40
        | 1 << 38
        | rate_index << 34
        | 1 << 30
        | (7 + len(body)) << 13
        | 0x7FF << 2
        | blocks - 1
    )
    return (bits.to_bytes(7, "big") + body) * count


@pytest.mark.parametrize("size", [1, 7, 1_000, 1_000_000])
@pytest.mark.parametrize("form", audio.FORMATS)
def test_in_pieces(form, size):
    assert seconds(audio.encoded(SOUND, form), size, form) == pytest.approx(
        1.5, abs=0.08 if form == "mp3" else 0.001
    )


@pytest.mark.parametrize("size", [1, 50, 1_000_000])
def test_aac(size):
    assert seconds(adts(30), size) == pytest.approx(30 * 1_024 / 24_000)
    assert seconds(adts(2, rate_index=4, blocks=2)) == pytest.approx(4 * 1_024 / 44_100)


def test_tags_of_an_mp3_are_no_sound():
    plain = audio.encoded(SOUND, "mp3")
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
    assert seconds(tag + plain + b"TAG" + bytes(125), 100) == seconds(plain)


@pytest.mark.parametrize("form", ["mp3", "opus"])
def test_one_that_breaks_off_is_as_long_as_it_came(form):
    whole = audio.encoded(audio.hum(6.0, "nova"), form)
    assert 2.0 < seconds(whole[: len(whole) // 2]) < 4.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OggS",
        b"fLaC" + bytes(40),
        b"RIFF" + bytes(60),
        b"OggS" + bytes(23) + b"\x13vorbis" + bytes(40),
        b"data: {}\n\n" * 9,
        b"\xff\xf3\xf0\x00" * 40,
        adts(1, rate_index=14),
        adts(1, body=b"") + b"no more",
        audio.encoded(SOUND, "mp3") + b"no frame" * 9,
    ],
    ids=[
        *(
            "nothing",
            "a piece",
            "streamed flac",
            "no wav",
            "vorbis",
            "events",
            "reserved",
            "no rate",
            "lost",
            "rest",
        ),
    ],
)
def test_what_does_not_say_how_long_it_is_has_no_length(body):
    for size in (1, 1_000_000):
        assert seconds(body, size) is None


def test_no_more_is_kept_than_the_beginning_of_a_header():
    length = SpeechLength("mp3")
    length.piece(audio.encoded(audio.hum(3.0, "nova"), "mp3"))
    assert len(length._held) < 50
