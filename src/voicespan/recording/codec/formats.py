"""What audio comes in as, and what a recording is written as. Two tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Bytes of one sample of a sound device, by the names of PortAudio's formats.
DEVICE_SAMPLES: Final = {"float32": 4, "int32": 4, "int24": 3, "int16": 2, "int8": 1, "uint8": 1}
#: A stream of more channels is not recorded: no microphone and no loudspeaker has so many.
MOST_CHANNELS: Final = 32
_INTERLEAVED = {
    f"{sample}*{channels}": (sample, channels)
    for sample in DEVICE_SAMPLES
    for channels in range(1, MOST_CHANNELS + 1)
}

#: Bytes of one sample, by encoding. What an application hands over is mono; a device's `float32*2` are two
#: channels whose samples alternate, and a "sample" is one of each.
SAMPLE_BYTES: Final = {
    "pcm16": 2,
    "g711_ulaw": 1,
    "g711_alaw": 1,
    **{name: DEVICE_SAMPLES[sample] * channels for name, (sample, channels) in _INTERLEAVED.items()},
}

#: The byte that silence is made of.
SILENCE: Final = {
    "pcm16": b"\x00",
    "g711_ulaw": b"\xff",
    "g711_alaw": b"\xd5",
    **{name: b"\x80" if sample == "uint8" else b"\x00" for name, (sample, _) in _INTERLEAVED.items()},
}

#: The rate that is meant when an application names none, in Hz.
USUAL_RATE: Final = {"pcm16": 24_000, "g711_ulaw": 8_000, "g711_alaw": 8_000}

#: A recording's: left the user, right the agent.
CHANNELS: Final = 2

#: The rates of a recording, in Hz: the ones that Opus takes without resampling.
FILE_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)


@dataclass(frozen=True)
class Format:
    """One way to write a recording.

    Attributes:
        suffix: Of the file's name, with the dot.
        mime_type: What the attachment is announced as.
        container: libsndfile's major format.
        codec: libsndfile's subtype.
        rates: The only rates that it takes, in Hz; empty where it takes any.
        options: More for `soundfile.SoundFile`.
        samples: The type in which libsndfile wants to be given the samples.
    """

    suffix: str
    mime_type: str
    container: str
    codec: str
    rates: tuple[int, ...] = ()
    options: dict[str, str | float] = field(default_factory=dict)
    samples: str = "int16"


FORMATS: Final = {
    # Level 0 is what is written while the call runs. The default level is 2-6 % smaller for 40 % more
    # CPU, and its blocks of 4,096 frames (level 0: 1,152) would lose half a second of an 8 kHz call when
    # the process is killed.
    "flac": Format(".flac", "audio/flac", "FLAC", "PCM_16", options={"compression_level": 0.0}),
    "wav": Format(".wav", "audio/wav", "WAV", "PCM_16"),
    # 0.9: about 63 kb/s for a stereo conversation. From 0.95 on libopus changes its mode, is half as fast
    # and sounds like a telephone.
    "ogg": Format(".ogg", "audio/ogg", "OGG", "OPUS", rates=FILE_RATES, options={"compression_level": 0.9}),
    # 0.5: 80 kb/s at 24 kHz. A variable bit rate is 160 kb/s at every level; and below 64 kb/s a frame is
    # too small for the tag that says where the audio begins, so it would begin 70 ms late.
    # int16 stereo comes out of libsndfile 1.2.2 as noise. 32 bits are right.
    "mp3": Format(
        ".mp3",
        "audio/mpeg",
        "MP3",
        "MPEG_LAYER_III",
        rates=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        options={"compression_level": 0.5, "bitrate_mode": "CONSTANT"},
        samples="int32",
    ),
}


def rate_at_least(rate: int, among: tuple[int, ...] = FILE_RATES) -> int:
    """The smallest of `among` that loses nothing of `rate`, or else the largest."""
    return min((candidate for candidate in among if candidate >= rate), default=max(among))
