from __future__ import annotations

import errno
import os
import sys
import threading
import time
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import soundfile as sf
from studio import noise

from voicespan.recording import transcoding_thread as thread_module
from voicespan.recording.codec import transcode
from voicespan.recording.codec.formats import FORMATS, rate_at_least
from voicespan.recording.recorder import Recorder
from voicespan.recording.recording_thread import RecordingThread
from voicespan.recording.transcoding_thread import TranscodingThread
from voicespan.runtime import descriptors

JOB = thread_module._Job


def tone(seconds: float, rate: int) -> np.ndarray:
    """Left 440 Hz, right 660 Hz."""
    times = np.arange(round(seconds * rate)) / rate
    return (8_000 * np.sin(2 * np.pi * np.outer(times, (440, 660)))).astype(np.int16)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "conversation.flac"
    sf.write(path, tone(2.5, 24_000), 24_000)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_what_was_said(recording, form):
    path = transcode.transcode(recording, form)
    assert path == recording.with_suffix(FORMATS[form].suffix)
    assert {file.name for file in recording.parent.iterdir()} == {recording.name, path.name}
    assert path.stat().st_mode & 0o777 == (0o644 if path == recording else 0o600)
    samples, rate = sf.read(path, dtype="int16")
    expected = tone(2.5, 24_000)
    assert (rate, samples.shape) == (24_000, expected.shape)
    middle = slice(6_000, 54_000)
    error = samples[middle].astype(float) - expected[middle]
    assert np.sqrt((error**2).mean()) < {"flac": 1, "wav": 1, "ogg": 150, "mp3": 300}[form]  # of 5,657


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_rate_that_a_format_does_not_take_is_resampled(tmp_path, form, rate, channels):
    source = tmp_path / "somebody.wav"
    sf.write(source, tone(1.25, rate)[:, :channels], rate)
    path = transcode.transcode(source, form, tmp_path / "attachment")
    made = sf.info(path)
    takes = FORMATS[form].rates
    assert made.samplerate == (rate if not takes or rate in takes else rate_at_least(rate, takes))
    assert made.channels == channels
    assert made.duration == pytest.approx(1.25, abs=0.001)
    loudness = np.sqrt((sf.read(path)[0] ** 2).mean())
    assert loudness == pytest.approx(8_000 / 32_768 / np.sqrt(2), rel=0.07)  # LAME takes 5 % off


def test_memory_stays_small_because_blocks_are(recording, monkeypatch):
    sizes = []
    write = transcode.Transcoding._write
    monkeypatch.setattr(
        transcode.Transcoding,
        "_write",
        lambda self, block, **last: sizes.append(len(block)) or write(self, block),
    )
    transcode.transcode(recording, "wav")
    assert sizes == [24_000, 24_000, 12_000]


def test_what_cannot_be_made_leaves_nothing(recording, tmp_path):
    with pytest.raises(ValueError, match="aiff"):
        transcode.transcode(recording, "aiff")
    with pytest.raises(sf.LibsndfileError):
        transcode.transcode(tmp_path / "nothing.flac", "ogg")
    with pytest.raises(FileNotFoundError):
        transcode.transcode(recording, "ogg", tmp_path / "nowhere" / "conversation.ogg")
    recording.write_bytes(recording.read_bytes()[:20_000])
    (tmp_path / "conversation.ogg.part").write_bytes(b"of a process that was killed")
    with pytest.raises(sf.LibsndfileError):
        transcode.transcode(recording, "ogg")
    assert list(tmp_path.iterdir()) == [recording]


def test_a_wav_that_its_header_cannot_tell_of_is_refused(recording, monkeypatch):
    monkeypatch.setattr(transcode, "_LARGEST_WAV", 100_000)
    with pytest.raises(ValueError, match="too long"):
        transcode.transcode(recording, "wav")
    assert not recording.with_suffix(".wav").exists()


