"""How long generated speech is, by what streams past: its size, or the headers of its frames or pages.

No library does that without the whole body, or without decoding it. Here nothing is decoded, and no more is kept than
the beginning of a header. What is in another format, or is not what it begins like, has no length.
"""

from __future__ import annotations

import struct
from typing import Protocol

#: `pcm` is 24 kHz, 16 bit, mono, and has no header.
_PCM_BYTES_PER_SECOND = 48_000
_WAV_HEAD = 44
#: The beginning of a FLAC file, up to the end of how many samples there are.
_FLAC_HEAD = 26
#: By this much a format is known.
_MAGIC = 4
#: kbit/s of MPEG's layer III, by the version's bit.
_BITRATES = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_MP3_RATES = (44_100, 48_000, 32_000)
_AAC_RATES = (
    96_000,
    88_200,
    64_000,
    48_000,
    44_100,
    32_000,
    24_000,
    22_050,
    16_000,
    12_000,
    11_025,
    8_000,
    7_350,
)
#: So far into the first frame of an MP3 an encoder may have written what the file is like, instead of sound.
_MP3_NOTE = 40
#: Of Opus, whatever its sound was sampled at.
_OPUS_RATE = 48_000
_OGG_HEAD = 27


class SpeechLength:
    """Of one body."""

    def __init__(self, encoding: object) -> None:
        """`encoding`: the `response_format` that was asked for."""
        self._frames: _Frames | None = _Pcm() if encoding == "pcm" else None
        self._held = b""
        #: Bytes until the next header.
        self._skip = 0
        self._is_broken = False

    @property
    def seconds(self) -> float | None:
        """So far; None: it cannot be known."""
        return None if self._frames is None or self._is_broken else self._frames.seconds

    def piece(self, content: bytes) -> None:
        """So much more has come."""
        if self._is_broken:
            return
        if self._skip >= len(content):
            self._skip -= len(content)
            return
        held = self._held + content[self._skip :]
        self._skip, at = 0, 0
        while True:
            if self._frames is None:
                if len(held) < _MAGIC:
                    break
                self._frames = _frames_of(held)
            try:
                length = self._frames.length(held, at)
            except _UnreadableError:
                self._is_broken = True
                return
            if length is None:
                break
            at += length
            if at >= len(held):
                self._skip, held, at = at - len(held), b"", 0
                break
        self._held = held[at:]


class _UnreadableError(Exception):
    """Here is no header."""


class _Frames(Protocol):
    """Of one format."""

    @property
    def seconds(self) -> float | None:
        """All so far."""
        ...

    def length(self, held: bytes, at: int) -> int | None:
        """How many bytes from here to the next header; None: more of this one has to come."""
        ...


def _frames_of(head: bytes) -> _Frames:
    for magic, frames in (
        (b"RIFF", _Wav),
        (b"fLaC", _Flac),
        (b"OggS", _OggOpus),
        (b"ID3", _Mp3),
    ):
        if head.startswith(magic):
            return frames()
    # The same word begins a frame of both; the layer tells them apart.
    return _Adts() if head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else _Mp3()  # noqa: PLR2004  as the standards have it


class _Sized:
    """What is known from the beginning and the size."""

    _head = 0

    def __init__(self) -> None:
        self._size = 0
        self.seconds: float | None = None

    def length(self, held: bytes, at: int) -> int | None:
        size = self._size + len(held) - at
        if size < self._head:
            return None
        if self._size == 0:
            self._begin(held[at : at + self._head])
        self._size = size
        self._grow()
        return len(held) - at

    def _begin(self, head: bytes) -> None:
        """Read the beginning."""

    def _grow(self) -> None:
        """There is more of it."""


class _Pcm(_Sized):
    def _grow(self) -> None:
        self.seconds = self._size / _PCM_BYTES_PER_SECOND


class _Wav(_Sized):
    _head = _WAV_HEAD
    _per_second = 0

    def _begin(self, head: bytes) -> None:
        if head[12:16] != b"fmt ":
            raise _UnreadableError
        (self._per_second,) = struct.unpack_from("<I", head, 28)

    def _grow(self) -> None:
        if self._per_second:
            # A server that streams does not know the size yet when it writes the head.
            self.seconds = (self._size - _WAV_HEAD) / self._per_second


class _Flac(_Sized):
    _head = _FLAC_HEAD

    def _begin(self, head: bytes) -> None:
        (facts,) = struct.unpack_from(">Q", head, 18)
        rate, samples = facts >> 44, facts & 0xF_FFFF_FFFF
        # As with a WAV: whoever streams leaves the count at 0.
        self.seconds = samples / rate if rate and samples else None


class _Mp3:
    """Frames of MPEG's layer III, a tag before them and one behind."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def length(self, held: bytes, at: int) -> int | None:
        if len(held) - at < (_MP3_NOTE if self.seconds is None else 4):
            return None
        if held.startswith(b"ID3", at):
            size = held[at + 6 : at + 10]
            return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
        if held.startswith(b"TAG", at):
            return 128
        head = int.from_bytes(held[at : at + 4], "big")
        version, bitrate, rate = head >> 19 & 3, head >> 12 & 15, head >> 10 & 3
        if head >> 21 != 0x7FF or head >> 17 & 3 != 1 or version == 1 or bitrate in (0, 15) or rate == 3:  # noqa: PLR2004  reserved
            raise _UnreadableError
        is_first = version == 3  # noqa: PLR2004  MPEG-1
        hertz = _MP3_RATES[rate] >> (0 if is_first else 1 if version else 2)
        samples: int = 1_152 if is_first else 576
        note = held[at : at + _MP3_NOTE] if self.seconds is None else b""
        if b"Xing" in note or b"Info" in note:
            self.seconds = 0.0
        else:
            self.seconds = (self.seconds or 0.0) + samples / hertz
        return samples // 8 * _BITRATES[is_first][bitrate - 1] * 1_000 // hertz + (head >> 9 & 1)


class _Adts:
    """AAC as it is streamed."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def length(self, held: bytes, at: int) -> int | None:
        if len(held) - at < 7:  # noqa: PLR2004  a header
            return None
        head = int.from_bytes(held[at : at + 7], "big")
        rate, length = head >> 34 & 15, head >> 13 & 0x1FFF
        if head >> 44 != 0xFFF or rate >= len(_AAC_RATES) or length < 7:  # noqa: PLR2004  as above
            raise _UnreadableError
        self.seconds = (self.seconds or 0.0) + 1_024 * ((head & 3) + 1) / _AAC_RATES[rate]
        return length


class _OggOpus:
    """Pages, each of which says how many samples end on it."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._before: int | None = None

    def length(self, held: bytes, at: int) -> int | None:
        if len(held) - at < _OGG_HEAD:
            return None
        table = held[at + _OGG_HEAD : at + _OGG_HEAD + held[at + 26]]
        begin = at + _OGG_HEAD + len(table)
        if not held.startswith(b"OggS", at):
            raise _UnreadableError
        if len(table) < held[at + 26] or (self._before is None and len(held) - begin < 12):  # noqa: PLR2004
            return None
        if self._before is None:
            if not held.startswith(b"OpusHead", begin):
                raise _UnreadableError
            (self._before,) = struct.unpack_from("<H", held, begin + 10)
        (samples,) = struct.unpack_from("<q", held, at + 6)
        if samples > self._before:
            self.seconds = (samples - self._before) / _OPUS_RATE
        return begin - at + sum(table)
