"""The demo's call, as anybody's exporter sees it: with a tracer provider that a test gives."""

from __future__ import annotations

import asyncio
import importlib

from voicespan.cli.demo import story
from voicespan.cli.demo.call import Call
from voicespan.cli.demo.call_clock import CallClock
from voicespan.cli.demo.command import PROVIDERS

#: Times as fast as people speak.
_FAST = 8.0


def hold(kind, tracer_provider):
    """Hold the call with one of the demo's providers, to its end."""
    agent = importlib.import_module(PROVIDERS[kind].agent)
    clock = CallClock(_FAST)
    call = Call(story.CUES, tracer_provider, clock, lambda *_: None)
    agent.INSTRUMENTOR().instrument(tracer_provider=tracer_provider, clock=clock)
    try:
        with agent.scripted_server() as server:
            asyncio.run(agent.answer(call, agent.MODEL, server))
    finally:
        agent.INSTRUMENTOR().uninstrument()
