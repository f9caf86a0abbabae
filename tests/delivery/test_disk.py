"""Disks that are full, slow, gone or somebody else's: the spool has bounds, and the traces arrive."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest

from voicespan.delivery.spool import spool as spool_module
from voicespan.delivery.spool.files import Files, Memory, MemoryFullError
from voicespan.delivery.spool.folder import Folder
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool
from voicespan.delivery.spool_writer import Ended
from voicespan.runtime import pacing
from voicespan.testing import LangSmithServer


@pytest.fixture(autouse=True)
def _say_again(monkeypatch):
    monkeypatch.setattr(spool_module, "_said", set())


def converse(voice, spans=3, **attributes):
    conversation = voice.conversation()
    for _ in range(spans):
        voice.child(conversation, "turn_complete", **attributes)
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.finish(conversation)
    return conversation


def test_only_the_user_can_read_the_spool(manual, spool_dir):
    voice = manual()
    voice.child(voice.conversation())
    voice.write()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [spool_dir, *spool_dir.rglob("*")]}
    assert set(modes.values()) == {0o700, 0o600}
    assert [name for name, mode in modes.items() if mode == 0o700] == [
        "spool",
        next(spool_dir.glob("[!.]*")).name,
    ]


def test_no_key_stands_in_the_spool(manual, spool_dir, langsmith_server):
    voice = manual(headers={"X-Secret": "also-secret"})
    langsmith_server.down()
    converse(voice)
    voice.send()
    everything = b"".join(path.read_bytes() for path in spool_dir.rglob("*") if path.is_file())
    assert langsmith_server.api_key.encode() not in everything
    assert b"also-secret" not in everything


def test_a_spool_that_cannot_be_used_is_replaced_by_the_temporary_folder(
    manual, tmp_path, monkeypatch, langsmith_server, caplog
):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    voice = manual(spool_dir=tmp_path / "file" / "spool")
    conversation = voice.conversation()
    [temporary] = (tmp_path / "tmp").iterdir()
    assert temporary.name == f"voicespan-{os.getuid()}"
    assert len(list(temporary.glob("[!.]*"))) == 1
    voice.finish(conversation)
    voice.send()
    assert len(langsmith_server.roots) == 1
    assert caplog.text.count("cannot use") == 1


def test_without_any_disk_conversations_go_through_memory(
    manual, tmp_path, monkeypatch, langsmith_server, caplog
):
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    voice = manual(spool_dir=tmp_path / "file" / "spool")
    assert voice.conversation().deliveries[0].folder is None
    langsmith_server.down()
    conversation = converse(voice)
    voice.send_for(100)
    langsmith_server.up()
    voice.send_for(300)
    [root] = langsmith_server.roots
    assert root.id == conversation.run_id
    assert len(root.children) == 3
    assert root.attachments["conversation"].content == b"sound"
    assert root.metadata["voicespan_spool"] == "memory"
    assert caplog.text.count("no disk takes the spool") == 1


def test_memory_is_bounded_too_and_what_it_cannot_hold_is_counted(
    manual, tmp_path, monkeypatch, langsmith_server
):
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 30_000)
    voice = manual(spool_dir=tmp_path / "file" / "spool")
    conversation = voice.conversation()
    for _ in range(10):
        voice.child(conversation, "turn_complete", **{"gen_ai.completion": "x" * 5000})
        voice.write()
    voice.finish(conversation)
    voice.send()
    [root] = langsmith_server.roots
    assert len(root.children) + root.metadata["dropped_spans"] == 10
    assert 3 <= len(root.children) <= 6


def test_a_temporary_folder_that_somebody_else_prepared_is_not_used(
    tmp_path, monkeypatch, fake_clock, caplog
):
    (tmp_path / "file").touch()
    (tmp_path / "trap").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"voicespan-{os.getuid()}").symlink_to(tmp_path / "trap")
    settings = SpoolSettings.from_environment({}, folder=tmp_path / "file" / "spool")
    assert Spool(settings, fake_clock).root is None
    assert "belongs to somebody else" in caplog.text
    (tmp_path / f"voicespan-{os.getuid()}").unlink()
    (tmp_path / f"voicespan-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"voicespan-{os.getuid()}").chmod(0o777)
    assert Spool(settings, fake_clock).root is None


def test_a_full_spool_drops_spans_and_counts_them_on_a_root_that_always_fits(
    manual, monkeypatch, langsmith_server, spool_dir
):
    monkeypatch.setenv("VOICESPAN_SPOOL_MAX_BYTES", "50000")
    voice = manual()
    langsmith_server.down()
    conversation = voice.conversation()
    for _ in range(20):
        voice.child(conversation, "turn_complete", **{"gen_ai.completion": "x" * 5000})
        voice.write()
    voice.finish(conversation)
    assert sum(path.stat().st_size for path in spool_dir.rglob("*") if path.is_file()) < 55_000
    langsmith_server.up()
    voice.send()
    [root] = langsmith_server.roots
    assert len(root.children) + root.metadata["dropped_spans"] == 20
    assert 5 <= len(root.children) <= 10
    # There is room again.
    voice.clock.advance(100)
    converse(voice)
    voice.send()
    assert "dropped_spans" not in langsmith_server.roots[1].metadata


def test_a_full_spool_takes_no_recording(manual, monkeypatch, langsmith_server, spool_dir, tmp_path):
    monkeypatch.setenv("VOICESPAN_SPOOL_MAX_BYTES", "50000")
    voice = manual()
    large, small = voice.conversation(), voice.conversation()
    (tmp_path / "large.wav").write_bytes(b"s" * 60_000)
    large.attach_recording(tmp_path / "large.wav", "audio/wav")
    assert small.deliveries[0].recording_folder() is not None
    small.attach_recording(b"s" * 40_000, "audio/wav")
    small.deliveries[0].attach(b"s" * 5_000, "audio/flac", recorder=True)
    (small.deliveries[0].folder / "recording.flac").write_bytes(b"s" * 5_000)
    voice.clock.advance(1000)
    voice.write()
    assert small.deliveries[0].recording_folder() is None
    assert large.deliveries[0].recording_folder() is None
    for conversation in (large, small):
        voice.finish(conversation)
        voice.send()
    statuses = {root.id: root.metadata["ls_audio_attach_status"] for root in langsmith_server.roots}
    assert statuses == {large.run_id: "spool_full", small.run_id: "attached"}
    assert (tmp_path / "large.wav").exists()


@pytest.mark.parametrize(
    ("max_bytes", "share"),
    [(2 << 30, 10), ((2 << 30) + 1, 2), (1 << 60, 2)],
    ids=["default", "raised", "huge"],
)
def test_a_spool_takes_a_share_of_the_free_disk_at_most(tmp_path, fake_clock, monkeypatch, max_bytes, share):
    free = 1 << 30
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    spool = Spool(SpoolSettings(tmp_path, tmp_path, max_bytes=max_bytes), fake_clock)
    # One part in twenty of it is kept for roots.
    most = free // share - free // share // 20
    assert spool.reserve(most - 1)
    assert not spool.reserve(2)
    assert spool.reserve(1)


def test_what_is_only_kept_makes_room_for_what_waits(
    manual, monkeypatch, langsmith_server, spool_dir, caplog
):
    monkeypatch.setenv("VOICESPAN_SPOOL_MAX_BYTES", "30000")
    voice = manual()
    langsmith_server.fail(status=422)
    first = voice.conversation()
    voice.child(first, "turn_complete", **{"gen_ai.completion": "x" * 20_000})
    voice.finish(first)
    voice.send()
    assert [path.name[:5] for path in spool_dir.iterdir()] == ["kept-"]
    langsmith_server.down()
    second = voice.conversation()
    second.attach_recording(b"s" * 20_000, "audio/ogg")
    voice.clock.advance(20)
    voice.child(second)
    voice.finish(second)
    assert [path.name[:5] for path in spool_dir.iterdir()] != ["kept-"]
    assert "removed kept-" in caplog.text
    langsmith_server.up()
    voice.send()
    assert len(langsmith_server.roots) == 2


FULL = """
import json, resource, signal, sys
from opentelemetry.sdk.trace import TracerProvider
from voicespan.tracing.conversation import Conversation
from voicespan.delivery import LangSmithSpanProcessor
provider = TracerProvider()
processor = LangSmithSpanProcessor()
provider.add_span_processor(processor)
tracer = provider.get_tracer("voicespan")
conversation = Conversation(tracer_provider=provider)
def children(count):
    for _ in range(count):
        with conversation.use():
            tracer.start_span("turn_complete", attributes={"gen_ai.completion": "x" * 3000}).end()
        provider.force_flush(100)
