"""What only a real process shows: kills, forks, full disks, threads, hours."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from studio import noise

from voicespan.recording import Recorder, repair
from voicespan.recording.recording_thread import RecordingThread
from voicespan.recording.recording_writer import RecordingWriter

HERE = Path(__file__).parent


def python(script: str, *arguments, **kwargs) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE,
        **kwargs,
    )


def output(script: str, *arguments) -> list[str]:
    with python(script, *arguments) as process:
        told, _ = process.communicate(timeout=50)
    assert process.returncode == 0
    return told.split()


# Talks until it is killed. Each line says how much has been handed over by then.
TALK = """
import sys, time
from studio import noise
from voicespan.recording import Recorder

rate, encoding = int(sys.argv[2]), sys.argv[3]
pcm = noise(rate * 10).tobytes() if encoding == "pcm16" else noise(rate * 10).astype("uint8").tobytes()
step = len(pcm) // 500
recorder = Recorder(sys.argv[1])
began = time.monotonic()
for n in range(500):
    time.sleep(max(0, began + n * 0.02 - time.monotonic()))
    recorder.user(pcm[n * step:(n + 1) * step], rate, encoding)
    print(n + 1, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_loses_at_most_a_second(tmp_path):
    """What a kill costs depends on how often the system lets the writer run: a starved round is held again."""
    lost = []
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        lost.append(max(_lost_by_a_kill(folder)))
        if lost[-1] <= 1.0:
            return
    raise AssertionError(f"a kill cost {lost} seconds of the recording")


def _lost_by_a_kill(tmp_path):
    """Seconds of audio that each of three processes had handed over and that are in no file."""
    calls, lost = [], []
    for n, (rate, encoding) in enumerate([(8_000, "g711_ulaw"), (24_000, "pcm16"), (8_000, "pcm16")]):
        folder = tmp_path / str(n)
        folder.mkdir()
        calls.append((folder / "conversation.flac", rate, encoding, python(TALK, folder, rate, encoding)))
    told = []
    for n, (_, _, _, process) in enumerate(calls):
        told.append(next(line for line in process.stdout if int(line) >= 80 + n * 13))
    for n, (_, _, _, process) in enumerate(calls):
        process.kill()
        # What it had said by then is still in the pipe; the last line may be half a line.
        told[n] = [told[n], *process.stdout.read().split("\n")[:-1]][-1]
        process.wait()
        process.stdout.close()
    for (path, rate, encoding, _), last in zip(calls, told, strict=True):
        frames = repair(path)
        lost.append(int(last) * 0.02 - frames / rate)
        samples, found = sf.read(path, dtype="int16")
        assert (len(samples), found) == (frames, rate)
        if encoding == "pcm16":
            heard = samples[np.flatnonzero(samples[:, 0])[0] :, 0]
            assert np.array_equal(heard, noise(rate * 10)[: len(heard)])
    return lost


FORK = """
import os, sys
from studio import Studio, noise
from pathlib import Path
from voicespan.recording import Recorder
from voicespan.recording.transcoding_thread import TranscodingThread

studio = Studio(Path(sys.argv[1]))
recorder = studio.recorder()
follower = TranscodingThread(studio.writer, threaded=False)
became = []
follower.add(recorder, "ogg", became.append)
said = noise(24_000 * 8)
studio.speak(recorder.user, said[:24_000 * 6], piece=0.1)
follower.run_once()
recorder.agent(said.tobytes())
recorder.cut_agent()
recorder.agent(said[:4_800].tobytes())
assert recorder.path.with_suffix(".ogg.part").exists()
if os.fork() == 0:
    told = [recorder.status, bool(recorder._writer.timeline.agent or recorder._queue.waits)]
    recorder.user(said.tobytes())
    recorder.agent(said.tobytes())
    told.append(recorder.cut_agent().heard_ms)
    studio.wait(2)
    follower.run_once()
    told += [recorder.finish(), recorder._queue.waits]
    own = Recorder(sys.argv[2])
    own.user(said[:4_800].tobytes())
    assert own.finish().exists()
    assert told == ["forked", False, None, None, False], told
    sys.exit(7)  # with all that an interpreter does at its end
status = os.waitstatus_to_exitcode(os.wait()[1])
studio.speak(recorder.user, said[24_000 * 6:], piece=0.1)
print(status, recorder.status)
recorder.close()
follower.run_once()
print(recorder.finish(), *became)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_leaves_the_recording_to_its_parent(tmp_path):
    parent, child = tmp_path / "parent", tmp_path / "child"
    parent.mkdir()
    child.mkdir()
    status, state, path, encoded = output(FORK, parent, child)
    assert (status, state) == ("7", "recording")
    samples, _ = sf.read(path, dtype="int16")
    assert np.array_equal(samples[:, 0], noise(24_000 * 8))
    assert len(sf.read(encoded)[0]) == 24_000 * 8
    samples, _ = sf.read(child / "conversation.flac", dtype="int16")
    assert np.array_equal(samples[-4_800:, 0], noise(24_000 * 8)[:4_800])


FULL = """
import resource, sys
from studio import Studio, noise
from pathlib import Path

resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
studio = Studio(Path(sys.argv[1]))
recorder = studio.recorder()
said = noise(24_000 * 6)
studio.speak(recorder.user, said, piece=0.1)
before = recorder.dropped_bytes
recorder.user(bytes(1_000))
assert recorder.dropped_bytes == before + 1_000
assert not studio.writer._writers and not recorder._queue.waits
print(recorder.status, recorder.error.replace(" ", "_"), recorder.dropped_bytes, recorder.finish())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits")
def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path):
    status, error, dropped, path = output(FULL, tmp_path)
    assert (status, error) == ("failed", "File_too_large")
    samples, _ = sf.read(path, dtype="int16")  # what fitted is whole
    assert 24_000 < len(samples) < 5 * 24_000
    assert np.array_equal(samples[:, 0], noise(24_000 * 6)[: len(samples)])
    lost = 2 * (24_000 * 6 - len(samples)) + 1_000
    assert lost * 0.8 < int(dropped) <= lost