class TestFollowing:
    @pytest.fixture
    def followed(self, studio):
        recorder = studio.recorder()
        follower = TranscodingThread(studio.writer, clock=studio.clock, threaded=False)
        became = []
        follower.add(recorder, "wav", became.append)
        return recorder, follower, became

    def test_only_a_tail_is_left_at_the_end(self, studio, followed, monkeypatch):
        recorder, follower, became = followed
        said = noise(63 * 8_000)
        for second in range(63):
            recorder.user(said[second * 8_000 : (second + 1) * 8_000].tobytes(), 8_000)
            studio.wait(1.0)
            follower.run_once()
        transcoding = follower._jobs[0].transcoding
        assert recorder.seconds * 8_000 - transcoding.done < 8 * 8_000
        assert became == []
        recorder.close()
        follower.run_once()
        samples, rate = sf.read(*became, dtype="int16")
        assert rate == 8_000
        assert np.array_equal(samples[:, 0], said)
        assert follower._jobs == []

    def test_all_that_is_said_to_be_on_the_disk_can_be_read(self, studio):
        recorder = studio.recorder()
        said = noise(10 * 8_000)
        transcoding = transcode.Transcoding(recorder.path, "wav")
        for n in range(0, len(said), 400):
            recorder.user(said[n : n + 400].tobytes(), 8_000)
            studio.wait(0.05)
            transcoding.advance(recorder.frames_on_disk)
            assert transcoding.done == recorder.frames_on_disk
        assert transcoding.done > 8 * 8_000
        recorder.finish()
        assert np.array_equal(sf.read(transcoding.finish(), dtype="int16")[0][:, 0], said)

    def test_rests_while_the_writer_is_behind(self, studio, followed):
        recorder, follower, _ = followed
        recorder.user(noise(10 * 8_000).tobytes(), 8_000)
        studio.wait(11)
        studio.clock.advance(0.9)
        follower.run_once()
        assert follower._jobs[0].done == 0
        studio.wait(0.25)
        follower.run_once()
        assert follower._jobs[0].done == 5 * 8_000

    def test_a_call_that_is_over_goes_before_those_that_are_not(self, studio, followed, monkeypatch):
        recorder, follower, became = followed
        ending, ended = studio.recorder(name="ending"), []
        follower.add(ending, "wav", ended.append)
        for each in (recorder, ending):
            each.user(noise(10 * 8_000).tobytes(), 8_000)
        studio.wait(11)
        order = []
        monkeypatch.setattr(
            JOB,
            "advance",
            lambda self: order.append((self.recorder, list(ended))) or ending.close() or True,
        )
        follower.run_once()
        # It ended while the other one had its turn, and is finished right after that.
        assert order == [(recorder, [])]
        assert ended == [ending.path.with_suffix(".wav")]
        assert became == []

    def test_a_call_that_has_waited_for_a_minute_is_handed_on_as_it_is(self, studio, followed):
        recorder, follower, became = followed
        said = noise(10 * 8_000)
        recorder.user(said.tobytes(), 8_000)
        studio.wait(11)
        follower.run_once()  # encodes a part of it
        recorder.close()
        other = studio.recorder(name="other")  # a writer that has nothing to write is never behind
        studio.clock.advance(1.0)
        follower.run_once()
        assert became == []
        studio.clock.advance(60.0)
        follower.run_once()
        assert became == [recorder.path]
        assert np.array_equal(sf.read(recorder.path, dtype="int16")[0][:, 0], said)
        assert list(studio.folder.iterdir()) == [recorder.path]
        other.close()

    def test_of_very_many_that_are_over_those_that_have_waited_longest_go_as_they_are(
        self, studio, followed, monkeypatch
    ):
        _, follower, became = followed
        monkeypatch.setattr(thread_module, "_MOST_WAITING", 2)
        recorders = [studio.recorder(name=f"call {number}") for number in range(4)]
        for recorder in recorders:
            follower.add(recorder, "wav", became.append)
            recorder.user(noise(8_000).tobytes(), 8_000)
        studio.wait(2)
        with monkeypatch.context() as busy:
            busy.setattr(thread_module.TranscodingThread, "_rests", True)
            for recorder in recorders:
                recorder.close()
                studio.wait(1)
                follower.run_once()
        assert became == [recorder.path for recorder in recorders[:2]]
        follower.run_once()
        assert [path.suffix for path in became[2:]] == [".wav", ".wav"]

    def test_is_none_without_audio(self, studio, followed):
        recorder, follower, became = followed
        follower.run_once()
        recorder.close()
        follower.run_once()
        assert became == [None]

    def test_says_whether_there_was_anything_to_do(self, studio, followed):
        """For a thread that found nothing looks less often, and one that had much to do must not."""
        recorder, follower, _ = followed
        recorder.user(noise(8_000).tobytes(), 8_000)
        studio.wait(2)
        assert not follower.run_once()
        recorder.close()
        assert follower.run_once()
        assert not follower.run_once()

    def test_what_cannot_be_encoded_goes_as_it_is(self, studio, followed):
        recorder, follower, became = followed
        recorder.user(noise(8_000).tobytes(), 8_000)
        recorder.path.with_suffix(".wav").mkdir()
        (recorder.path.with_suffix(".wav") / "in the way").touch()
        studio.wait(2)
        recorder.close()
        follower.run_once()
        assert became == [recorder.path]
        assert sf.info(recorder.path).frames == 8_000
        assert follower._jobs == []

    def test_what_cannot_be_encoded_in_the_middle_of_the_call_goes_when_it_is_whole(self, studio, followed):
        recorder, follower, became = followed
        said = noise(20 * 8_000)
        recorder.user(said[: 10 * 8_000].tobytes(), 8_000)
        recorder.path.with_suffix(".wav.part").mkdir()
        studio.wait(11)
        follower.run_once()
        recorder.user(said[10 * 8_000 :].tobytes(), 8_000)
        studio.wait(1)
        assert not follower.run_once()
        assert became == []
        recorder.close()
        follower.run_once()
        assert became == [recorder.path]
        heard = sf.read(recorder.path, dtype="int16")[0][:, 0]
        assert np.array_equal(heard[heard != 0], said[said != 0])

    def test_who_waits_is_told_even_where_the_end_goes_wrong(self, studio, followed, monkeypatch):
        recorder, follower, became = followed
        recorder.user(noise(8_000).tobytes(), 8_000)
        studio.wait(2)
        recorder.close()
        monkeypatch.setattr(recorder, "finish", lambda: Path("nowhere").read_bytes())
        follower.run_once()
        assert became == [recorder.path]
        assert follower._jobs == []

    def test_refuses_what_it_does_not_know(self, studio):
        with pytest.raises(ValueError, match="aiff"):
            TranscodingThread(studio.writer, threaded=False).add(studio.recorder(), "aiff", print)

    def test_has_a_thread_of_low_priority_while_there_is_something_to_do(self, tmp_path, monkeypatch):
        priorities = []
        finish = thread_module._Job.finish

        def spy(self, *, encode):
            if sys.platform == "linux":
                priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return finish(self, encode=encode)

        monkeypatch.setattr(thread_module._Job, "finish", spy)
        monkeypatch.setattr(thread_module, "PERIOD", 0.01)
        writer = RecordingThread()
        recorder = Recorder(tmp_path, writer=writer)
        thread = TranscodingThread(writer)
        became = Queue()
        thread.add(recorder, "ogg", became.put)
        recorder.user(noise(24_000).tobytes())
        recorder.close()
        assert 24_000 <= sf.info(became.get(timeout=20)).frames < 26_400  # it began after the recorder
        if sys.platform == "linux":
            assert set(priorities) == {os.getpriority(os.PRIO_PROCESS, 0) + thread_module._NICENESS}
        deadline = time.monotonic() + 10
        while (thread._loop._thread or writer._loop._thread) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (thread._loop._thread, writer._loop._thread) == (None, None)


