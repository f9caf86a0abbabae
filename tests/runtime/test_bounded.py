"""What is remembered of what a peer tells apart."""

from __future__ import annotations

from voicespan.runtime.bounded import MOST, put


def test_the_newest_are_remembered():
    memory = {}
    for key in range(5):
        put(memory, key, str(key), 3)
    assert memory == {2: "2", 3: "3", 4: "4"}


def test_what_is_told_again_is_remembered_once():
    memory = {"a": 1, "b": 2}
    put(memory, "a", 3, 2)
    assert memory == {"a": 3, "b": 2}


def test_of_whatever_has_no_bound_of_its_own_there_are_so_many():
    memory = {}
    for key in range(MOST + 1):
        put(memory, key, None)
    assert list(memory) == list(range(1, MOST + 1))
