"""Ids as UUIDs in text, without the `uuid` module: importing it costs more than all of this package's root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicespan.runtime.clock import Clock


def uuid7(clock: Clock) -> str:
    """A new time-ordered UUID (RFC 9562, section 5.7), as LangSmith advises for thread ids."""
    milliseconds = clock.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid_text(value & ~(0x3 << 62) | 0x2 << 62)


def uuid_text(value: int) -> str:
    """128 bits in the usual five groups."""
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
