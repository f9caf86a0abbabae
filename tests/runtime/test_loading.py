"""Modules are imported beside an event loop, once, and whatever happens to them."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from voicespan.runtime import guard
from voicespan.runtime.loading import Loading

#: Says in which thread it is imported, and waits for its permission.
MODULE = """
import {gate}
{gate}.began.set()
assert {gate}.go_on.wait(10)
{gate}.threads.append(__import__("threading").current_thread().name)
"""


class Gate:
    def __init__(self):
        self.began, self.go_on, self.threads = threading.Event(), threading.Event(), []


@pytest.fixture
def gate(tmp_path, monkeypatch):
    gate = Gate()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "the_gate", gate)
    (tmp_path / "slow_to_import.py").write_text(MODULE.format(gate="the_gate"))
    (tmp_path / "broken_import.py").write_text("raise OSError")
    yield gate
    for name in ("slow_to_import", "broken_import"):
        sys.modules.pop(name, None)


async def test_the_loop_goes_on_and_all_who_need_it_wait(gate):
    loading = Loading()
    loading.need("slow_to_import")
    waiting = [asyncio.ensure_future(loading.load_off_the_loop()) for _ in range(3)]
    assert await asyncio.to_thread(gate.began.wait, 10)
    # Who gives up waiting ends it for nobody.
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert not any(each.done() for each in waiting[1:])
    gate.go_on.set()
    await asyncio.gather(*waiting[1:])
    assert gate.threads == ["voicespan-load"]
    # By now nothing is waited for.
    await loading.load_off_the_loop()


async def test_what_cannot_be_imported_is_left(gate, monkeypatch):
    monkeypatch.setattr(guard, "reraise", False)
    loading = Loading()
    loading.need("broken_import", "slow_to_import")
    gate.go_on.set()
    await loading.load_off_the_loop()
    assert gate.threads == ["voicespan-load"]


async def test_without_a_thread_it_is_imported_where_it_is_needed(gate, monkeypatch):
    def no_thread(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    loading = Loading()
    loading.need("slow_to_import")
    await loading.load_off_the_loop()
    assert gate.threads == []


async def test_a_forked_child_begins_anew(gate):
    loading = Loading()
    loading.need("slow_to_import")
    parents = asyncio.ensure_future(loading.load_off_the_loop())
    assert await asyncio.to_thread(gate.began.wait, 10)
    loading.reset_after_fork()
    gate.go_on.set()
    await loading.load_off_the_loop()
    await parents
    assert gate.threads
