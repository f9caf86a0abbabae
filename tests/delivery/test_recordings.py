"""How a recording joins the root, and what becomes of one that cannot."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time

import pytest
import soundfile

from voicespan.cli import recover
from voicespan.recording.recorder import Recorder
from voicespan.runtime.settings import Settings
from voicespan.testing import LangSmithServer
from voicespan.tracing.conversation_recording import ConversationRecording


@pytest.fixture
def voice(manual):
    return manual()


@pytest.fixture
def conversation(voice):
    return voice.conversation()


def status(server):
    return server.roots[0].metadata["ls_audio_attach_status"]


def kept(spool_dir):
    [folder] = spool_dir.glob("kept-*")
    return sorted(path.name for path in folder.iterdir())


def record(path, seconds=1.0, rate=24_000):
    """A FLAC file as the recorder leaves it."""
    import numpy as np

    tone = (np.sin(np.arange(int(seconds * rate)) / 7) * 9000).astype(np.int16)
    soundfile.write(path, np.stack([tone, -tone], axis=1), rate, format="FLAC")
    return path


def torn(flac):
    """As a kill leaves it: its length (36 bits) not written, its last frame not whole."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:-500]


def wav(seconds, rate=48_000):
    import random

    samples = random.Random(1).randbytes(int(seconds * rate) * 2)
    head = b"RIFF" + struct.pack("<I", len(samples) + 36) + b"WAVEfmt "
    head += struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    return head + b"data" + struct.pack("<I", len(samples)) + samples


def test_a_clients_file_is_copied_at_once(voice, conversation, langsmith_server, tmp_path):
    """What happens to the file afterwards does not change what is delivered."""
    file = tmp_path / "call.ogg"
    file.write_bytes(b"this call")
    conversation.attach_recording(file, "audio/ogg")
    file.write_bytes(b"the next one, with somebody else")
    voice.finish(conversation)
    voice.send()
    assert status(langsmith_server) == "attached"
    assert langsmith_server.roots[0].attachments["conversation"].content == b"this call"


def test_the_last_recording_counts(voice, conversation, langsmith_server):
    conversation.attach_recording(b"first", "audio/wav")
    conversation.attach_recording(b"second", "audio/webm;codecs=opus")
    voice.finish(conversation)
    voice.send()
    [attachment] = langsmith_server.roots[0].attachments.values()
    assert (attachment.content, attachment.mime_type) == (b"second", "audio/webm;codecs=opus")


def test_without_a_recording_the_root_says_none(voice, conversation, langsmith_server):
    voice.finish(conversation)
    voice.send()
    assert status(langsmith_server) == "none"
    assert langsmith_server.roots[0].attachments == {}


def test_the_recordings_start_is_told_on_both_clocks(voice, conversation, langsmith_server):
    root_start = conversation.lifecycle.root.span.start_time
    conversation.deliveries[0].attach(b"sound", "audio/ogg", started_at=root_start / 1e9 + 1.25)
    voice.finish(conversation)
    voice.send()
    metadata = langsmith_server.roots[0].metadata
    assert metadata["ls_audio_recording_started_at"] == pytest.approx(root_start / 1e9 + 1.25, abs=1e-3)
    assert metadata["ls_audio_recording_start_offset_ms"] == 1250


def test_an_expected_recording_is_waited_for_after_the_end(voice, conversation, langsmith_server):
    conversation.expect_recording(timeout=30)
    voice.clock.advance(100)
    voice.finish(conversation)
    voice.clock.advance(29)
    assert voice.write() == pytest.approx(1)
    voice.send()
    assert langsmith_server.requests == []
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.write()
    voice.send()
    assert status(langsmith_server) == "attached"


def test_an_expected_recording_that_does_not_come_is_told(voice, conversation, langsmith_server):
    conversation.expect_recording(timeout=30)
    voice.finish(conversation)
    voice.clock.advance(30)
    voice.write()
    voice.send()
    assert status(langsmith_server) == "timeout"


def test_a_recording_that_comes_late_still_joins_a_root_that_waits(voice, conversation, langsmith_server):
    langsmith_server.down()
    conversation.expect_recording(timeout=1)
    voice.finish(conversation)
    voice.clock.advance(2)
    voice.write()
    voice.send()
    conversation.attach_recording(b"sound", "audio/ogg")
    langsmith_server.up()
    voice.send_for(60)
    assert status(langsmith_server) == "attached"
    assert langsmith_server.roots[0].attachments["conversation"].content == b"sound"


