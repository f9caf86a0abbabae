"""Traps in the spool and at its doors: nothing is followed, nothing is waited for, nothing else is hurt."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import tracemalloc
from types import SimpleNamespace

import pytest

from voicespan.cli import recover
from voicespan.cli import spool as commands
from voicespan.delivery.attachments import RootAttachment
from voicespan.delivery.encoding import journal
from voicespan.delivery.export.delivery_state import DeliveryState
from voicespan.delivery.spool import files, secure_file
from voicespan.delivery.spool import spool as spool_module
from voicespan.delivery.spool.files import Files, Memory, MemoryFullError
from voicespan.delivery.spool.folder import Folder, RecordingResult, read_meta
from voicespan.delivery.spool.locks import FolderLock
from voicespan.delivery.spool.meta import Meta
from voicespan.delivery.spool.settings import SpoolSettings
from voicespan.delivery.spool.spool import Spool
from voicespan.recording.codec.audio_file import AudioFile
from voicespan.runtime import guard

SECRET = b"root:x:0:0:the secret of this test"
STRANGER = 65_534
#: What this process has open.
OPEN = pathlib.Path("/proc/self/fd")

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


@pytest.fixture(autouse=True)
def _say_again(monkeypatch):
    monkeypatch.setattr(spool_module, "_said", set())


@pytest.fixture(autouse=True)
def _in_time():
    """What waits for the other end of a FIFO waits for ever."""

    def too_late(*_):
        # Not an OSError, which is what a trap is expected to be.
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def quiet_guard(monkeypatch):
    """As in production: what goes wrong with one folder is logged."""
    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setattr(guard, "_reported", set())


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@contextlib.contextmanager
def a_socket(path):
    # By a short name: a socket's path has a hundred bytes at most.
    here = pathlib.Path.cwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(path.parent)
        listening.bind(path.name)
        os.chdir(here)
        yield


def lay(trap, path, secret):
    """Put a trap where a file was."""
    path.unlink(missing_ok=True)
    if trap == "link":
        path.symlink_to(secret)
    elif trap == "link to a device":
        path.symlink_to("/dev/zero")
    elif trap == "fifo":
        os.mkfifo(path)
    elif trap == "folder":
        path.mkdir()
    elif trap == "socket":
        with a_socket(path):
            pass


TRAPS = ["link", "link to a device", "fifo", "folder", "socket"]
FILES = [
    "meta.json",
    "open.pb",
    "spans-000.journal",
    "root.pb",
    "settled.json",
    "progress.json",
    "attachment.ogg",
]


@pytest.fixture
def voice(manual):
    return manual()


@pytest.fixture
def destination(monkeypatch, langsmith_server):
    monkeypatch.setenv("LANGSMITH_API_KEY", langsmith_server.api_key)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith_server.url)


@pytest.fixture
def waiting(voice, langsmith_server, spool_dir):
    """A conversation that waits in a spool, with every file that there is."""
    langsmith_server.fail(status=503)
    conversation = voice.conversation(thread_id="caller-1")
    voice.child(conversation)
    conversation.attach_recording(b"sound", "audio/ogg")
    voice.finish(conversation)
    voice.send()
    [folder] = spool_dir.glob("[!.]*")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    return folder


def listed(clock, **arguments):
    out = io.StringIO()
    assert commands.spool(out=out, clock=clock, **arguments) == 0
    return out.getvalue().splitlines()


def recovered(clock, **arguments):
    out = io.StringIO()
    code = recover.recover(out=out, clock=clock, sleep=clock.advance, patience=20, **arguments)
    return code, out.getvalue().splitlines()


def everything(server):
    """All that the server was told."""
    attachments = [attachment.content for run in server.runs for attachment in run.attachments.values()]
    return server.render().encode() + b"".join(attachments)


# Traps in a folder


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("quiet_guard", "destination")
def test_a_trap_in_a_folder_is_not_followed_and_keeps_nobody_waiting(
    *, name, trap, waiting, voice, secret, langsmith_server
):
    lay(trap, waiting / name, secret)
    other = voice.conversation()
    voice.finish(other)
    assert any("caller-1" in line or waiting.name in line for line in listed(voice.clock))
    voice.send_for(400)
    recovered(voice.clock)
    assert langsmith_server.run(other.run_id).id == other.run_id
    assert secret.read_bytes() == SECRET
    assert SECRET not in everything(langsmith_server)
    if name == "attachment.ogg":
        [root] = [root for root in langsmith_server.roots if root.id != other.run_id]
        assert root.metadata["ls_audio_attach_status"] == "unreadable"


@pytest.mark.parametrize("left", ["nothing", "no bytes", "zeros", "noise"])
@pytest.mark.parametrize("name", ["root.pb", "open.pb"])
def test_what_the_disk_has_damaged_does_not_hold_up_the_rest(name, left, waiting, voice, langsmith_server):
    """A power cut leaves zeros, or nothing. The children and the recording are there all the same."""
    damage(waiting / name, left)
    voice.send_for(400)
    [root] = langsmith_server.roots
    assert [run.name for run in langsmith_server.runs if run is not root] == ["turn_complete"]
    assert root.metadata["thread_id"] == "caller-1"
    assert root.attachments["conversation"].content == b"sound"
    assert (root.error is not None) == (name == "root.pb")
    assert not waiting.exists()


@pytest.mark.parametrize("left", ["nothing", "no bytes", "zeros", "noise"])
def test_nor_after_a_kill(left, voice, langsmith_server, spool_dir):
    voice.child(voice.conversation(thread_id="caller-1"))
    voice.write()
    [entry] = voice.pipeline.writer._entries.values()
    entry.folder.release()
    voice.pipeline.writer.reset_after_fork()
    [folder] = spool_dir.glob("[!.]*")
    damage(folder / "open.pb", left)
    voice.clock.advance(100)
    voice.send_for(400)
    [root] = langsmith_server.roots
    assert [run.name for run in langsmith_server.runs if run is not root] == ["turn_complete"]
    assert root.metadata["thread_id"] == "caller-1"
    assert "process ended" in root.error


def damage(path, left):
    path.unlink()
    if left != "nothing":
        path.write_bytes({"no bytes": b"", "zeros": bytes(3_000), "noise": b"\xff\x01\xfe" * 1_000}[left])


def test_a_dead_processs_recording_is_not_repaired_through_a_link(
    voice, langsmith_server, spool_dir, tmp_path
):
    """Repairing writes."""
    outside = tmp_path / "precious.flac"
    torn = b"fLaC\0\0\0\x22" + bytes(2000)
    outside.write_bytes(torn)
    voice.conversation()
    [entry] = voice.pipeline.writer._entries.values()
    (entry.folder.files.folder / "recording.flac").symlink_to(outside)
    entry.folder.release()
    voice.pipeline.writer.reset_after_fork()
    voice.clock.advance(100)
    voice.send_for(10)
    assert langsmith_server.roots[0].metadata["ls_audio_attach_status"] == "none"
    assert langsmith_server.roots[0].attachments == {}
    assert outside.read_bytes() == torn


def test_removing_a_folder_removes_links_and_not_what_they_lead_to(
    waiting, voice, tmp_path, langsmith_server
):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (waiting / "link").symlink_to(tmp_path / "outside")
    voice.send_for(10)
    assert len(langsmith_server.roots) == 1
    assert not waiting.exists()
    assert (tmp_path / "outside" / "file").exists()


def test_a_link_to_a_folder_is_no_folder_of_the_spool(waiting, voice, tmp_path, spool_dir):
    elsewhere = waiting.rename(tmp_path / "elsewhere")
    waiting.symlink_to(elsewhere)
    assert listed(voice.clock) == [str(spool_dir), "nothing waits"]
    assert read_meta(elsewhere) is not None
    assert read_meta(waiting) is None
    with pytest.raises(OSError, match=r"directory|symbolic"):
        Files(waiting, Memory(0)).open("root.pb")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_not_used(waiting, voice, mode, langsmith_server, spool_dir):
    waiting.chmod(mode)
    assert "not a folder of this version and this user" in listed(voice.clock)[-1]
    with pytest.raises(PermissionError, match="others can write"):
        Folder.claim(waiting, Memory(0))
    waiting.chmod(0o700)
    assert "waits" in listed(voice.clock)[-1]


@only_root
def test_somebody_elses_file_in_a_folder_is_not_read(waiting):
    """A hard link to it, where the system allows that."""
    os.chown(waiting / "root.pb", STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="somebody else's"):
        Files(waiting, Memory(0)).open("root.pb")
    assert read_meta(waiting) is not None


@only_root
def test_root_may_recover_what_is_somebody_elses(waiting):
    for path in (waiting, *waiting.iterdir()):
        os.chown(path, STRANGER, STRANGER)
    assert read_meta(waiting) is not None


@only_root
def test_somebody_elses_folder_is_not_used():
    """Asked by a process that is not root."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        folder = pathlib.Path("/tmp") / f"voicespan-test-{os.getpid()}"
        folder.mkdir(mode=0o755)
        os.setuid(STRANGER)
        try:
            with secure_file.opened(folder):
                os.write(write, b"opened")
        except PermissionError as error:
            os.write(write, str(error.strerror).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    (pathlib.Path("/tmp") / f"voicespan-test-{child}").rmdir()
    assert os.read(read, 100) == b"others can write there, or it is somebody else's"
    os.close(read)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\0b", None, 7])
def test_only_plain_names_are_opened(tmp_path, secret, name):
    (tmp_path / "folder").mkdir(mode=0o700)
    inside = Files(tmp_path / "folder", Memory(0))
    for use in (inside.open, inside.read, lambda name: inside.append(name, b"x")):
        with pytest.raises(OSError, match="not the name"):
            use(name)
    with pytest.raises(MemoryFullError):
        inside.replace(name, b"x")
    assert not inside.exists(name)
    assert secret.read_bytes() == SECRET


def test_what_is_written_goes_through_no_link(tmp_path, secret):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    for name in ("appended", ".replaced.new", "replaced", ".copied.new", "audio.flac"):
        (folder / name).symlink_to(secret)
    inside = Files(folder, Memory(0))
    with pytest.raises(OSError, match="symbolic"):
        inside.append("appended", b"x")
    inside.replace("replaced", b"x")
    inside.copy_in("copied", io.BytesIO(b"y"))
    with pytest.raises(FileExistsError):
        AudioFile(folder / "audio.flac", "flac", 24_000, 2)
    assert secret.read_bytes() == SECRET
    assert (inside.read("replaced"), inside.read("copied")) == (b"x", b"y")
    assert not (folder / "replaced").is_symlink()


# What stands in the files

META = {
    "version": 1,
    "destination": {"url": "https://h", "project": None},
    "started_at": 1_700_000_000_000_000_000,
    "trace_id": "0" * 31 + "1",
    "root_span_id": "0" * 15 + "1",
    "thread_id": "t",
    "after": None,
    "process": 1,
    "host": "h",
}
BAD_META = {
    "version": [2, None, "1"],
    "destination": [None, [], "x", {"url": 7}, {"url": {}}],
    "started_at": [None, "now", -1, 1 << 80, 1.5, True, {}],
    "trace_id": [7, "", "xyz", "0" * 33, "../../.."],
    "root_span_id": [7, "0" * 15, "\n" * 16],
    "thread_id": [7, [], {}],
    "after": [7, "..", "../..", "a/b", ""],
    "process": ["1", None],
    "host": [None, 7],
    "more": [1],
}
SETTLED = {"status": "attached", "file": "recording.ogg", "mime_type": "audio/ogg", "started_at": 1.5}
BAD_SETTLED = {
    "status": [None, 7, []],
    "file": ["../../secret", "/etc/passwd", "", "..", 7, ["a"]],
    "mime_type": [None, 7],
    "started_at": ["now", float("nan"), float("inf"), [], True],
    "more": [1],
}
BATCH = {"segment": "spans-000.journal", "start": 0, "end": 9, "envelope": 0, "spans": 1}
BAD_PROGRESS = {
    "cut": [7, [], {"../../secret": 0}, {"a": -1}, {"a": "b"}],
    "batches": [
        7,
        [7],
        [{}],
        *([{**BATCH, name: value}] for name in BATCH for value in ("../x", -1, None, [], 1.5)),
        [{**BATCH, "refused": 7}],
        [{**BATCH, "delivered_at": "now"}],
        [{**BATCH, "more": 7}],
    ],
    "root_delivered_at": ["now", []],
    "root_refused": [7],
    "encoding": ["none", 7, []],
    "reason": [7, []],
    "lost": ["many", None],
    "more": [1],
}


def cases(bad):
    return [(name, value) for name, values in bad.items() for value in values]


@pytest.mark.parametrize(("name", "value"), cases(BAD_META))
def test_a_folder_whose_meta_is_of_another_kind_is_no_folder(name, value):
    assert Meta.of(json.dumps(META).encode()) is not None
    assert Meta.of(json.dumps({**META, name: value}).encode()) is None


@pytest.mark.parametrize(("name", "value"), cases(BAD_SETTLED))
def test_a_recording_that_is_told_of_in_another_kind_is_unreadable(name, value):
    assert RecordingResult.of(json.dumps(SETTLED).encode()) == RecordingResult(**SETTLED)
    assert RecordingResult.of(json.dumps({**SETTLED, name: value}).encode()) is None


@pytest.mark.parametrize(("name", "value"), cases(BAD_PROGRESS))
def test_progress_of_another_kind_is_no_progress(name, value):
    sound = {"batches": [BATCH], "cut": {BATCH["segment"]: 9}, "lost": 1, "reason": "r"}
    assert len(DeliveryState.of(json.dumps(sound).encode()).batches) == 1
    assert DeliveryState.of(json.dumps({**sound, name: value}).encode()) == DeliveryState(root_sent=True)


@pytest.mark.parametrize(
    "written", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff", b"null", b"7", b"[]", b'"x"']
)
def test_json_that_is_none_or_has_no_end_is_nothing(written):
    assert Meta.of(written) is None
    assert RecordingResult.of(written) is None
    assert DeliveryState.of(written) == DeliveryState(root_sent=True)


@pytest.mark.usefixtures("destination")
def test_a_path_in_the_place_of_a_recordings_name_sends_nothing_else(
    waiting, voice, secret, langsmith_server
):
    (waiting / "settled.json").write_text(json.dumps({**SETTLED, "file": "../../secret"}))
    voice.send_for(60)
    # The recording that is there goes instead.
    assert langsmith_server.roots[0].metadata["ls_audio_attach_status"] == "attached"
    assert SECRET not in everything(langsmith_server)


@contextlib.contextmanager
def little_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("name", ["meta.json", "settled.json", "progress.json"])
@pytest.mark.usefixtures("quiet_guard")
def test_facts_of_a_gigabyte_are_not_read(waiting, voice, name):
    os.truncate(waiting / name, 1 << 30)
    with little_memory():
        assert len(listed(voice.clock)) == 3


@pytest.mark.parametrize("length", [(1 << 32) - 1, 1 << 31, 1 << 26])
def test_a_records_length_is_not_believed(length, tmp_path):
    header = struct.pack(">4scII", b"\xf5VS1", b"S", length, 0)
    (tmp_path / "journal").write_bytes(header + journal.record(journal.Kind.SPAN, b"span"))
    with little_memory(), (tmp_path / "journal").open("rb") as file:
        found = list(journal.read(file))
    assert [record.payload for record in found] == [b"span"]


def test_a_file_that_is_larger_than_any_is_not_read(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    (tmp_path / "root.pb").touch()
    os.truncate(tmp_path / "root.pb", files._MOST + 1)
    monkeypatch.setattr(files, "_MOST", 1000)
    with pytest.raises(OSError, match="larger"):
        Files(tmp_path, Memory(0)).read("root.pb", 1000)


def test_what_is_shown_has_no_command_for_a_terminal(waiting, voice, langsmith_server):
    meta = json.loads((waiting / "meta.json").read_text())
    meta["thread_id"] = "\x1b]0;title\x07caller\n\u202eforged line"
    meta["destination"]["project"] = "p\x1b[2J"
    (waiting / "meta.json").write_text(json.dumps(meta))
    progress = json.loads((waiting / "progress.json").read_text())
    progress["reason"] = "\x9b31mred\r"
    (waiting / "progress.json").write_text(json.dumps(progress))
    (waiting.parent / "2026\x1b[31m\nforged line").mkdir()
    lines = listed(voice.clock)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert any("caller �forged line" in line and "waits: �31mred" in line for line in lines)


# Where the spool stands


def modes(*places):
    return {path.stat().st_mode & 0o777 for place in places for path in (place, *place.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_whatever_the_umask_is_nobody_else_reads_or_enters(manual, tmp_path, umask, langsmith_server):
    before = os.umask(umask)
    try:
        voice = manual(spool_dir=tmp_path / "a" / "b" / "spool")
        langsmith_server.fail(status=503)
        conversation = voice.conversation()
        voice.child(conversation)
        assert conversation.deliveries[0].recording_folder() is not None
        recording = AudioFile(conversation.deliveries[0].folder / "recording.flac", "flac", 24_000, 2)
        recording.close()
        conversation.attach_recording(b"sound", "audio/ogg")
        voice.finish(conversation)
        voice.send()
    finally:
        os.umask(before)
    assert modes(tmp_path / "a") == {0o700, 0o600}
    [folder] = (tmp_path / "a" / "b" / "spool").glob("[!.]*")
    assert len(list(folder.iterdir())) == len(FILES) + 1


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775])
@pytest.mark.usefixtures("destination")
def test_in_a_place_that_others_can_write_the_spool_is_a_folder_of_its_own(
    *, manual, tmp_path, mode, langsmith_server, fake_clock
):
    """A volume that several containers share, say."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(mode)
    voice = manual(spool_dir=volume)
    langsmith_server.down()
    voice.finish(voice.conversation())
    voice.send_for(5)
    assert [path.name for path in volume.iterdir()] == [f"voicespan-{os.geteuid()}"]
    assert modes(volume / f"voicespan-{os.geteuid()}") == {0o700, 0o600}
    assert "waits" in listed(fake_clock, spool_dir=volume)[-1]
    langsmith_server.up()
    assert recovered(fake_clock, spool_dir=volume)[0] == 0
    assert len(langsmith_server.roots) == 1


def test_a_folder_that_is_swapped_for_anothers_while_it_is_used_gets_nothing(
    voice, spool_dir, tmp_path, langsmith_server, caplog
):
    assert voice.pipeline.spool.root == spool_dir
    spool_dir.rename(tmp_path / "away")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap").chmod(0o777)
    spool_dir.symlink_to(tmp_path / "trap")
    conversation = voice.conversation()
    voice.child(conversation)
    voice.finish(conversation)
    assert list((tmp_path / "trap").iterdir()) == []
    assert "conversations are kept in memory" in caplog.text
    voice.send_for(100)
    assert langsmith_server.run(conversation.run_id).metadata["voicespan_spool"] == "memory"


@only_root
def test_a_temporary_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch, fake_clock, caplog):
    (tmp_path / "file").touch()
    trap = tmp_path / f"voicespan-{os.getuid()}"
    trap.mkdir(mode=0o700)
    os.chown(trap, STRANGER, STRANGER)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool(SpoolSettings.from_environment({}, folder=tmp_path / "file" / "spool"), fake_clock)
    assert spool.root is None
    assert list(trap.iterdir()) == []
    assert "belongs to somebody else" in caplog.text
    assert spool.waiting() == []


@pytest.mark.parametrize("named", ["~nobody-of-that-name/spool", "loop/spool", "~"])
def test_a_spool_folder_that_leads_nowhere_is_no_error_of_the_application(monkeypatch, tmp_path, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert SpoolSettings.from_environment({"VOICESPAN_SPOOL_DIR": named}).folder.is_absolute()


@pytest.mark.skipif(not OPEN.exists(), reason="asks Linux what is open")
@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gives_way_to_the_temporary_folder(
    *, manual, tmp_path, monkeypatch, langsmith_server, caplog, error
):
    """As some network file systems are."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    lockf = fcntl.lockf

    def refused(descriptor, *arguments):
        if str(tmp_path / "spool") in str(OPEN.joinpath(str(descriptor)).readlink()):
            raise OSError(error, os.strerror(error))
        return lockf(descriptor, *arguments)

    monkeypatch.setattr(fcntl, "lockf", refused)
    voice = manual()
    conversation = voice.conversation()
    assert conversation.deliveries[0].folder.parent == tmp_path / "tmp" / f"voicespan-{os.getuid()}"
    assert f"voicespan: cannot use {tmp_path / 'spool'} as its spool" in caplog.text
    assert f"voicespan: uses {tmp_path / 'tmp' / f'voicespan-{os.getuid()}'} instead" in caplog.text
    assert list((tmp_path / "spool").glob("[!.]*")) == []
    voice.finish(conversation)
    voice.send()
    assert len(langsmith_server.roots) == 1


@pytest.mark.skipif(not OPEN.exists(), reason="asks Linux what is open")
def test_what_cannot_be_locked_is_closed(waiting, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refused)
    before = sorted(OPEN.iterdir())
    with pytest.raises(OSError, match="locks"):
        FolderLock.take(waiting)
    assert sorted(OPEN.iterdir()) == before


@pytest.mark.usefixtures("destination")
def test_a_folder_that_cannot_be_delivered_is_said_once_and_named(waiting, voice, secret, caplog):
    lay("fifo", waiting / "spans-000.journal", secret)
    voice.send_for(100)
    assert (
        caplog.text.count(f"cannot deliver {waiting.name} (not a regular file); it stays in the spool") == 1
    )
    code, lines = recovered(voice.clock)
    assert code == 1
    assert lines[1].startswith(f"1 conversation waits in {waiting.parent}: not sent to LangSmith at ")
    assert lines[1].endswith(f": {waiting.name}: not a regular file")


def test_a_lock_that_cannot_be_read_is_somebodys(waiting, secret):
    lay("link", waiting / "lock", secret)
    with pytest.raises(OSError, match="symbolic"):
        FolderLock.take(waiting)


def test_a_folder_that_cannot_be_read_is_let_go(waiting, secret):
    lay("link", waiting / "meta.json", secret)
    for _ in range(2):
        with pytest.raises(OSError, match="symbolic"):
            Folder.claim(waiting, Memory(0))


# What a client attaches


@pytest.fixture
def conversation(voice):
    return voice.conversation()


@pytest.fixture
def source(tmp_path):
    @contextlib.contextmanager
    def of(what):
        path = tmp_path / "call.ogg"
        if what == "fifo":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
        elif what == "empty":
            path.touch()
        elif what == "socket":
            with a_socket(path):
                yield path
            return
        elif what == "link that leads nowhere":
            path.symlink_to(tmp_path / "nothing")
        elif what == "link to a fifo":
            os.mkfifo(tmp_path / "fifo")
            path.symlink_to(tmp_path / "fifo")
        yield {"device": pathlib.Path("/dev/zero"), "no path": "call\0.ogg"}.get(what, path)

    return of


@pytest.mark.parametrize(
    "what",
    [
        "nothing",
        "fifo",
        "folder",
        "empty",
        "socket",
        "link that leads nowhere",
        "link to a fifo",
        "device",
        "no path",
    ],
)
def test_what_is_no_file_is_refused_at_once_said_once_and_told_on_the_root(
    *, source, what, conversation, voice, langsmith_server, caplog
):
    with source(what) as path:
        conversation.attach_recording(path, "audio/ogg")
        conversation.attach_recording(path, "audio/ogg")
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].metadata["ls_audio_attach_status"] == "unreadable"
    assert caplog.text.count("a recording cannot be attached") == 1
    assert str(path) not in caplog.text


def test_a_link_of_the_applications_own_is_followed(conversation, voice, langsmith_server, tmp_path):
    (tmp_path / "2026.ogg").write_bytes(b"sound")
    (tmp_path / "latest.ogg").symlink_to("2026.ogg")
    conversation.attach_recording(tmp_path / "latest.ogg", "audio/ogg")
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].attachments["conversation"].content == b"sound"


