"""Samples out of bytes: whatever comes in is mono int16 from here on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicespan.recording.codec import g711

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_SCALE = 32_768.0

#: With more samples than these numpy lets go of the interpreter. In a busy process another thread has it then, for
#: longer than the work takes, and of hundreds of recordings there are thousands such moments a second.
AT_ONCE = 500


def decode(pcm: bytes, encoding: str) -> NDArray[np.int16]:
    """The samples in `pcm`.

    Args:
        pcm: Whole samples.
        encoding: One of `formats.SAMPLE_BYTES`.

    Returns:
        Mono int16 samples, shape `(n,)`; possibly read-only. Of several channels it is the mean: a device's
        channels carry one voice, and their sum would clip.
    """
    sample, _, channels = encoding.partition("*")
    if not channels:
        return g711.decode(pcm, encoding)
    return _mixed(_device_samples(pcm, sample), int(channels))


def _device_samples(pcm: bytes, sample: str) -> NDArray[np.int16]:
    """Wider samples lose their low bits, as in a sound card that has only 16 of them."""
    if sample == "float32":
        # What is no number at all is silence; what is too loud clips.
        scaled = np.nan_to_num(np.rint(np.frombuffer(pcm, "=f4") * np.float32(_FULL_SCALE)))
        clipped: NDArray[np.int16] = scaled.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        return clipped
    if sample == "int32":
        return (np.frombuffer(pcm, "=i4") >> 16).astype(np.int16)
    if sample == "int24":
        return np.ascontiguousarray(np.frombuffer(pcm, np.uint8).reshape(-1, 3)[:, 1:]).view("<i2")[:, 0]
    if sample == "int8":
        return np.frombuffer(pcm, np.int8).astype(np.int16) << 8
    if sample == "uint8":
        return (np.frombuffer(pcm, np.uint8).astype(np.int16) - 128) << 8
    return np.frombuffer(pcm, "=i2")


def _mixed(samples: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    if channels == 1:
        return samples
    mixed: NDArray[np.int16] = np.rint(samples.reshape(-1, channels).mean(axis=1)).astype(np.int16)
    return mixed
