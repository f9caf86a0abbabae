"""The journal of an open conversation stays open: two calls of the system for each time, not nine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from voicespan.delivery.spool import append_file
from voicespan.delivery.spool.files import Files, Memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is open is counted by /proc")


def open_files(folder):
    """How many files of `folder` this process has open, the removed ones included."""
    # What lists them is one itself, and gone by now.
    links = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    return sum(link.startswith(f"{folder}/") for link in links)


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def files(folder):
    made = Files(folder, Memory(1000))
    yield made
    made.close()


def test_it_is_opened_once(files, folder, monkeypatch):
    opened = []
    open_file = append_file.secure_file.open_file
    monkeypatch.setattr(
        append_file.secure_file, "open_file", lambda *asked: opened.append(asked[1]) or open_file(*asked)
    )
    for _ in range(3):
        files.append("a.journal", b"one")
    assert (folder / "a.journal").read_bytes() == b"oneoneone"
    assert opened == ["a.journal"]
    assert open_files(folder) == 1
    files.close()
    assert open_files(folder) == 0


def test_another_name_is_another_file(files, folder):
    files.append("a.journal", b"one")
    files.append("b.journal", b"two")
    files.append("a.journal", b"three")
    assert (folder / "a.journal").read_bytes() == b"onethree"
    assert (folder / "b.journal").read_bytes() == b"two"
    assert open_files(folder) == 1


def test_what_was_removed_is_made_again(files, folder):
    files.append("a.journal", b"one")
    (folder / "a.journal").unlink()
    files.append("a.journal", b"two")
    assert (folder / "a.journal").read_bytes() == b"two"
    assert open_files(folder) == 1


def test_a_link_in_its_place_is_not_followed(files, folder, tmp_path_factory):
    files.append("a.journal", b"one")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    elsewhere.write_bytes(b"theirs")
    (folder / "a.journal").unlink()
    (folder / "a.journal").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        files.append("a.journal", b"two")
    assert elsewhere.read_bytes() == b"theirs"


def test_what_the_disk_did_not_take_whole_is_taken_back(files, folder, monkeypatch):
    files.append("a.journal", b"one")
    write = os.write

    def fills_up(descriptor, content):
        if len(content) < 3:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:2])

    monkeypatch.setattr(os, "write", fills_up)
    with pytest.raises(OSError, match="No space"):
        files.append("a.journal", b"two")
    monkeypatch.undo()
    assert (folder / "a.journal").read_bytes() == b"one"
    assert open_files(folder) == 0


def test_it_gives_way_and_goes_on(files, folder):
    files.append("a.journal", b"one")
    assert files._appended.give_way()
    assert open_files(folder) == 0
    files.append("a.journal", b"two")
    assert (folder / "a.journal").read_bytes() == b"onetwo"


# Python 3.12 warns of forks beside threads, which is just what is tried here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_none_open(files, folder):
    files.append("a.journal", b"one")
    child = os.fork()
    if not child:
        os._exit(open_files(folder))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    files.append("a.journal", b"two")
    assert (folder / "a.journal").read_bytes() == b"onetwo"


def test_an_ended_conversation_has_none_open(manual, spool_dir, langsmith_server):
    voice = manual()
    conversation = voice.conversation()
    voice.child(conversation)
    voice.write()
    assert open_files(spool_dir) == 2  # the lock and the journal
    langsmith_server.down()
    voice.finish(conversation)
    assert open_files(spool_dir) == 1
    voice.send()
    # It waits, and whoever comes first may send it.
    assert len(list(spool_dir.iterdir())) == 1
    assert open_files(spool_dir) == 0
