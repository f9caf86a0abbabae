"""The recorder: an audio callback, the writer's share of a core, and what is left to do at the end.

    python -m benchmarks.recorder [--quick]

On a clock that is moved by hand, so that an hour of audio takes seconds and nothing waits.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.call_audio import CHUNKS_A_SECOND, RATE, voices
from benchmarks.results import VOICESPAN, Result, Row, row, run
from voicespan.recording import Recorder
from voicespan.recording.recording_thread import PERIOD, RecordingThread
from voicespan.recording.sound import FOLD_EVERY
from voicespan.recording.timeline.segment import NS
from voicespan.recording.timeline.speech import SpeechDetector
from voicespan.recording.timeline.talk import TalkTimes
from voicespan.recording.transcoding_thread import TranscodingThread
from voicespan.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

#: The peer, as the langsmith package names it.
LANGSMITH = "langsmith"
APPEND = "append to a deque"
_CHUNKS_BETWEEN_PASSES = round(PERIOD * CHUNKS_A_SECOND)


def measure(*, quick: bool) -> Iterator[Result]:
    """The four figures of a recorder."""
    yield Result(
        name="recorder-callback",
        title="Recorder: what an audio callback costs",
        chapter="recorder",
        method="20 ms of PCM16 at 24 kHz are handed over, one after the other, on one thread, in blocks of 500 "
        "that take turns between the ways. A figure is the thread's own processor time of a block, divided "
        "by 500; the slowest of 100 blocks is what the last row tells.",
        rows=list(_callbacks(rounds=20 if quick else 400)),
    )
    yield Result(
        name="recorder-writer",
        title="Recorder: what the background costs",
        chapter="recorder",
        method="Calls in which a caller and an agent speak in turns are recorded on a clock moved by hand, with a "
        "pass of the writer every 250 ms of theirs, and encoded to Opus as they go on. Processor time of the "
        "thread that does it, for each second of a call. Who speaks when, and how much, is part of the writing; its "
        "own row is both sides and their sums, on the same audio.",
        rows=[
            *_background(seconds=10 if quick else 60, rounds=2 if quick else 7),
            *_detection(seconds=60 if quick else 600, rounds=2 if quick else 7),
        ],
    )
    yield Result(
        name="recorder-close",
        title="Recorder: the end of a 60-minute call",
        chapter="recorder",
        method="An hour is recorded as above. `close` is what the application's thread does at the end; the rest "
        "is done by background threads, and is told for comparison. The `langsmith` package keeps ten minutes "
        "of an hour and builds its WAV on the thread that ends the session.",
        rows=list(_close(minutes=6 if quick else 60, rounds=1 if quick else 3)),
    )


def _callbacks(rounds: int) -> Iterator[Row]:
    said = voices().user[:500]
    with tempfile.TemporaryDirectory() as folder:
        writer = RecordingThread(threaded=False)
        recorder = Recorder(Path(folder), writer=writer)
        plain: deque[bytes] = deque()
        session = _langsmith_session()
        ways = {APPEND: plain.append, VOICESPAN: recorder.user, LANGSMITH: session}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, hand_over in ways.items():
                taken[way].append(_block(hand_over, said))
            plain.clear()
            # What the writer's thread would do meanwhile, not counted: else the queue fills.
            recorder.pause()
            writer.run_once()
            recorder.resume()
        recorder.finish()
    base = taken[APPEND]
    for way, times in taken.items():
        yield row("20 ms handed over", way, [each * 1e6 for each in times], "µs", best=min(times) * 1e6)
    for way in (VOICESPAN, LANGSMITH):
        ratios = [each / plainly for each, plainly in zip(taken[way], base, strict=True)]
        yield row("against a plain append", way, ratios, "times")
    for way, times in taken.items():
        slowest = statistics.quantiles(times, n=100)[-1] * 1e6
        yield Row("the slowest block of 100", way, slowest, "µs")


def _block(hand_over: Callable[[bytes], object], said: Sequence[bytes]) -> float:
    begun = time.thread_time()
    for chunk in said:
        hand_over(chunk)
    return (time.thread_time() - begun) / len(said)


def _langsmith_session() -> Callable[[bytes], None]:
    """What its `record_user_audio` comes to, without a connection."""
    from langsmith import Client, RunTree
    from langsmith._internal.voice.session import EventSession

    client = Client(api_key="k", api_url="http://127.0.0.1:1", auto_batch_tracing=False)
    root = RunTree(name="bench", client=client)
    session = EventSession(root, "thread", "project", 24_000, max_audio_bytes=10_000_000)
    return lambda pcm: session.record_user(session.now(), pcm)


class _Calls:
    """Recorded calls whose time passes as fast as it can."""

    def __init__(self, folder: Path, count: int) -> None:
        self.clock = FakeClock()
        self.writer = RecordingThread(self.clock, threaded=False)
        self.recorders = [
            Recorder(folder, name=str(number), clock=self.clock, writer=self.writer)
            for number in range(count)
        ]
        self._said = voices()
        self._handed_over = 0

    def pass_by(self, seconds: float) -> Iterator[None]:
        """Let time pass, and stop whenever the writer is due."""
        for _ in range(round(seconds * CHUNKS_A_SECOND)):
            place = self._handed_over % len(self._said.user)
            user, agent = self._said.user[place], self._said.agent[place]
            for recorder in self.recorders:
                recorder.user(user)
                if agent is not None:
                    recorder.agent(agent)
            self._handed_over += 1
            self.clock.advance(1 / CHUNKS_A_SECOND)
            if self._handed_over % _CHUNKS_BETWEEN_PASSES == 0:
                yield


def _nobody(_: Path | None) -> None:
    """Wait for what is encoded."""


def _background(seconds: float, rounds: int) -> Iterator[Row]:
    for count in (1, 50):
        writing, encoding = [], []
        for _ in range(rounds if count == 1 else max(2, rounds // 2)):
            with tempfile.TemporaryDirectory() as folder:
                calls = _Calls(Path(folder), count)
                follower = TranscodingThread(calls.writer, threaded=False)
                for recorder in calls.recorders[:5]:
                    follower.add(recorder, "ogg", _nobody)
                written = encoded = 0.0
                for _ in calls.pass_by(seconds):
                    written += _thread_time(calls.writer.run_once)
                    encoded += _thread_time(follower.run_once)
                for recorder in calls.recorders:
                    recorder.close()
                encoded += _thread_time(follower.run_once)
                writing.append(written / seconds / count * 100)
                encoding.append(encoded / seconds / min(5, count) * 100)
        yield row(f"writing, {count} at once, each", VOICESPAN, writing, "% of a core")
        yield row(f"encoding, {count} at once, each", VOICESPAN, encoding, "% of a core")


def _detection(seconds: float, rounds: int) -> Iterator[Row]:
    said = voices()
    step = _CHUNKS_BETWEEN_PASSES
    took = []
    for _ in range(rounds):
        user, agent, times = SpeechDetector(), SpeechDetector(), TalkTimes()
        spent = 0.0
        for first in range(0, round(seconds * CHUNKS_A_SECOND), step):
            start = first * NS // CHUNKS_A_SECOND
            heard = _samples(said.user, first, step), _samples(said.agent, first, step)
            spent += _thread_time(partial(_listen, start, user, agent, times, heard))
        took.append(spent / seconds * 100)
    yield row("finding speech, both sides of each", VOICESPAN, took, "% of a core", at_most=0.02)


def _samples(said: Sequence[bytes | None], first: int, count: int) -> NDArray[np.int16]:
    chunks = (said[number % len(said)] for number in range(first, first + count))
    return np.frombuffer(b"".join(chunk for chunk in chunks if chunk is not None), np.int16)


def _listen(
    start: int,
    user: SpeechDetector,
    agent: SpeechDetector,
    times: TalkTimes,
    heard: tuple[NDArray[np.int16], NDArray[np.int16]],
) -> None:
    user.listen(start, RATE, heard[0])
    if len(heard[1]):
        agent.listen(start, RATE, heard[1])
    if start - times.until > FOLD_EVERY:
        times.fold(user.times, agent.times, start - NS)


def _close(minutes: float, rounds: int) -> Iterator[Row]:
    label = f"{minutes:g} minutes"
    closing, finishing, encoding = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            calls = _Calls(Path(folder), 1)
            follower = TranscodingThread(calls.writer, threaded=False)
            follower.add(calls.recorders[0], "ogg", _nobody)
            for _ in calls.pass_by(minutes * 60):
                calls.writer.run_once()
                follower.run_once()
            closing.append(_thread_time(calls.recorders[0].close) * 1000)
            finishing.append(_thread_time(calls.recorders[0].finish) * 1000)
            encoding.append(_thread_time(follower.run_once) * 1000)
    yield row(f"{label}: on the application's thread", VOICESPAN, closing, "ms", at_most=1.0)
    yield row(f"{label}: the writer, afterwards", VOICESPAN, finishing, "ms")
    yield row(f"{label}: the encoder, afterwards", VOICESPAN, encoding, "ms")
    yield row(f"{label}: on the application's thread", LANGSMITH, [_langsmith_wav(minutes)] * 1, "ms")


def _langsmith_wav(minutes: float) -> float:
    """Milliseconds that its WAV takes, of at most ten minutes, as it does by default."""
    from langsmith._internal.voice.audio import build_stereo_session_wav

    said = voices()
    count = round(min(minutes, 10) * 60 * CHUNKS_A_SECOND)
    user = [(n / CHUNKS_A_SECOND, said.user[n % len(said.user)]) for n in range(count)]
    answers = [(n / CHUNKS_A_SECOND, said.agent[n % len(said.agent)]) for n in range(count)]
    agent = [(at, pcm) for at, pcm in answers if pcm is not None]
    return _thread_time(lambda: build_stereo_session_wav(user, agent, 24_000)) * 1000


def _thread_time(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


if __name__ == "__main__":
    run(measure)