def test_a_recording_that_comes_after_its_root_is_kept(
    voice, conversation, langsmith_server, spool_dir, caplog
):
    voice.finish(conversation)
    voice.send()
    conversation.attach_recording(b"sound", "audio/ogg")
    assert "attachment.ogg" in kept(spool_dir)
    assert "a recording came after its root was sent; kept in" in caplog.text
    voice.send_for(100)
    assert len(langsmith_server.requests) == 1


@pytest.mark.parametrize("what", ["missing", "a folder", "empty"])
def test_what_cannot_be_read_is_told(voice, conversation, langsmith_server, tmp_path, what):
    (tmp_path / "empty").touch()
    source = {"missing": tmp_path / "missing.ogg", "a folder": tmp_path, "empty": tmp_path / "empty"}[what]
    conversation.attach_recording(source, "audio/ogg")
    voice.finish(conversation)
    voice.send()
    assert status(langsmith_server) == "unreadable"


def test_a_file_that_vanished_from_the_spool_does_not_hold_the_root(
    voice, conversation, langsmith_server, spool_dir
):
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.finish(conversation)
    for file in spool_dir.rglob("attachment.ogg"):
        file.unlink()
    voice.send_for(100)
    assert status(langsmith_server) == "unreadable"


def test_a_file_that_shrinks_while_it_is_sent_does_not_hold_the_root(
    voice, conversation, langsmith_server, spool_dir
):
    conversation.attach_recording(b"s" * 5_000_000, "audio/ogg")
    voice.finish(conversation)
    [file] = spool_dir.rglob("attachment.ogg")
    langsmith_server.fail(
        bytes_per_second=20_000_000, times=1, match=lambda _: not file.write_bytes(b"short")
    )
    voice.send_for(100)
    assert status(langsmith_server) == "unreadable"


def test_a_recording_that_is_too_large_is_encoded_smaller_once(
    voice, conversation, langsmith_server, spool_dir
):
    conversation.attach_recording(wav(5), "audio/wav")
    voice.finish(conversation)
    langsmith_server.max_body_bytes = 400_000
    voice.send_for(100)
    assert status(langsmith_server) == "attached"
    attachment = langsmith_server.roots[0].attachments["conversation"]
    assert attachment.mime_type == "audio/ogg"
    assert attachment.content.startswith(b"OggS")
    assert list(spool_dir.iterdir()) == []


def test_one_that_is_too_large_even_so_is_kept_as_it_was(voice, conversation, langsmith_server, spool_dir):
    recording = wav(5)
    conversation.attach_recording(recording, "audio/wav")
    voice.finish(conversation)
    langsmith_server.max_body_bytes = 10_000
    voice.send_for(100)
    assert status(langsmith_server) == "too_large"
    assert [request.status for request in langsmith_server.requests] == [413, 413, 200]
    [file] = spool_dir.rglob("attachment.wav")
    assert file.read_bytes() == recording


def test_the_recorders_file_is_taken_where_it_stands(voice, conversation, langsmith_server, spool_dir):
    delivery = conversation.deliveries[0]
    delivery.expect(60, recorder=True)
    file = record(delivery.folder / "recording.flac")
    voice.finish(conversation)
    delivery.attach(file, "audio/flac", recorder=True)
    voice.write()
    assert [path.name for path in spool_dir.rglob("*.flac")] == ["recording.flac"]
    voice.send()
    assert langsmith_server.roots[0].attachments["conversation"].content.startswith(b"fLaC")


def test_a_clients_recording_comes_before_the_recorders(voice, conversation, langsmith_server, caplog):
    delivery = conversation.deliveries[0]
    delivery.expect(60, recorder=True)
    file = record(delivery.folder / "recording.flac")
    voice.finish(conversation)
    conversation.attach_recording(b"what the browser played", "audio/webm")
    voice.write()
    delivery.attach(file, "audio/flac", recorder=True)
    voice.send()
    assert langsmith_server.roots[0].attachments["conversation"].content == b"what the browser played"
    assert caplog.text == ""


def test_a_recorder_that_heard_nothing_does_not_end_the_wait_for_the_client(
    voice, conversation, langsmith_server
):
    delivery = conversation.deliveries[0]
    conversation.expect_recording(timeout=30)
    delivery.expect(60, recorder=True)
    voice.finish(conversation)
    delivery.no_recording("none")
    voice.clock.advance(29)
    voice.write()
    assert voice.pipeline.writer.pending == 1
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.write()
    voice.send()
    assert status(langsmith_server) == "attached"


def test_the_recorders_recording_goes_when_the_clients_did_not_come(voice, conversation, langsmith_server):
    delivery = conversation.deliveries[0]
    conversation.expect_recording(timeout=30)
    voice.finish(conversation)
    delivery.attach(record(delivery.folder / "recording.flac"), "audio/flac", recorder=True)
    voice.clock.advance(30)
    voice.write()
    voice.send()
    assert langsmith_server.roots[0].attachments["conversation"].mime_type == "audio/flac"


