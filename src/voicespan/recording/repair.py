"""Makes a recording whole whose process was killed, in place and without loading it.

A killed FLAC lacks its length, in a header that was written first (RFC 9639, section 8.2), and may end in
the middle of a frame. The length follows from its last whole frame, which a checksum finds. A killed WAV
lacks two sizes. Standard library only: this runs before anything else does.
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

#: How much of a file is looked at at once.
_WINDOW = 1 << 20


def repair(path: str | Path) -> int:
    """Make the FLAC or WAV file at `path` whole. One that is whole is left as it is.

    Returns:
        How many frames it has; 0 when it was killed before there was any.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It is neither FLAC nor WAV.
    """
    with open(path, "r+b") as file:  # noqa: PTH123  opened by name in messages of OSError
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        magic = file.read(4)
        if magic == b"fLaC":
            return _repair_flac(file, size)
        if magic == b"RIFF":
            return _repair_wav(file, size)
        if b"fLaC".startswith(magic) or b"RIFF".startswith(magic):
            return 0  # killed while it was being made
    raise ValueError("neither FLAC nor WAV")


# --- FLAC ---------------------------------------------------------------------------------------------

#: Where the block STREAMINFO lies: after the magic and its own header.
_INFO, _INFO_END = 8, 42
#: In it: 36 bits of length at the end of eight bytes, then the MD5 of the samples.
_LENGTH, _MD5 = 18, 26
_LENGTH_MASK = (1 << 36) - 1
#: Bytes of a frame's header, its checksum included.
_SHORTEST_HEAD, _LONGEST_HEAD = 6, 16
#: Samples of a block by its code, and how many bytes spell it out for the other codes (section 9.1.1).
_BLOCKS = {1: 192} | {code: 144 << code for code in range(2, 6)} | {code: 1 << code for code in range(8, 16)}
_BLOCK_BYTES = {6: 1, 7: 2}
#: The same for the rate, which is known.
_RATE_BYTES = {12: 1, 13: 2, 14: 2}
#: What a frame begins with, as far as it was written.
_NEXT = re.compile(rb"\xff[\xf8\xf9]|\xff?\Z")


class _Stream(NamedTuple):
    """What STREAMINFO says of a stream."""

    block: int
    channels: int
    bits: int
    length: int

    @property
    def largest_frame(self) -> int:
        """Bytes of a frame that could not be compressed, one bit a sample being the price of a side channel."""
        return self.block * self.channels * (self.bits + 1) // 8 + 64


class _Frame(NamedTuple):
    """A whole frame: where it ends in the file, and which sample follows it."""

    end: int
    samples: int


def _repair_flac(file: BinaryIO, size: int) -> int:
    if size < _INFO_END:
        return 0
    file.seek(0)
    header = file.read(_INFO_END)
    stream = _stream(header)
    audio = _audio_start(file, size)
    last = _last_frame(file, audio, size, stream)
    if last is None:
        last = _Frame(min(audio, size), 0)
    if last.end < size:
        file.truncate(last.end)
    if last.samples != stream.length:
        packed = int.from_bytes(header[_LENGTH:_MD5], "big") & ~_LENGTH_MASK | last.samples
        file.seek(_LENGTH)
        file.write(packed.to_bytes(8, "big"))
        file.write(bytes(16))  # "not known": the sum was to be over all that was meant to be there
    return last.samples


def _stream(header: bytes) -> _Stream:
    packed = int.from_bytes(header[_LENGTH:_MD5], "big")
    return _Stream(
        block=int.from_bytes(header[_INFO + 2 : _INFO + 4], "big"),
        channels=(packed >> 41 & 7) + 1,
        bits=(packed >> 36 & 31) + 1,
        length=packed & _LENGTH_MASK,
    )


def _audio_start(file: BinaryIO, size: int) -> int:
    """Where the metadata ends."""
    at = 4
    while at + 4 <= size:
        file.seek(at)
        head = file.read(4)
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return at


def _last_frame(file: BinaryIO, audio: int, size: int, stream: _Stream) -> _Frame | None:
    """The last whole frame, searched for from the end."""
    window = max(_WINDOW, 2 * stream.largest_frame)
    end = size
    while end > audio:
        start = max(audio, end - window)
        file.seek(start)
        found = _last_frame_in(file.read(end - start), stream)
        if found is not None:
            return _Frame(start + found.end, found.samples)
        # A frame that ends in this window may begin in the one before.
        end = start + stream.largest_frame if start > audio else audio
    return None


def _last_frame_in(window: bytes, stream: _Stream) -> _Frame | None:
    heads = []
    for sync in re.finditer(b"\xff[\xf8\xf9]", window):
        samples = _samples_after(window[sync.start() : sync.start() + _LONGEST_HEAD], stream)
        if samples is not None:
            heads.append((sync.start(), samples))
    for at, samples in reversed(heads):
        end = _frame_end(window, at, stream)
        if end is not None:
            return _Frame(end, samples)
    return None


def _frame_end(window: bytes, at: int, stream: _Stream) -> int | None:
    """Where the frame at `at` ends: where its checksum is right, and the next one or nothing follows."""
    crc = 0
    for end in range(at, min(at + stream.largest_frame, len(window))):
        crc = (crc << 8 & 0xFF00) ^ _CRC16[crc >> 8 ^ window[end]]
        if crc == 0:  # over a whole frame, its own checksum included
            following = window[end + 1 : end + 3]
            if _NEXT.match(following) or not window[end + 1 :].strip(b"\0"):
                return end + 1
    return None


def _samples_after(head: bytes, stream: _Stream) -> int | None:
    """Which sample follows the frame that begins with `head`; None if no frame does (section 9.1)."""
    if len(head) < _SHORTEST_HEAD or head[3] & 1:
        return None
    number, at = _coded_number(head, 4)
    code = head[2] >> 4
    spelled = _BLOCK_BYTES.get(code, 0)
    block = int.from_bytes(head[at : at + spelled], "big") + 1 if spelled else _BLOCKS.get(code, 0)
    at += spelled + _RATE_BYTES.get(head[2] & 15, 0)
    if number is None or not 0 < block <= stream.block or at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    variable = head[1] & 1  # then the number is a sample's, otherwise a frame's
    return (number if variable else number * stream.block) + block


def _coded_number(head: bytes, at: int) -> tuple[int | None, int]:
    """A number coded as UTF-8 codes a character, with up to 36 bits, and where it ends."""
    ones = 8 - (head[at] ^ 0xFF).bit_length()
    if ones == 0:
        return head[at], at + 1
    number, end = head[at] & 0x7F >> ones, at + ones
    following = head[at + 1 : end]
    if len(following) != ones - 1 or not following or any(byte & 0xC0 ^ 0x80 for byte in following):
        return None, at
    for byte in following:
        number = number << 6 | byte & 0x3F
    return number, end


def _crc_table(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask = 1 << (width - 1), (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


_CRC8 = _crc_table(8, 0x07)
_CRC16 = _crc_table(16, 0x8005)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


# --- WAV ----------------------------------------------------------------------------------------------

_MOST = 0xFFFFFFFF
#: Of the chunk `fmt `, as far as it is read.
_FMT_END = 22


def _repair_wav(file: BinaryIO, size: int) -> int:
    """Set the two sizes, of the file and of its last chunk, to what is there."""
    at, align = 12, 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"fmt " and size - at >= _FMT_END:
            align = struct.unpack("<12xH", file.read(14))[0]
        elif name == b"data":
            break
        at += 8 + length + length % 2
    else:
        return 0  # killed before the audio
    if not align:
        raise ValueError("a WAV file without a format")
    there = min(size - at - 8, _MOST - at - 8)
    if length == there or _chunk_at(file, at + 8 + length + length % 2, size):
        return int(length) // align
    there -= there % align
    file.truncate(at + 8 + there)
    file.seek(at + 4)
    file.write(struct.pack("<I", there))
    file.seek(4)
    file.write(struct.pack("<I", at + there))
    return there // align


def _chunk_at(file: BinaryIO, at: int, size: int) -> bool:
    """Whether a chunk lies at `at`: then what is before it is whole."""
    if at + 8 > size:
        return False
    file.seek(at)
    name, length = struct.unpack("<4sI", file.read(8))
    return bool(name.strip().isalnum()) and at + 8 + length <= size
