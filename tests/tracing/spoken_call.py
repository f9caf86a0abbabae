"""Calls that are made for a test: both sides' audio and the service's events, on a clock that is moved by hand."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import soundfile as sf
import soxr

from voicespan.protocol import events
from voicespan.recording.codec.g711 import decode
from voicespan.recording.recording_thread import RecordingThread
from voicespan.runtime.settings import Settings
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.conversation_recording import ConversationRecorder

META = "langsmith.metadata."
AGENT_RATE = 24_000
STEP = 0.05


class Turn(NamedTuple):
    """The user says something, and the agent answers. Times in seconds.

    Attributes:
        waits: For how long nobody speaks before; negative: the user speaks into the agent's answer.
        says: For how long the user speaks; 0: the agent speaks by itself.
        gap: From the end of that to the answer; None: there is none; negative: the agent interrupts the user.
        answer: How long that is.
        cut_after: How long after the user's next words begin it is cut; None: it goes on.
    """

    waits: float
    says: float
    gap: float | None
    answer: float = 2.0
    cut_after: float | None = None


@functools.cache
def espeak(text: str, voice: str) -> np.ndarray:
    """What espeak-ng says, at `AGENT_RATE`, -1 to 1."""
    program = shutil.which("espeak-ng")
    assert program is not None
    said = subprocess.run(
        [program, "-v", voice, "--stdout", text], capture_output=True, check=True, timeout=60
    ).stdout
    # Its header says that it is endless.
    samples = np.frombuffer(said[44:], "<i2").astype(np.float64) / 32_768
    rate = sf.info(io.BytesIO(said)).samplerate
    return soxr.resample(samples, rate, AGENT_RATE)


class SpokenCall:
    """A call whose turns are laid out beforehand, and then played."""

    def __init__(self, tracer_provider, exporter, clock, folder) -> None:
        self.clock, self.exporter = clock, exporter
        self.conversation = Conversation(tracer_provider=tracer_provider, clock=clock, settings=Settings())
        self.writer = RecordingThread(clock, threaded=False)
        self.recorder = ConversationRecorder(folder, clock=clock, writer=self.writer)
        self.conversation.lifecycle.spans.playback.recorder = self.recorder
        self.began = clock.monotonic_ns()

    def happen(self, at: float, kind, *fields, event_type="wire", **named) -> None:
        with self.conversation.lifecycle.lock:
            event = kind(self.began + round(at * 1e9), event_type, *fields, **named)
            self.conversation.lifecycle.ingest([event])
        self.conversation.flush()

    def play(self, turns, voice, *, rate=24_000, noise_db=None, telephone=False) -> None:
        """Play the call. `voice(side, number, seconds)` gives what is said, at `AGENT_RATE`."""
        sounds, happenings, seconds = _laid_out(turns, voice)
        user = _microphone(sounds, seconds, rate, noise_db, telephone=telephone)
        happenings.sort(key=lambda each: each[0])
        for step in range(round(seconds / STEP)):
            now = step * STEP
            while happenings and happenings[0][0] <= now + 1e-9:
                self._do(now, *happenings.pop(0)[1:])
            piece = user[round(now * rate) : round((now + STEP) * rate)]
            self.recorder.user(piece.tobytes(), rate)
            self.clock.advance(STEP)
            self.writer.run_once()

    def _do(self, now, what, *arguments) -> None:
        if what == "say":
            (samples,) = arguments
            self.recorder.agent(_int16(samples).tobytes(), AGENT_RATE)
        elif what == "cut":
            self.recorder.cut_agent()
        else:
            kind, fields, named = arguments
            self.happen(now, kind, *fields, **named)

    def figures(self):
        """What the root says, and the file."""
        self.conversation.end()
        path = self.recorder.finish()
        (root,) = [span for span in self.exporter.get_finished_spans() if span.parent is None]
        return {name.removeprefix(META): value for name, value in root.attributes.items()}, path


def _laid_out(turns, voice):
    """What the user says (when, samples), what happens (when, what), and how long all of it takes."""
    sounds, happenings = [], []
    end = 0.0  # of the last that was said
    for number, turn in enumerate(turns):
        begins = _on_grid(end + turn.waits)
        item, response = f"u{number}", f"r{number}"
        if turn.says:
            said = voice("user", number, turn.says)
            sounds.append((begins, said))
            over = begins + len(said) / AGENT_RATE
            happenings += [
                (begins + 0.1, "event", events.SpeechStarted, (item,), {}),
                (over + _endpointing(turn), "event", events.SpeechStopped, (item,), {}),
            ]
        else:
            over = begins
        end = over
        if turn.gap is None:
            end += 0.5
            continue
        answered = voice("agent", number, turn.answer)
        at = _on_grid(over + turn.gap)
        length = len(answered) / AGENT_RATE
        happenings += [
            (at - 0.1, "event", events.GenerationStarted, (response,), {}),
            (at - 0.05, "event", events.FirstAudio, (response,), {}),
            (at, "say", answered),
            (at + 0.1, "event", events.GenerationEnded, _ended(response, length), {"had_speech": True}),
        ]
        end = at + length
        if turn.cut_after is not None:
            following = _on_grid(end + turns[number + 1].waits)
            happenings.append((_on_grid(following + turn.cut_after), "cut"))
    return sounds, happenings, _on_grid(end + 2.0)


def _endpointing(turn: Turn) -> float:
    """How long after the user's last sound the service sees that; where it interrupts the user, it saw nothing."""
    return 0.5 if turn.gap is None or turn.gap < 0 else min(0.5, turn.gap - 0.15)


def _ended(response, length):
    return (response, "completed", None, "some words", (), None, round(length * 1000))


def _on_grid(at: float) -> float:
    return round(round(at / STEP) * STEP, 3)


def _microphone(sounds, seconds, rate, noise_db, *, telephone) -> np.ndarray:
    """All that the microphone hears, as int16."""
    heard = np.zeros(round((seconds + 1) * AGENT_RATE))
    for at, said in sounds:
        heard[round(at * AGENT_RATE) :][: len(said)] += said
    if rate != AGENT_RATE:
        heard = soxr.resample(heard, AGENT_RATE, rate)
    if noise_db is not None:
        heard += np.random.default_rng(3).standard_normal(len(heard)) * 10 ** (noise_db / 20)
    samples = _int16(heard)
    return decode(sf_ulaw(samples), "g711_ulaw") if telephone else samples


def sf_ulaw(samples) -> bytes:
    """As a telephone sends it; libsndfile encodes."""
    file = io.BytesIO()
    sf.write(file, samples, 8_000, format="RAW", subtype="ULAW")
    return file.getvalue()


def _int16(samples) -> np.ndarray:
    return np.clip(np.rint(samples * 32_767), -32_768, 32_767).astype(np.int16)