def test_with_two_destinations_both_folders_have_what_is_recorded(manual, langsmith_server):
    with LangSmithServer() as other:
        voice = manual()
        second = voice.__class__(other, voice.clock)
        voice.provider.add_span_processor(second.processor)
        conversation = voice.conversation()
        second.write()
        folders = [delivery.folder for delivery in conversation.deliveries]
        record(folders[0] / "conversation.flac")
        second.write()
        assert (folders[1] / "conversation.flac").samefile(folders[0] / "conversation.flac")
        conversation.end()
        second.write()
        second.send()
        assert len(other.roots) == 1


def test_a_destination_that_is_quick_does_not_take_the_recording_from_the_other(manual, langsmith_server):
    with LangSmithServer() as other:
        voice = manual()
        second = voice.__class__(other, voice.clock)
        voice.provider.add_span_processor(second.processor)
        conversation = voice.conversation()
        second.write()
        recording = ConversationRecording(conversation.deliveries, Settings(), voice.clock)
        conversation.end()
        second.write()
        owner = conversation.deliveries[0]
        encoded = owner.folder / "conversation.ogg"
        encoded.write_bytes(b"OggS" * 1000)
        attach = owner.attach

        def attach_and_deliver(*arguments, **named):
            attached = attach(*arguments, **named)
            voice.write()
            voice.send()
            return attached

        owner.attach = attach_and_deliver
        recording._attach(encoded)
        second.write()
        second.send()
        for server in (langsmith_server, other):
            assert server.roots[0].attachments["conversation"].size == 4000
        recording.close()


def test_a_recording_that_is_not_encoded_in_time_goes_as_flac(voice, conversation, langsmith_server):
    delivery = conversation.deliveries[0]
    delivery.expect(60, recorder=True)
    record(delivery.folder / "recording.flac")
    (delivery.folder / "recording.ogg.part").write_bytes(b"half of it")
    voice.finish(conversation)
    voice.pipeline.writer.hurry(5)
    voice.clock.advance(5)
    voice.write()
    voice.send()
    assert status(langsmith_server) == "attached"
    assert langsmith_server.roots[0].attachments["conversation"].mime_type == "audio/flac"


@pytest.mark.parametrize(("has_audio", "told"), [(False, "none"), (True, "timeout")])
def test_a_recorder_that_was_given_nothing_is_not_late(
    voice, conversation, langsmith_server, has_audio, told
):
    recorder = Recorder(None)
    recorder._queue.has_audio = has_audio
    delivery = conversation.deliveries[0]
    delivery.recorded_by(recorder)
    delivery.expect(60, recorder=True)
    voice.finish(conversation)
    voice.pipeline.writer.hurry(0)
    voice.write()
    voice.send()
    assert status(langsmith_server) == told


def test_what_is_encoded_after_the_flac_has_gone_is_not_missed(
    voice, conversation, langsmith_server, spool_dir, caplog
):
    delivery = conversation.deliveries[0]
    delivery.expect(60, recorder=True)
    record(delivery.folder / "recording.flac")
    voice.finish(conversation)
    voice.clock.advance(60)
    voice.write()
    voice.send()
    encoded = spool_dir.parent / "recording.ogg"
    encoded.write_bytes(b"the same, encoded")
    delivery.attach(encoded, "audio/ogg", recorder=True)
    assert len(langsmith_server.roots) == 1
    assert [path.name for path in spool_dir.iterdir()] == []
    assert caplog.text == ""


def test_a_flac_goes_when_it_is_encoded(voice, conversation, langsmith_server, spool_dir):
    delivery = conversation.deliveries[0]
    delivery.expect(60, recorder=True)
    record(delivery.folder / "conversation.flac")
    encoded = delivery.folder / "conversation.ogg"
    encoded.write_bytes(b"the same, encoded")
    conversation.attach_recording(b"what the browser played", "audio/flac")
    delivery.attach(encoded, "audio/ogg", recorder=True)
    assert sorted(path.name for path in spool_dir.rglob("*.*") if path.suffix in (".flac", ".ogg")) == [
        "attachment.flac",
        "conversation.ogg",
    ]
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].attachments["conversation"].content == b"what the browser played"


