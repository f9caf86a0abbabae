"""A conversation whose tools are LangSmith's `@traceable` functions, in their OpenTelemetry mode."""

from __future__ import annotations

import time

import langsmith

from voicespan.distro.configure import configure
from voicespan.protocol import events
from voicespan.tracing.scope import conversation

provider = configure()


@langsmith.traceable
def query(term):
    return [term]


@langsmith.traceable(run_type="tool")
def lookup(term, seconds=0.0):
    time.sleep(seconds)
    return {"found": query(term)}


def call(held, call_id):
    with held.lifecycle.lock:
        at = time.monotonic_ns()
        held.lifecycle.ingest(
            [events.FunctionCalled(at, "call", call_id=call_id, name=call_id, arguments="{}")]
        )
    held.flush()


def answer(held, call_id):
    with held.lifecycle.lock:
        held.lifecycle.ingest(
            [events.FunctionAnswered(time.monotonic_ns(), "answer", call_id=call_id, output="{}")]
        )
    held.flush()


def quick(held):
    call(held, "first")
    lookup("a")
    answer(held, "first")
    call(held, "second")
    lookup("b")
    answer(held, "second")


def slow(held):
    call(held, "first")
    lookup("a", 0.6)
    answer(held, "first")


def parallel(held):
    call(held, "first")
    call(held, "second")
    lookup("a")
    with held.tool_call("second"):
        lookup("b")
    answer(held, "first")
    answer(held, "second")


def between(held):
    lookup("a")
    time.sleep(0.001)
    call(held, "first")
    answer(held, "first")


for story in (quick, slow, parallel, between):
    with provider.get_tracer("the-app").start_as_current_span("request"):
        with conversation(story.__name__) as held:
            story(held)
        # What LangSmith's own thread does after this belongs to the request no more than before.
        provider.get_tracer("the-app").start_span("of the request").end()