def test_a_path_is_opened_once(voice, langsmith_server, tmp_path, secret, monkeypatch):
    """What is looked at is what is sent, whatever the name means a moment later."""
    conversation = voice.conversation()
    path = tmp_path / "call.ogg"
    path.write_bytes(b"sound")
    access = conversation.deliveries[0]._spool
    reserve = access.reserve

    def swap(size):
        path.unlink(missing_ok=True)
        path.symlink_to(secret)
        return reserve(size)

    monkeypatch.setattr(access, "reserve", swap)
    conversation.attach_recording(path, "audio/ogg")
    voice.finish(conversation)
    voice.send()
    assert langsmith_server.roots[0].attachments["conversation"].content == b"sound"


class Restless(io.FileIO):
    """A file that somebody else changes while it is read."""

    def __init__(self, path, change):
        super().__init__(path)
        self._change = change

    def read(self, size=-1):
        self._change()
        return super().read(min(size, 1000))


@pytest.mark.parametrize("folder", ["disk", "memory"])
def test_of_a_file_that_grows_while_it_is_copied_there_is_what_it_had(tmp_path, folder):
    tmp_path.chmod(0o700)
    growing = tmp_path / "growing"
    growing.write_bytes(b"a" * 5000)

    def grow():
        with growing.open("ab") as file:
            file.write(b"b" * 2000)

    inside = Files(tmp_path if folder == "disk" else None, Memory(5000))
    with Restless(growing, grow) as source:
        inside.copy_in("copy", source)
    assert inside.read("copy") == b"a" * 5000


