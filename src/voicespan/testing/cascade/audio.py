"""Sound of the two services that deal in it: a voice that hums its text, and ears that know speech from silence."""

from __future__ import annotations

import io
from email import message_from_bytes
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

if TYPE_CHECKING:
    from email.message import Message

    from numpy.typing import NDArray

#: Of `pcm`, and of everything else that is generated: Hz.
RATE = 24_000
#: A syllable and the rest after it take so long.
_SECONDS_PER_CHARACTER = 0.06
_SYLLABLE = 0.18
_LOUDNESS = 6_000
#: -50 dBFS: what is quieter than that is no speech.
_QUIET = 0.003
#: What is said in the request: the container and the codec of libsndfile, and the type of the answer.
FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
    "opus": ("OGG", "OPUS", "audio/ogg"),
    "flac": ("FLAC", "PCM_16", "audio/flac"),
    "wav": ("WAV", "PCM_16", "audio/wav"),
    "pcm": (None, None, "audio/pcm"),
}


def seconds_of(text: str) -> float:
    """How long it takes to say it."""
    return max(len(text) * _SECONDS_PER_CHARACTER, _SYLLABLE)


def hum(seconds: float, voice: str) -> bytes:
    """A voice of syllables: PCM16 mono at `RATE`. Every voice has its pitch."""
    pitch = 110 + sum(voice.encode()) % 12 * 15
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * pitch * time) + 0.5 * np.sin(4 * np.pi * pitch * time)
    # A rest after each syllable, so that a detector hears a voice and not a tone.
    syllables = np.clip(np.sin(np.pi * (time % _SYLLABLE) / _SYLLABLE) * 2, 0, 1)
    samples: NDArray[np.int16] = (wave * syllables * _LOUDNESS).astype(np.int16)
    return samples.tobytes()


def encoded(pcm: bytes, encoding: str) -> bytes:
    """`pcm` in one of `FORMATS`."""
    container, codec, _ = FORMATS[encoding]
    if container is None:
        return pcm
    out = io.BytesIO()
    sf.write(out, np.frombuffer(pcm, np.int16), RATE, format=container, subtype=codec)
    return out.getvalue()


def heard(audio: bytes) -> tuple[float, bool]:
    """How many seconds an audio file has, and whether somebody speaks in it.

    Raises:
        ValueError: it is none.
    """
    try:
        samples, rate = sf.read(io.BytesIO(audio), dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise ValueError("Audio file might be corrupted or unsupported") from error
    return len(samples) / rate, bool(len(samples)) and float(np.abs(samples).max()) > _QUIET


def form(body: bytes, content_type: str) -> dict[str, list[bytes]]:
    """The fields of a `multipart/form-data` body; a name can come several times."""
    message: Message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, list[bytes]] = {}
    for part in message.get_payload() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        fields.setdefault(str(name), []).append(part.get_payload(decode=True) or b"")  # type: ignore[union-attr,arg-type]
    return fields
