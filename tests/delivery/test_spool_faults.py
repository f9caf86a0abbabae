"""No failure of the disk is for ever, and none costs more than what it hit."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from voicespan.delivery.spool import folder as folder_module
from voicespan.delivery.spool import spool as spool_module


@pytest.fixture(autouse=True)
def _say_again(monkeypatch):
    monkeypatch.setattr(spool_module, "_said", set())


@pytest.fixture
def voice(manual):
    return manual()


def converse(voice, spans=3, **attributes):
    conversation = voice.conversation()
    for _ in range(spans):
        voice.child(conversation, "turn_complete", **attributes)
    conversation.attach_recording(b"sound" * 100, "audio/ogg")
    voice.finish(conversation)
    return conversation


def left_by_the_dead(voice):
    """The folder of a conversation that waits, which no process works on."""
    converse(voice)
    voice.server.down()
    voice.send()
    voice.server.up()
    [job] = voice.pipeline.scheduler._jobs.values()
    voice.pipeline.scheduler._jobs.clear()
    return Path(job.path)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"status": "attached", "fi', b'{"status": "attached"}'])
def test_a_damaged_settled_file_costs_no_recording(manual, voice, langsmith_server, damage):
    path = left_by_the_dead(voice)
    (path / "settled.json").write_bytes(damage)
    manual().send_for(5)
    [root] = langsmith_server.roots
    assert root.metadata["ls_audio_attach_status"] == "attached"
    assert [each.content for each in root.attachments.values()] == [b"sound" * 100]


def test_a_settled_file_that_names_another_file_costs_no_recording(manual, voice, langsmith_server):
    path = left_by_the_dead(voice)
    (path / "settled.json").write_text(
        '{"status": "attached", "file": "recording.flac", "mime_type": "audio/flac"}'
    )
    manual().send_for(5)
    assert langsmith_server.roots[0].metadata["ls_audio_attach_status"] == "attached"


def test_a_folder_that_is_being_made_is_not_swept(voice, spool_dir):
    voice.conversation()
    making = spool_dir / ".new-something"
    making.mkdir(mode=0o700)
    (making / "lock").touch()
    voice.pipeline.spool.tidy()
    assert making.exists()
    os.utime(making, (0, 0))
    voice.pipeline.spool.tidy()
    assert not making.exists()


def test_a_folder_that_a_kill_left_half_made_is_swept_after_an_hour(voice, spool_dir):
    voice.conversation()
    making = spool_dir / ".new-something"
    making.mkdir(mode=0o700)
    made_at = voice.clock.time_ns()
    os.utime(making, ns=(made_at, made_at))
    voice.clock.advance(3_599)
    voice.pipeline.spool.tidy()
    assert making.exists()
    voice.clock.advance(2)
    voice.pipeline.spool.tidy()
    assert not making.exists()


def test_a_call_whose_folder_could_not_be_made_comes_to_the_disk_when_that_works_again(
    voice, langsmith_server, spool_dir, monkeypatch
):
    make = folder_module._make

    def fail(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(folder_module, "_make", fail)
    conversation = voice.conversation()
    voice.child(conversation, "before")
    voice.write()
    assert conversation.deliveries[0].folder is None
    assert list(spool_dir.iterdir()) == []
    monkeypatch.setattr(folder_module, "_make", make)
    voice.clock.advance(2)
    voice.write()
    [folder] = spool_dir.glob("[!.]*")
    assert conversation.deliveries[0].folder == folder
    assert {"meta.json", "open.pb", "spans-000.journal"} <= {path.name for path in folder.iterdir()}
    voice.child(conversation, "after")
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.finish(conversation)
    voice.send()
    [root] = langsmith_server.roots
    assert [run.name for run in root.children] == ["before", "after"]
    assert root.attachments
    assert "voicespan_spool" not in root.metadata
    assert list(spool_dir.iterdir()) == []


def test_a_disk_that_does_not_say_whether_there_is_a_root_costs_no_root(voice, langsmith_server, monkeypatch):
    """The folder was removed when its children were sent: it was taken to have no root."""
    conversation = voice.conversation()
    voice.child(conversation)
    voice.finish(conversation)
    lstat = Path.lstat

    def stale(path):
        if path.name == "root.pb":
            raise OSError(errno.ESTALE, "Stale file handle")
        return lstat(path)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "lstat", stale)
        voice.send()
    assert langsmith_server.roots == []
    voice.send_for(60)
    assert len(langsmith_server.roots) == 1


def test_what_was_delivered_from_memory_leaves_no_folder_on_a_full_disk(
    voice, langsmith_server, spool_dir, monkeypatch
):
    """An empty file has room on it: the folder stayed, with a `meta.json` that said nothing."""
    write = folder_module._write

    def full(folder, name, content):
        if content:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(folder, name, content)

    monkeypatch.setattr(folder_module, "_write", full)
    conversation = voice.conversation()
    voice.finish(conversation)
    voice.send()
    assert len(langsmith_server.roots) == 1
    assert list(spool_dir.iterdir()) == []


def test_on_a_full_disk_memory_stands_in_and_what_it_holds_goes_to_the_disk_when_there_is_room(
    voice, langsmith_server, spool_dir, monkeypatch
):
    free = SimpleNamespace(bytes=0)
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=free.bytes))
    conversation = voice.conversation()
    for _ in range(200):
        voice.child(conversation, "turn_complete", text="x" * 1000)
    voice.write()
    assert conversation.deliveries[0].folder is not None
    [entry] = voice.pipeline.writer._entries.values()
    assert entry.folder.files.kept_bytes > 200_000
    free.bytes = 10 << 30
    for _ in range(2):
        voice.clock.advance(11)
        voice.write()
    assert entry.folder.files.all_on_disk
    voice.finish(conversation)
    voice.send()
    [root] = langsmith_server.roots
    assert len(root.children) == 200
    assert "dropped_spans" not in root.metadata


def test_a_full_spool_still_drops_and_counts(voice, langsmith_server, monkeypatch):
    monkeypatch.setattr(
        voice.pipeline.spool,
        "settings",
        voice.pipeline.spool.settings.__class__(
            voice.pipeline.spool.settings.folder, voice.pipeline.spool.settings.temporary, max_bytes=1000
        ),
    )
    conversation = voice.conversation()
    for _ in range(20):
        voice.child(conversation, "turn_complete", text="x" * 1000)
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].metadata["dropped_spans"] == 20


def test_a_folder_of_another_machine_is_left_alone_while_it_shows_signs_of_life(
    manual, voice, langsmith_server, monkeypatch
):
    """There are volumes whose locks hold on one machine alone."""
    path = left_by_the_dead(voice)
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    now = voice.clock.time_ns() / 1e9
    for file in path.iterdir():
        os.utime(file, (now, now))
    other = manual()
    other.send_for(600)
    assert langsmith_server.roots == []
    other.send_for(600)
    assert len(langsmith_server.roots) == 1


def test_what_waits_for_another_key_is_said_once_and_is_not_in_the_way(  # noqa: PLR0917  fixtures
    manual, voice, langsmith_server, spool_dir, caplog, monkeypatch
):
    conversation = voice.conversation()
    for _ in range(50):
        voice.child(conversation, "turn_complete", text="x" * 1000)
    voice.finish(conversation)
    langsmith_server.api_keys[:] = ["lsv2_pt_replaced"]
    voice.send()
    monkeypatch.setenv("VOICESPAN_SPOOL_MAX_BYTES", "60000")
    other = manual(api_key="lsv2_pt_replaced")
    for _ in range(2):
        converse(other)
        other.send_for(120)
    assert [len(root.children) for root in langsmith_server.roots] == [3, 3]
    assert {root.metadata["ls_audio_attach_status"] for root in langsmith_server.roots} == {"attached"}
    assert caplog.text.count("1 conversation waits in ") == 1
    assert "for another key or project" in caplog.text
    assert len(list(spool_dir.iterdir())) == 1


def test_what_has_to_wait_is_safe_from_a_power_cut(voice, langsmith_server, spool_dir, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), fsync(descriptor))
    )
    converse(voice)
    voice.send()
    assert synced == []
    langsmith_server.down()
    converse(voice)
    voice.send()
    [folder] = spool_dir.glob("[!.]*")
    wanted = {path.stat().st_ino for path in folder.iterdir() if path.name != "progress.json"}
    assert wanted | {folder.stat().st_ino} <= set(synced)
    count = len(synced)
    voice.send_for(60)
    assert len(synced) == count


def test_a_place_that_was_not_there_is_looked_for_again(voice, spool_dir, monkeypatch):
    choose = voice.pipeline.spool._choose
    monkeypatch.setattr(voice.pipeline.spool, "_choose", lambda: None)
    conversation = voice.conversation()
    assert not spool_dir.exists()
    monkeypatch.setattr(voice.pipeline.spool, "_choose", choose)
    for _ in range(2):
        voice.clock.advance(11)
        voice.write()
    [folder] = spool_dir.glob("[!.]*")
    assert conversation.deliveries[0].folder == folder
