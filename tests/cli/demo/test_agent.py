"""What agents do alike, with a service that says nothing."""

from __future__ import annotations

import asyncio

import pytest

from voicespan.cli.demo.agent import Agent
from voicespan.cli.demo.call import Call
from voicespan.cli.demo.call_clock import CallClock


class Speechless(Agent):
    """Hears, and does something once."""

    def __init__(self, call, work):
        super().__init__(call)
        self.heard = 0
        self._work = work

    async def send(self, pcm):
        self.heard += len(pcm)

    async def listen(self):
        self.start(self._work())
        await asyncio.Event().wait()


@pytest.fixture
def call(tracer_provider):
    """A caller who has nothing to say, and little time."""
    return Call((), tracer_provider, CallClock(speed=200), lambda *_: None)


async def test_it_ends_when_the_caller_hangs_up(call):
    agent = Speechless(call, asyncio.Event().wait)
    await asyncio.wait_for(agent.converse(), 10)

    assert agent.heard > 0
    await asyncio.sleep(0)  # what was cancelled ends now
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_fails_ends_the_conversation(call):
    async def fail():
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await asyncio.wait_for(Speechless(call, fail).converse(), 10)


async def test_a_function_that_the_model_made_up_is_told_to_it(call):
    assert "error" in await call.function("fly_to_the_moon", {})
    assert "error" in await call.function("find_tables", {"persons": 4})


async def test_functions_work(call):
    booked = await call.function("book_table", {"people": 5, "time": "20:30", "place": "window"})
    assert booked["booked"] is True