def no_descriptor(*_args, **_named):
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_moment_without_descriptors_costs_nothing(studio, monkeypatch):
    """The recording failed, and all of the call with it."""
    thread = TranscodingThread(studio.writer, clock=studio.clock, threaded=False)
    recorder, became = studio.recorder(), []
    thread.add(recorder, "flac", became.append)
    with monkeypatch.context() as full:
        full.setattr("voicespan.recording.codec.audio_file.os.open", no_descriptor)
        studio.speak(recorder.user, noise(2 * 24_000))
        recorder.close()
        studio.wait(1)
        thread.run_once()
        assert (recorder.status, became) == ("closed", [])
    studio.wait(1)
    thread.run_once()
    samples, _ = sf.read(became[0], dtype="int16")
    assert np.array_equal(samples[:, 0], noise(2 * 24_000))


def test_a_moment_without_descriptors_in_the_middle_costs_nothing(studio, monkeypatch):
    recorder = studio.recorder()
    studio.speak(recorder.user, noise(2 * 24_000))
    assert recorder.status == "recording"
    for file in list(descriptors._kept):
        file.give_way()
    with monkeypatch.context() as full:
        full.setattr("voicespan.recording.codec.audio_file.os.open", no_descriptor)
        studio.speak(recorder.user, noise(2 * 24_000))
        recorder.close()
        studio.wait(1)
        assert recorder.finish() is None
    studio.wait(1)
    samples, _ = sf.read(recorder.finish(), dtype="int16")
    assert np.array_equal(samples[:, 0], np.concatenate([noise(2 * 24_000), noise(2 * 24_000)]))


def test_who_never_has_one_again_loses_the_recording(studio, monkeypatch):
    recorder = studio.recorder()
    monkeypatch.setattr("voicespan.recording.codec.audio_file.os.open", no_descriptor)
    studio.speak(recorder.user, noise(24_000))
    studio.wait(62)
    assert (recorder.status, recorder.error) == ("failed", "Too many open files")
    assert recorder.dropped_bytes == 48_000


def test_where_descriptors_are_scarce_nothing_is_encoded_while_the_call_runs(studio, monkeypatch):
    """It would take two more for a moment, of what is encoded and of what it is encoded to."""
    plentiful = [False]
    monkeypatch.setattr(thread_module, "are_plentiful", lambda: plentiful[0])
    thread = TranscodingThread(studio.writer, clock=studio.clock, threaded=False)
    recorder = studio.recorder()
    thread.add(recorder, "ogg", print)
    recorder.user(noise(10 * 8_000).tobytes(), 8_000)
    studio.wait(11)
    assert not thread.run_once()
    assert thread._jobs[0].done == 0
    plentiful[0] = True
    assert thread.run_once()
    assert thread._jobs[0].done > 0


@pytest.mark.parametrize(("seconds", "status"), [(2, "recording"), (6, "failed")])
def test_a_folder_that_is_made_late_is_recorded_into(studio, tmp_path, seconds, status):
    """One refusal of the spool kept the call in memory, and the recording had failed for ever."""
    folder = [None]
    recorder = Recorder(lambda: folder[0], clock=studio.clock, writer=studio.writer)
    studio.speak(recorder.user, noise(seconds * 24_000))
    folder[0] = tmp_path
    studio.wait(1)
    assert recorder.status == status
    if status == "recording":
        assert np.array_equal(studio.listen(recorder)[0], noise(seconds * 24_000))
