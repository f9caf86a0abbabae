"""Who works on a folder of the spool: one process, whichever version it is, with one file open for all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voicespan.delivery.spool.locks import GONE, KEPT, MAKING, NAME, SPOOL_LOCK, FolderLock, held_here

OPEN = Path("/proc/self/fd")
ATTEMPT = """
import pathlib, sys
from voicespan.delivery.spool.locks import FolderLock
sys.exit(FolderLock.take(pathlib.Path(sys.argv[1])) is not None)
"""
#: What the first version does to work on a folder.
FIRST_VERSION = """
import fcntl, os, sys
try:
    lock = os.open(sys.argv[1] + "/lock", os.O_RDWR)
except FileNotFoundError:
    sys.exit("somebody has it")
fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spool(tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    return spool


def made(spool, name):
    lock = FolderLock.take(spool / f"{MAKING}{name}", create=True)
    (spool / name).mkdir(mode=0o700)
    return lock


def can_be_taken_elsewhere(folder):
    return subprocess.run([sys.executable, "-c", ATTEMPT, str(folder)], check=False).returncode == 1


def test_a_lock_dies_with_its_owner_and_is_not_inherited(spool):
    lock = made(spool, "call")
    folder = spool / "call"
    assert FolderLock.take(folder) is None
    assert not can_be_taken_elsewhere(folder)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        # Lives on after its parent has let go.
        os.write(write, b"1" if FolderLock.take(folder) is None else b"0")
        time.sleep(30)
        os._exit(0)
    try:
        assert os.read(read, 1) == b"1"
        lock.release()
        assert can_be_taken_elsewhere(folder)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


@pytest.mark.skipif(not OPEN.exists(), reason="asks Linux what is open")
def test_any_number_of_folders_takes_one_file(spool):
    before = len(list(OPEN.iterdir()))
    locks = [made(spool, f"call-{number}") for number in range(50)]
    assert len(list(OPEN.iterdir())) == before + 1
    for lock in locks:
        lock.release()
    assert len(list(OPEN.iterdir())) == before
    assert not (spool / SPOOL_LOCK).exists()


def test_to_let_go_of_one_keeps_the_others(spool):
    first, second = made(spool, "first"), made(spool, "second")
    first.release()
    assert can_be_taken_elsewhere(spool / "first")
    assert not can_be_taken_elsewhere(spool / "second")
    assert held_here(spool / "second")
    assert not held_here(spool / "first")
    second.release()


@pytest.mark.parametrize("mark", [KEPT, GONE])
def test_a_folder_that_is_renamed_stays_locked(spool, mark):
    lock = made(spool, "call")
    renamed = (spool / "call").rename(spool / f"{mark}call")
    assert not can_be_taken_elsewhere(renamed)
    lock.release()
    assert can_be_taken_elsewhere(renamed)


def test_a_folder_of_the_first_version_is_its_own_until_it_dies(spool):
    folder = spool / "call"
    folder.mkdir(mode=0o700)
    (folder / NAME).touch(mode=0o600)
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_VERSION, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"taken\n"
        assert FolderLock.take(folder) is None
        process.kill()
    lock = FolderLock.take(folder)
    assert lock is not None
    # And towards one of the first version that comes later.
    refused = subprocess.run(
        [sys.executable, "-c", FIRST_VERSION, str(folder)], check=False, capture_output=True
    )
    assert b"BlockingIOError" in refused.stderr
    lock.release()


def test_the_first_version_leaves_a_folder_alone_that_is_locked_in_the_spool(spool):
    lock = made(spool, "call")
    lock.release()
    refused = subprocess.run(
        [sys.executable, "-c", FIRST_VERSION, str(spool / "call")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert refused.stderr == "somebody has it\n"


def test_a_lock_file_that_somebody_removes_is_made_again_with_all_that_was_locked_in_it(spool):
    first = made(spool, "first")
    (spool / SPOOL_LOCK).unlink()
    second = made(spool, "second")
    assert not can_be_taken_elsewhere(spool / "first")
    first.release()
    assert can_be_taken_elsewhere(spool / "first")
    second.release()


def test_who_removes_the_lock_file_is_in_nobodys_way(spool):
    """Each of these processes makes it and removes it, again and again: none is refused the lock of a new folder."""
    program = """
import pathlib, sys
from voicespan.delivery.spool.locks import FolderLock
for number in range(300):
    lock = FolderLock.take(pathlib.Path(sys.argv[1], f"{sys.argv[2]}-{number}"), create=True)
    if lock is None:
        sys.exit(f"refused at {number}")
    lock.release()
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(spool), str(number)]) for number in range(3)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert list(spool.iterdir()) == []