def test_a_folder_that_cannot_be_written_ends_the_recording(studio):
    studio.folder = studio.folder / "nowhere"
    recorder = studio.recorder()
    recorder.user(noise(24_000).tobytes())
    studio.wait(1)
    assert (recorder.status, recorder.error) == ("failed", "No such file or directory")
    assert recorder.dropped_bytes == 48_000
    recorder.agent(bytes(500))
    assert (recorder.finish(), recorder.first_heard(0), recorder.heard_ms(0)) == (None, None, 0)


# Two hours in passes of half a second; memory is read after two minutes and at the end.
HOURS = """
import gc, resource, sys
from studio import Studio, noise
from pathlib import Path

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

studio = Studio(Path(sys.argv[1]))
recorder = studio.recorder()
user, agent = noise(4_000, 1).tobytes(), noise(16_000, 2).tobytes()
before = 0
for n in range(2 * 7_200):
    recorder.user(user, 8_000)
    if n % 20 == 0:
        recorder.mark_answer()
        recorder.agent(agent, 8_000)
    if n % 20 == 3:
        recorder.cut_agent()
    studio.clock.advance(0.5)
    studio.writer.run_once()
    if n == 240:
        before = resident()
print(resident() - before, recorder.seconds, recorder.dropped_bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hours_take_no_more_memory_than_two_minutes(tmp_path):
    grown, seconds, dropped = output(HOURS, tmp_path)
    assert int(grown) < 2 << 20
    assert float(seconds) == pytest.approx(7_200, abs=1)
    assert dropped == "0"


@pytest.mark.parametrize(("recordings", "passes", "most"), [(125, 1, 125), (126, 2, 125), (1_000, 4, 250)])
def test_of_very_many_each_has_its_turn_once_a_second(studio, monkeypatch, recordings, passes, most):
    turns = []
    monkeypatch.setattr(RecordingWriter, "run", lambda writer, _, **__: turns.append(writer))
    recorders = [studio.recorder(name=str(n)) for n in range(recordings)]
    for _ in range(passes):
        before = len(turns)
        studio.wait(0.25)
        assert len(turns) - before <= most
    assert {id(writer) for writer in turns} == {id(recorder._writer) for recorder in recorders}


def test_fifty_at_once(studio):
    recorders = [studio.recorder(name=str(n)) for n in range(50)]
    said = [noise(4_000, n) for n in range(50)]
    for first in range(0, 4_000, 400):
        for recorder, samples in zip(recorders, said, strict=True):
            recorder.user(samples[first : first + 400].tobytes(), 8_000)
            recorder.agent(samples[first : first + 400][::-1].tobytes(), 8_000)
        studio.wait(0.05)
    for recorder, samples in zip(recorders, said, strict=True):
        left, right, _ = studio.listen(recorder)
        assert np.array_equal(left, samples)
        assert np.array_equal(right.reshape(-1, 400)[:, ::-1].ravel(), samples)


def test_one_thread_writes_for_all_while_there_is_something_to_write(tmp_path):
    writer = RecordingThread()
    recorders = [Recorder(tmp_path, name=str(n), writer=writer) for n in range(3)]
    for recorder in recorders:
        recorder.user(noise(24_000).tobytes())
    deadline = time.monotonic() + 10
    while not all(recorder.seconds > 0.2 for recorder in recorders) and time.monotonic() < deadline:
        time.sleep(0.02)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("voicespan-audio") == 1
    assert all(0.2 < recorder.seconds < 1 for recorder in recorders)
    for recorder in recorders:
        samples, _ = sf.read(recorder.finish(), dtype="int16")
        assert np.array_equal(samples[-24_000:, 0], noise(24_000))
    writer._loop._thread.join(timeout=10)
    assert writer._loop._thread is None
    late = Recorder(tmp_path, name="late", writer=writer)
    late.close()
    while late.status != "finished" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert late.status == "finished"


def test_one_that_cannot_be_laid_out_does_not_stop_the_others(studio, monkeypatch):
    from voicespan.runtime import guard

    monkeypatch.setattr(guard, "reraise", False)
    broken, sound = studio.recorder(name="broken"), studio.recorder(name="sound")
    for recorder in (broken, sound):
        recorder.user(noise(24_000).tobytes())
    monkeypatch.setattr(broken._writer.timeline, "take", lambda until: 1 / 0)
    studio.wait(2)
    assert (broken.status, sound.status) == ("failed", "recording")
    assert broken.finish() is None
    left, _, _ = studio.listen(sound)
    assert np.array_equal(left, noise(24_000))


def test_handing_over_is_cheap(tmp_path):
    """A microsecond or two; the limit leaves room for a busy machine."""
    recorder = Recorder(tmp_path, writer=RecordingThread(threaded=False))
    piece = bytes(960)
    times = []
    for _ in itertools.repeat(None, 2_000):
        began = time.perf_counter_ns()
        recorder.user(piece)
        times.append(time.perf_counter_ns() - began)
    assert sorted(times)[len(times) // 2] < 10_000


def test_the_turns_of_a_pass_are_spread_over_it(monkeypatch, tmp_path, fake_clock):
    """All at once they would take the interpreter from an event loop at each of its reads and writes."""
    slept = []

    def sleep(seconds):
        slept.append(pytest.approx(seconds, abs=1e-9))
        fake_clock.advance(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.thread_time", lambda: fake_clock.monotonic_ns() / 1e9)
    monkeypatch.setattr(RecordingWriter, "run", lambda _self, _now: fake_clock.advance(0.0006))
    writer = RecordingThread(fake_clock, threaded=False)
    for number in range(100):
        writer.add(RecordingWriter(tmp_path, str(number), 0, fake_clock))
    writer._threaded = True
    writer.run_once()
    # Each has 2 ms, and two go together.
    assert slept == [0.0028] * 49  # none after the last
    assert not writer.is_behind


def test_who_is_very_late_rests_less(monkeypatch, tmp_path, fake_clock):
    shares = []

    def told(pieces, work, seconds, clock, *, rests, waits):
        assert (seconds, clock) == (0.2, fake_clock)
        shares.append((rests, waits))
        for piece in pieces:
            work(piece)

    monkeypatch.setattr("voicespan.recording.recording_thread.paced", told)
    took = []
    monkeypatch.setattr(RecordingWriter, "run", lambda _self, _now: fake_clock.advance(took[-1]))
    writer = RecordingThread(fake_clock, threaded=False)
    for number in range(500):
        writer.add(RecordingWriter(tmp_path, str(number), 0, fake_clock))
    writer._threaded = True
    for seconds in (0.001, 0.016, 0.02, 0.03, 0.001):
        took.append(seconds)
        writer.run_once()
    # Four passes of 125 turns: rounds of 0.5, 8, 10 and 15 seconds, as told with the next pass.
    assert shares == [(pytest.approx(share), share) for share in (1.0, 1.0, 0.5, 0.25, 0.0)]


def test_importing_voicespan_loads_nothing_heavy():
    loaded = output(
        "import sys, voicespan.recording; voicespan.recording.Recorder; print(*sorted(sys.modules))"
    )
    assert "voicespan.recording.recorder" in loaded
    assert {"numpy", "soundfile", "soxr"}.isdisjoint(loaded)