children(3)
# From here on the disk takes no file that is larger than this: a write is cut off in the middle.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
children(3)
entry = next(iter(processor._pipeline.writer._entries.values()))
memory = not entry.folder.files.all_on_disk
if sys.argv[1] == "freed":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    import time
    while not entry.folder.files.all_on_disk:
        time.sleep(0.05)
    children(2)
print(json.dumps({"run": conversation.run_id, "memory": memory, "files": entry.folder.files.names()}), flush=True)
conversation.end()
assert provider.force_flush(10_000)
"""


@pytest.mark.parametrize("then", ["full", "freed"])
def test_a_disk_that_fills_up_in_the_middle_costs_nothing(monkeypatch, spool_dir, then):
    with LangSmithServer() as server:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        done = subprocess.run([sys.executable, "-c", FULL, then], capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        assert told["memory"]
        assert len(server.run(told["run"]).children) == (6 if then == "full" else 8)
        assert "dropped_spans" not in server.run(told["run"]).metadata
    assert list(spool_dir.iterdir()) == []


def test_files_move_between_memory_and_disk(tmp_path):
    memory = Memory(100)
    files = Files(tmp_path, memory)
    files.append("a", b"12")
    files.append("a", b"34")
    assert (tmp_path / "a").read_bytes() == b"1234"
    files.keep("b", b"x" * 60)
    assert not files.all_on_disk
    assert (files.read("b"), files.size("b"), files.names()) == (b"x" * 60, 60, ["a", "b"])
    with pytest.raises(MemoryFullError):
        files.append("b", b"x" * 60)
    files.append("b", b"y" * 40)
    assert files.move_to_disk()
    assert (tmp_path / "b").read_bytes() == b"x" * 60 + b"y" * 40
    files.keep("c", b"z" * 100)
    files.remove("c")
    files.keep("d", b"z" * 100)
    files.remove_all()
    assert not tmp_path.exists()
    Files(None, memory).keep("e", b"z" * 100)
    with pytest.raises(FileNotFoundError):
        files.open("nothing")
    assert files.read("nothing") is None


def test_to_add_up_a_large_spool_is_spread_over_some_time(manual, monkeypatch):
    """With hundreds of folders it is thousands of calls of the system, and the interpreter is waited for after each."""
    voice = manual()
    for _ in range(3):
        voice.conversation()
    spread = []

    def told(pieces, work, seconds, clock):
        spread.append((len(pieces), seconds))
        assert not pacing._slot.lock.locked()

    monkeypatch.setattr(spool_module, "paced", told)
    voice.write()
    assert spread == []
    voice.clock.advance(10)
    voice.write()
    assert spread == [(3, 0.2)]


def test_a_span_is_let_go_when_it_is_written(manual, monkeypatch):
    """What hundreds of conversations hold makes the garbage collector look through the process again and again."""
    voice = manual()
    conversations = [voice.conversation() for _ in range(3)]
    for conversation in conversations:
        voice.child(conversation)
    queued = [event.span for event in voice.pipeline.writer._queue if isinstance(event, Ended)]
    written = [weakref.ref(span) for span in queued]
    del queued
    held = []

    def append(folder, envelope, spans, **room):
        held.append(sum(span() is not None for span in written))

    monkeypatch.setattr(Folder, "append", append)
    voice.write()
    # The one that is being written, and those after it.
    assert held == [3, 2, 1]