@pytest.mark.parametrize("folder", ["disk", "memory"])
def test_a_file_that_shrinks_while_it_is_copied_is_unreadable(tmp_path, folder):
    tmp_path.chmod(0o700)
    shrinking = tmp_path / "shrinking"
    shrinking.write_bytes(b"a" * 5000)
    memory = Memory(5000)
    inside = Files(tmp_path if folder == "disk" else None, memory)
    with Restless(shrinking, lambda: os.truncate(shrinking, 1500)) as source:
        with pytest.raises(OSError, match="shorter"):
            inside.copy_in("copy", source)
    assert inside.names() == (["shrinking"] if folder == "disk" else [])
    memory.take(5000)


def test_what_has_no_room_in_memory_is_not_even_read(tmp_path):
    large = tmp_path / "large"
    large.write_bytes(b"a" * 5000)
    inside = Files(None, Memory(4999))
    with Restless(large, lambda: pytest.fail("it was read")) as source:
        with pytest.raises(MemoryFullError):
            inside.copy_in("copy", source)


def test_a_recording_that_comes_late_counts_in_the_bound_too(fake_clock):
    came = []
    access = SimpleNamespace(
        recording_changed=lambda: None,
        copy_later=lambda copy, _: copy(),
        late_recording=lambda *late: came.append(late),
        reserve=lambda _: False,
    )
    delivery = RootAttachment(fake_clock, access)
    delivery._making.release()
    delivery.attach(b"sound", "audio/ogg")
    assert came == []
    assert delivery.close() == RecordingResult("spool_full")


