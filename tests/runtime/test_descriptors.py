"""What we only keep open is never more than half of what the application leaves free."""

from __future__ import annotations

import os
import resource
import sys

import pytest

from voicespan.runtime import descriptors
from voicespan.runtime.descriptors import KeptFile, are_plentiful, close_unused, make_room

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no limit")


class Kept(KeptFile):
    def open_again(self):
        return os.open(os.devnull, os.O_RDONLY)


@pytest.fixture
def limit(monkeypatch):
    """Sets how many the process may open beyond those that are open now, a moment's aside."""
    monkeypatch.setattr(descriptors, "_kept", {})
    already = descriptors._open_files() + descriptors._BRIEFLY_OPEN

    def set_limit(free):
        soft = already + free
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
        monkeypatch.setattr(descriptors, "_looked", (0, 0, -1.0))

    return set_limit


@pytest.fixture
def kept(limit):
    limit(0)
    files = [Kept() for _ in range(8)]
    yield files
    for file in files:
        file.let_go()


def used(files):
    for file in files:
        with file.in_use():
            pass
    return sum(file.descriptor >= 0 for file in files)


def test_they_stay_open_while_there_are_plenty(kept, limit):
    limit(1000)
    assert used(kept) == 8
    make_room()
    assert sum(file.descriptor >= 0 for file in kept) == 8
    assert are_plentiful()


def test_no_more_stay_open_than_half_of_what_the_application_leaves_free(kept, limit):
    limit(10)
    assert used(kept) == 5
    assert not are_plentiful()


def test_the_longest_unused_give_way_as_the_application_grows(kept, limit):
    limit(1000)
    used(kept)
    limit(10)
    make_room()
    assert [file.descriptor >= 0 for file in kept] == [False] * 3 + [True] * 5
    limit(0)
    make_room()
    assert not any(file.descriptor >= 0 for file in kept)


def test_what_is_in_use_does_not_give_way(kept, limit):
    limit(0)
    with kept[0].in_use() as descriptor:
        make_room()
        os.fstat(descriptor)
    assert kept[0].descriptor == -1


def test_what_nobody_has_used_for_a_while_is_closed(kept, limit):
    limit(1000)
    used(kept)
    assert close_unused(Kept, 60) == 60
    assert close_unused(Kept, 0) is None
    assert not any(file.descriptor >= 0 for file in kept)


def test_the_application_with_none_left_is_noticed(limit):
    limit(-descriptors._BRIEFLY_OPEN)
    assert not are_plentiful()
