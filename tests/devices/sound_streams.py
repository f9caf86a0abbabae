"""Plays or listens in one of the ways that the libraries have, with a recorder that has taps in them.

    sound_streams.py FOLDER WAY

What it knows goes to its standard output, as JSON: where the recording is, what the cuts said. What a
microphone gave the application goes to FOLDER/app.raw.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from voicespan.recording import Recorder
from voicespan.recording.devices import PyAudioInstrumentor, SoundDeviceInstrumentor, routing
from voicespan.runtime import guard

RATE = 24_000
SECONDS = 1.5


class Remembering(Recorder):
    """A recorder that keeps its cuts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cuts = []

    def cut(self, at, played=None):
        cut = super().cut(at, played)
        self.cuts.append(cut)
        return cut


def noise() -> np.ndarray:
    """Samples of which every stretch is found in one place only, and none is silence."""
    random = np.random.default_rng(7)
    return (random.integers(100, 20_000, 4 * RATE) * random.choice((-1, 1), 4 * RATE)).astype(np.int16)


# The loudspeaker.


def sounddevice_callback(dtype: str, channels: int, block: int, end: str) -> None:
    import sounddevice as sd

    samples, position = as_dtype(noise(), dtype), 0

    def fill(out, frames, _time, _status):
        nonlocal position
        out[:] = samples[position : position + frames, None]
        position += frames

    stream = sd.OutputStream(samplerate=RATE, channels=channels, dtype=dtype, blocksize=block, callback=fill)
    stream.start()
    time.sleep(SECONDS)
    getattr(stream, end)()
    stream.close()


def sounddevice_raw_callback_that_ends(error: str) -> None:
    import sounddevice as sd

    samples, position = noise()[: round(RATE * SECONDS)].tobytes(), 0

    def fill(out, frames, _time, _status):
        nonlocal position
        piece = samples[position : position + frames * 2]
        out[: len(piece)] = piece
        out[len(piece) :] = bytes(len(out) - len(piece))
        position += frames * 2
        if position >= len(samples):
            raise getattr(sd, error)

    with sd.RawOutputStream(
        samplerate=RATE, channels=1, dtype="int16", blocksize=480, callback=fill
    ) as stream:
        while stream.active:
            time.sleep(0.01)


def sounddevice_blocking(kind: str, frames: int) -> None:
    import sounddevice as sd

    samples = noise()[: round(RATE * SECONDS)]
    with getattr(sd, kind)(samplerate=RATE, channels=1, dtype="int16") as stream:
        for first in range(0, len(samples), frames):
            piece = samples[first : first + frames]
            stream.write(piece.tobytes() if kind.startswith("Raw") else piece)
        stream.abort()


def sounddevice_play() -> None:
    import sounddevice as sd

    sd.play(noise()[: round(RATE * SECONDS)], RATE, blocking=True)


def pyaudio_blocking(frames: int) -> None:
    import pyaudio

    samples = noise()[: round(RATE * SECONDS)]
    sound = pyaudio.PyAudio()
    stream = sound.open(RATE, 1, pyaudio.paInt16, output=True)
    for first in range(0, len(samples), frames):
        stream.write(samples[first : first + frames].tobytes())
    stream.stop_stream()
    stream.close()
    sound.terminate()


def pyaudio_callback() -> None:
    import pyaudio

    samples, position = noise(), 0

    def fill(_data, frames, _times, _status):
        nonlocal position
        position += frames
        return samples[position - frames : position].tobytes(), pyaudio.paContinue

    sound = pyaudio.PyAudio()
    stream = sound.open(
        format=pyaudio.paInt16,
        channels=1,
        rate=RATE,
        output=True,
        frames_per_buffer=480,
        stream_callback=fill,
    )
    time.sleep(SECONDS)
    stream.close()
    sound.terminate()


def as_dtype(samples: np.ndarray, dtype: str) -> np.ndarray:
    return (samples / 32_768).astype(np.float32) if dtype == "float32" else samples


# The microphone.


def sounddevice_listening(folder: Path, kind: str) -> None:
    import sounddevice as sd

    given = []
    arguments = {"samplerate": RATE, "channels": 1, "dtype": "int16"}
    if kind == "callback":
        with sd.InputStream(
            **arguments, blocksize=480, callback=lambda block, *_: given.append(block.tobytes())
        ):
            listen_for(LISTENING)
    elif kind == "duplex":

        def both(block, out, *_):
            given.append(block.tobytes())
            block[:] = 0  # the application's to use
            out[:] = 0

        with sd.Stream(**arguments, blocksize=480, callback=both):
            listen_for(LISTENING)
    else:
        with sd.InputStream(**arguments) as stream:
            until = ready() + LISTENING
            while time.monotonic() < until:
                if stream.read_available < 480:
                    time.sleep(0.005)
                else:
                    given.append(stream.read(480)[0].tobytes())
    (folder / "app.raw").write_bytes(b"".join(given))


def pyaudio_listening(folder: Path, kind: str) -> None:
    import pyaudio

    given = []
    sound = pyaudio.PyAudio()
    arguments = {"format": pyaudio.paInt16, "channels": 1, "rate": RATE, "input": True}
    if kind == "callback":

        def take(block, *_):
            given.append(block)
            return None, pyaudio.paContinue

        stream = sound.open(**arguments, frames_per_buffer=480, stream_callback=take)
        listen_for(LISTENING)
    else:
        stream = sound.open(**arguments, frames_per_buffer=1024)
        until = ready() + LISTENING
        while time.monotonic() < until:
            given.append(stream.read(1024, exception_on_overflow=False))
    stream.close()
    sound.terminate()
    (folder / "app.raw").write_bytes(b"".join(given))


def late_listening(folder: Path, library: str, unread: float, paused: float) -> None:
    """A microphone that is started and first read `unread` seconds later, and after a second not for `paused`."""
    if library == "sounddevice":
        import sounddevice as sd

        stream = sd.InputStream(samplerate=RATE, channels=1, dtype="int16")
        stream.start()
    else:
        import pyaudio

        stream = pyaudio.PyAudio().open(RATE, 1, pyaudio.paInt16, input=True, frames_per_buffer=1024)
    began = ready()
    time.sleep(unread)
    until, pauses = began + unread + paused + LISTENING, [paused]
    while time.monotonic() < until:
        if library == "sounddevice" and stream.read_available < 480:
            time.sleep(0.002)
            continue
        if library == "sounddevice":
            stream.read(480)
        else:
            stream.read(480, exception_on_overflow=False)
        if pauses and time.monotonic() > began + unread + 1:
            time.sleep(pauses.pop())
    (stream.stop if library == "sounddevice" else stream.stop_stream)()


LISTENING = 2.5


def ready() -> float:
    """The microphone is open: whoever waits for it may speak."""
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    return time.monotonic()


def listen_for(seconds: float) -> None:
    ready()
    time.sleep(seconds)


def main(folder: Path, way: str) -> None:
    guard.reraise = True
    for each in (SoundDeviceInstrumentor(), PyAudioInstrumentor()):
        each.instrument()
    recorder = Remembering(folder)
    conversation = object()
    routing.conversation_opened(conversation, recorder)
    name, *arguments = json.loads(way)
    given = [folder] if name.endswith("listening") else []
    globals()[name](*given, *arguments)
    routing.conversation_closed(conversation)
    path = recorder.finish()
    cuts = [[cut.at, cut.heard_ms, cut.unheard_ms] for cut in recorder.cuts]
    known = {"path": str(path), "source": recorder.source, "cuts": cuts, "started_at": recorder.started_at}
    json.dump(known, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