def test_a_recording_that_is_not_finished_in_time_is_not_sent_half(voice, conversation, langsmith_server):
    delivery = conversation.deliveries[0]
    delivery.expect(5, recorder=True)
    whole = record(delivery.folder / "recording.flac").read_bytes()
    (delivery.folder / "recording.flac").write_bytes(torn(whole))
    voice.finish(conversation)
    voice.clock.advance(5)
    voice.write()
    voice.send()
    assert status(langsmith_server) == "timeout"


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("torn flac", ("attached", "audio/ogg")),
        ("whole flac", ("attached", "audio/ogg")),
        ("encoded", ("attached", "audio/ogg")),
        ("client's", ("attached", "audio/wav")),
        ("header of a flac", ("unreadable", None)),
        ("empty flac", ("none", None)),
        ("nothing", ("none", None)),
    ],
)
def test_what_a_dead_process_left_of_its_recording(voice, conversation, langsmith_server, left, expected):
    folder = conversation.deliveries[0].folder
    flac = folder / "recording.flac"
    if left in ("torn flac", "whole flac", "encoded", "header of a flac"):
        whole = record(flac, seconds=3).read_bytes()
        if left == "torn flac":
            flac.write_bytes(torn(whole))
        if left == "header of a flac":
            flac.write_bytes(whole[:30])
        if left == "encoded":
            (folder / "recording.ogg").write_bytes(b"OggS, encoded")
    elif left == "empty flac":
        flac.touch()
    elif left == "client's":
        conversation.attach_recording(wav(0.1), "audio/wav")
    voice.write()
    # As if the process had been killed: nobody holds the folder any more.
    voice.pipeline.writer._entries[next(iter(voice.pipeline.writer._entries))].folder.release()

    voice.send()

    assert langsmith_server.roots[0].status == "error"
    assert status(langsmith_server) == expected[0]
    attachment = langsmith_server.roots[0].attachments.get("conversation")
    assert (attachment and attachment.mime_type) == expected[1]
    if left == "torn flac":
        import io

        import soundfile

        recovered = soundfile.info(io.BytesIO(attachment.content))
        assert 2.5 < recovered.duration <= 3.0


LARGE = """
import os, resource, sys, threading
from opentelemetry.sdk.trace import TracerProvider
from voicespan.tracing.conversation import Conversation
from voicespan.delivery import LangSmithSpanProcessor
provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor())
small = Conversation(tracer_provider=provider)
small.attach_recording(b"warm", "audio/ogg")
small.end()
assert provider.force_flush(30_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
large = Conversation(tracer_provider=provider)
large.attach_recording(sys.argv[1], "audio/wav")
large.end()
assert provider.force_flush(120_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_recording_of_200_mb_takes_8_mb_of_memory(tmp_path, monkeypatch):
    recording = tmp_path / "long.wav"
    with recording.open("wb") as file:
        file.truncate(200_000_000)
    with LangSmithServer(max_body_bytes=300_000_000, save_attachments=tmp_path / "received") as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        monkeypatch.setenv("VOICESPAN_SPOOL_MAX_BYTES", "400000000")
        done = subprocess.run(
            [sys.executable, "-c", LARGE, str(recording)], capture_output=True, text=True, check=True
        )
        large = max(server.roots, key=lambda root: root.attachments["conversation"].size)
        assert large.attachments["conversation"].size == 200_000_000
    grown = int(done.stdout)
    assert grown <= 8, f"{grown} MB"


def test_an_exit_waits_for_the_recording_only_a_part_of_its_time(monkeypatch):
    program = """
from opentelemetry.sdk.trace import TracerProvider
from voicespan.tracing.conversation import Conversation
from voicespan.delivery import LangSmithSpanProcessor
provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor())
conversation = Conversation(tracer_provider=provider)
conversation.expect_recording(60)
"""
    with LangSmithServer() as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "2")
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", program], check=True)
        assert time.monotonic() - began < 5
        assert status(server) == "timeout"
        assert recover.recover() == 0


def test_an_exit_writes_what_the_thread_that_records_has_not_come_to(monkeypatch):
    """A process that had more to do than it could is seconds behind when everybody hangs up."""
    program = """
import voicespan
from voicespan.recording.recording_thread import RecordingThread

RecordingThread.run_once = lambda self: None
RecordingThread.behind = 5.0
provider = voicespan.configure()
with voicespan.conversation() as conversation:
    for n in range(40):
        conversation.recorder.agent(bytes([n + 1, 1]) * 12_000)
"""
    with LangSmithServer() as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "4")
        subprocess.run([sys.executable, "-c", program], check=True)
        assert status(server) == "attached"
        recording, rate = soundfile.read(
            io.BytesIO(server.roots[0].attachments["conversation"].content), dtype="int16"
        )
    heard = recording[recording[:, 1] != 0, 1]
    assert heard.tolist() == [257 + n for n in range(40) for _ in range(rate // 2)]