@pytest.mark.parametrize(
    ("mime_type", "sent", "name"),
    [
        ("audio/ogg", "audio/ogg", "attachment.ogg"),
        (" Audio/OGG ", "audio/ogg", "attachment.ogg"),
        ("audio/webm;codecs=opus", "audio/webm;codecs=opus", "attachment.webm"),
        ('audio/webm; codecs="opus, vp9"', 'audio/webm; codecs="opus, vp9"', "attachment.webm"),
        ("audio/x-unknown", "audio/x-unknown", "attachment.bin"),
        ("application/x-sh", "application/x-sh", "attachment.bin"),
        ("audio/../../../etc/x", "application/octet-stream", "attachment.bin"),
        ("audio/ogg\r\nX-Evil: 1", "application/octet-stream", "attachment.bin"),
        ("audio/ogg\0", "application/octet-stream", "attachment.bin"),
        ("audio/" + "x" * 10_000, "application/octet-stream", "attachment.bin"),
        ("audio/ogg" + ";a=b" * 10_000, "application/octet-stream", "attachment.bin"),
        ("audio/\u202eggo", "application/octet-stream", "attachment.bin"),
        ('","content":"', "application/octet-stream", "attachment.bin"),
        ("", "application/octet-stream", "attachment.bin"),
    ],
)
def test_a_type_is_one_or_unknown_and_the_name_in_the_spool_is_ours(
    *, conversation, voice, langsmith_server, spool_dir, tmp_path, mime_type, sent, name
):
    path = tmp_path / "caller +44 20 \x1b[2J\n.exe"
    path.write_bytes(b"sound")
    conversation.attach_recording(path, mime_type)
    [folder] = spool_dir.glob("[!.]*")
    assert name in {file.name for file in folder.iterdir()}
    assert not any("caller" in file.name for file in folder.iterdir())
    voice.finish(conversation)
    voice.send()
    [attachment] = langsmith_server.roots[0].attachments.values()
    assert (attachment.content, attachment.mime_type) == (b"sound", sent)


@pytest.mark.parametrize("thread_id", ["../../etc", "/", "a\0b", "a\nb", "x" * 100_000, "通話"])
def test_no_name_of_the_applications_is_part_of_a_path(voice, langsmith_server, spool_dir, thread_id):
    conversation = voice.conversation(thread_id=thread_id)
    voice.child(conversation, name=thread_id)
    [folder] = spool_dir.glob("[!.]*")
    assert set(folder.name) <= set("0123456789abcdefT-")
    voice.finish(conversation)
    voice.send()
    assert len(langsmith_server.roots) == 1


def test_removing_trees_does_not_follow_links_here():
    """What `remove_all` counts on."""
    assert shutil.rmtree.avoids_symlink_attacks
