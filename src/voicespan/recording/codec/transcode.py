"""From the FLAC that a call leaves to the format that is attached.

In blocks of one second, so that memory stays small, and in steps, so that most of the work is done by the
time the call ends. What is encoded is never needed after a crash: it is made again from the FLAC. (So Ogg
keeps its pages of a second; shorter ones would survive a kill better, at 9 % more bytes.)
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from voicespan.recording.codec.audio_file import AudioFile
from voicespan.recording.codec.formats import FORMATS, rate_at_least
from voicespan.recording.codec.resampler import open_stream
from voicespan.runtime.native_work import native_work

if TYPE_CHECKING:
    import soxr
    from numpy.typing import NDArray

#: What the sizes in a WAV header can tell, less some room for the header.
_LARGEST_WAV = (1 << 32) - (1 << 12)


def transcode(source: str | Path, form: str, target: str | Path | None = None) -> Path:
    """Write the finished recording `source` in another format.

    Args:
        source: Any file that libsndfile reads.
        form: `ogg` (Opus), `flac`, `wav` or `mp3`. A rate that it does not take is resampled to the next
            higher one that it takes.
        target: By default beside `source`, with the format's suffix. It appears when it is whole.

    Returns:
        The file; `source` itself if that is what was asked for.

    Raises:
        OSError: A file cannot be read or written.
        RuntimeError: libsndfile cannot read `source`, or cannot write (`soundfile.LibsndfileError`).
        ValueError: There is no such format, or a WAV would be larger than its header can say.
    """
    transcoding = Transcoding(source, form, target)
    try:
        return transcoding.finish()
    finally:
        transcoding.abandon()


class Transcoding:
    """A `transcode` in steps, of a source that may still be growing.

    Attributes:
        done: How many frames of the source have been encoded.
    """

    def __init__(self, source: str | Path, form: str, target: str | Path | None = None) -> None:
        if form not in FORMATS:
            raise ValueError(f"no recording is written as {form}: {', '.join(FORMATS)} are known")
        self.done = 0
        # As texts, like those of `AudioFile` and `RecordingWriter`.
        self._from, self._to = str(source), None if target is None else str(target)
        self._form = form
        self._out: AudioFile | None = None
        self._resampler: soxr.ResampleStream | None = None

    def advance(self, frames: int) -> None:
        """Encode the source up to frame `frames`, which must be in the file.

        Raises: see `transcode`.
        """
        if not self._is_done_already and frames > self.done:
            source = self._open()
            try:
                with self._ready():
                    self._encode(source, frames)
            finally:
                _close(source)

    def finish(self) -> Path:
        """Encode what is left of the source, which has been finished.

        Raises: see `transcode`.
        """
        if self._is_done_already:
            return self._source
        source = self._open()
        try:
            if self._form == "wav" and source.frames * source.channels * 2 > _LARGEST_WAV:
                raise ValueError("too long for a WAV")
            with self._ready():
                self._encode(source, source.frames, last=True)
        finally:
            _close(source)
        if self._out is not None:
            with native_work():
                self._out.close()
        self._part.replace(self._target)
        self._out = None
        return self._target

    def abandon(self) -> None:
        """Remove what was encoded, unless it is finished."""
        out, self._out = self._out, None
        if out is not None:
            with native_work():
                out.remove()

    @property
    def _source(self) -> Path:
        return Path(self._from)

    @property
    def _target(self) -> Path:
        return self._source.with_suffix(FORMATS[self._form].suffix) if self._to is None else Path(self._to)

    @property
    def _part(self) -> Path:
        """What it is written as, until it is finished."""
        return self._target.with_name(self._target.name + ".part")

    @property
    def _is_done_already(self) -> bool:
        return self._source == self._target

    def _open(self) -> sf.SoundFile:
        with native_work():
            source = sf.SoundFile(self._source)
            try:
                if self._out is None:
                    self._begin(source.samplerate, source.channels)
            except BaseException:
                source.close()
                raise
            return source

    def _begin(self, rate: int, channels: int) -> None:
        rates = FORMATS[self._form].rates
        wanted = rate if not rates or rate in rates else rate_at_least(rate, rates)
        self._part.unlink(missing_ok=True)  # of a process that was killed
        self._out = AudioFile(self._part, self._form, wanted, channels, keep=False)
        if wanted != rate:
            samples = FORMATS[self._form].samples
            self._resampler = open_stream(rate, wanted, channels, samples)

    def _ready(self) -> contextlib.AbstractContextManager[object]:
        """Have what is encoded open for all of a turn."""
        return contextlib.nullcontext() if self._out is None else self._out.ready()

    def _encode(self, source: sf.SoundFile, frames: int, *, last: bool = False) -> None:
        samples = FORMATS[self._form].samples
        with native_work():
            if self.done:
                source.seek(self.done)
        while self.done < frames:
            with native_work():  # for a block at a time: a fork waits for it
                block = source.read(min(source.samplerate, frames - self.done), dtype=samples, always_2d=True)
                if not len(block):
                    break
                self._write(block)
                self.done += len(block)
        if last and self._resampler is not None:
            with native_work():
                self._write(np.zeros((0, source.channels), dtype=samples), last=True)
                self._resampler = None

    def _write(self, block: NDArray[np.signedinteger], *, last: bool = False) -> None:
        assert self._out is not None  # noqa: S101  for the type checker
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block, last=last)
        if len(block):
            self._out.write(block)


def _close(source: sf.SoundFile) -> None:
    with native_work():
        source.close()
