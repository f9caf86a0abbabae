"""G.711 (ITU-T), the telephone's eight bits: what each code stands for, and samples out of bytes.

Only decoding: a recording keeps linear samples. The tables come from the standard's own formula; Python's
`audioop` had them, and is gone since 3.13.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _ulaw(code: int) -> int:
    code = ~code & 0xFF  # sent inverted, so that silence keeps a line's repeaters in step
    segment, step = code >> 4 & 7, code & 0xF
    magnitude = ((2 * step + 33) << (segment + 2)) - 132
    return -magnitude if code & 0x80 else magnitude


def _alaw(code: int) -> int:
    code ^= 0x55  # every other bit is sent inverted, for the same reason
    segment, step = code >> 4 & 7, code & 0xF
    magnitude = (2 * step + 1) << 3 if segment == 0 else (2 * step + 33) << (segment + 2)
    return magnitude if code & 0x80 else -magnitude


@cache
def _table(encoding: str) -> NDArray[np.int16]:
    expand = {"g711_ulaw": _ulaw, "g711_alaw": _alaw}[encoding]
    return np.array([expand(code) for code in range(256)], dtype=np.int16)


def decode(pcm: bytes, encoding: str) -> NDArray[np.int16]:
    """The samples in `pcm`.

    Args:
        pcm: Whole samples: little-endian int16, or one byte each.
        encoding: `pcm16`, `g711_ulaw` or `g711_alaw`.

    Returns:
        int16 samples, shape `(n,)`; possibly read-only.
    """
    if encoding == "pcm16":
        samples = np.frombuffer(pcm, dtype="<i2")
        return samples.astype(np.int16, copy=False)
    decoded: NDArray[np.int16] = _table(encoding)[np.frombuffer(pcm, dtype=np.uint8)]
    return decoded
