"""`attach_recording` returns at once, whatever the disk does, and nothing is lost by that."""

from __future__ import annotations

import threading
import time

import pytest

from voicespan.delivery import attachments
from voicespan.delivery.spool.files import Files


@pytest.fixture
def disk(monkeypatch):
    """A disk that copies when the test says so."""
    works = threading.Event()
    copy_in = Files.copy_in

    def wait(files, name, source):
        assert works.wait(10)
        copy_in(files, name, source)

    monkeypatch.setattr(Files, "copy_in", wait)
    monkeypatch.setattr(attachments, "_COPIED_AT_ONCE", 0)
    return works


def recording(langsmith_server):
    return [each.content for root in langsmith_server.roots for each in root.attachments.values()]


def test_it_returns_before_the_file_is_copied_and_the_root_waits(agent, langsmith_server, disk, tmp_path):
    voice = agent()
    conversation = voice.conversation()
    file = tmp_path / "call.ogg"
    file.write_bytes(b"sound" * 100_000)
    attached = conversation.attach_recording(file, "audio/ogg")
    assert not attached.wait(0)
    file.unlink()
    conversation.end()
    assert not voice.deliver(0.2)
    assert langsmith_server.roots == []
    disk.set()
    assert attached.wait(10)
    assert voice.deliver()
    assert recording(langsmith_server) == [b"sound" * 100_000]


def test_a_flush_waits_for_the_copy_of_a_call_that_goes_on(agent, disk):
    voice = agent()
    conversation = voice.conversation()
    attached = conversation.attach_recording(b"sound" * 100_000, "audio/ogg")
    assert not voice.deliver(0.2)
    disk.set()
    assert voice.deliver()
    assert attached.wait(0)
    assert (conversation.deliveries[0].folder / "attachment.ogg").exists()
    conversation.end()


def test_a_folder_that_is_not_made_yet_is_not_waited_for(manual, langsmith_server):
    voice = manual()
    conversation = super(type(voice), voice).conversation(clock=voice.clock)
    attached = conversation.attach_recording(b"sound", "audio/ogg")
    assert not attached.wait(0)
    # The writer makes the folder, in a thread of its own.
    voice.pipeline.writer.step()
    voice.finish(conversation)
    assert attached.wait(0)
    voice.write()
    voice.send()
    assert recording(langsmith_server) == [b"sound"]


@pytest.mark.parametrize("source", [b"", "/nowhere.ogg", "with\0zero"])
def test_what_cannot_be_attached_is_over_at_once(manual, langsmith_server, source):
    voice = manual()
    conversation = voice.conversation()
    assert conversation.attach_recording(source, "audio/ogg").wait(0)
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].metadata["ls_audio_attach_status"] == "unreadable"


def test_where_nothing_is_delivered_there_is_nothing_to_wait_for(agent):
    conversation = agent().conversation()
    conversation.deliveries.clear()
    assert conversation.attach_recording(b"sound", "audio/ogg").wait(0)
    conversation.end()


def test_what_waits_when_the_process_ends_is_closed(manual, monkeypatch, tmp_path):
    """It stayed open, and Python warned of it."""
    monkeypatch.setattr(attachments, "_COPIED_AT_ONCE", 0)
    voice = manual()
    conversation = voice.conversation()
    opened = []
    open_source = attachments.recording_files.open_source
    monkeypatch.setattr(
        attachments.recording_files,
        "open_source",
        lambda source: opened.append(open_source(source)) or opened[-1],
    )
    (tmp_path / "call.ogg").write_bytes(b"sound" * 100)
    before = conversation.attach_recording(tmp_path / "call.ogg", "audio/ogg")
    assert not opened[0].closed
    voice.pipeline.stop()
    after = conversation.attach_recording(tmp_path / "call.ogg", "audio/ogg")
    assert [each.closed for each in opened] == [True, True]
    assert before.wait(0)
    assert after.wait(0)


def test_a_recording_that_begins_before_its_folder_is_made_keeps_nobody_waiting(manual):
    """It waited up to 5 seconds, and with it all other recordings of the process."""
    way = attachments.RootAttachment(manual().clock, manual().pipeline)
    began = time.monotonic()
    assert way.recording_folder() is None
    assert time.monotonic() - began < 1


def test_three_hundred_megabytes_hold_an_event_loop_for_no_time(agent, monkeypatch, tmp_path):
    copied_by = []
    monkeypatch.setattr(Files, "copy_in", lambda *_: copied_by.append(threading.current_thread().name))
    conversation = agent().conversation()
    with (tmp_path / "call.wav").open("wb") as file:
        file.truncate(300_000_000)
    # The thread's own processor time: whoever else the machine is busy with does not count.
    began = time.thread_time()
    attached = conversation.attach_recording(tmp_path / "call.wav", "audio/wav")
    assert time.thread_time() - began < 0.02
    assert attached.wait(10)
    assert threading.current_thread().name not in copied_by
    conversation.end()
