"""Spans that are not ours: a server's messages use up nothing, and of a flood the rest is counted."""

from __future__ import annotations

import pytest
from opentelemetry import trace

ASGI = "opentelemetry.instrumentation.asgi"
SECOND = 1_000_000_000


@pytest.fixture
def voice(agent):
    return agent()


def write(voice, conversation, scope, *, a_second, seconds, first=0):
    """So many spans of a scope, spread evenly; times are the spans' own."""
    tracer = voice.provider.get_tracer(scope)
    began = conversation._root.span.start_time + first * SECOND
    with conversation.use():
        for n in range(a_second * seconds):
            at = began + n * SECOND // a_second
            tracer.start_span(f"{scope} {n}", start_time=at).end(at + 1000)


def delivered(voice, conversation):
    conversation.end()
    assert voice.deliver()
    [root] = voice.server.roots
    return root, [child.name for child in root.children]


def test_of_a_flood_the_rest_is_counted_and_what_others_write_is_kept(voice):
    conversation = voice.conversation()
    write(voice, conversation, "redis", a_second=50, seconds=8)
    write(voice, conversation, "app", a_second=2, seconds=8)
    voice.child(conversation)
    root, names = delivered(voice, conversation)
    kept = [name for name in names if name.startswith("redis")]
    # Five seconds are needed to tell, and what came in them stays.
    assert kept == [f"redis {n}" for n in range(250)]
    assert root.metadata["dropped_spans"] == 150
    assert sum(name.startswith("app") for name in names) == 16
    assert "turn_complete" in names


@pytest.mark.parametrize(
    "bursts",
    [
        [(20, 60, 0)],
        [(200, 4, 0), (200, 4, 6), (200, 4, 12)],
        [(19, 3, 0), (100, 4, 3), (10, 10, 7)],
    ],
    ids=["twenty a second for a minute", "bursts of four seconds", "a rate that rises and falls"],
)
def test_what_is_no_flood_is_kept_whole(voice, bursts):
    conversation = voice.conversation()
    for a_second, seconds, first in bursts:
        write(voice, conversation, "redis", a_second=a_second, seconds=seconds, first=first)
    root, names = delivered(voice, conversation)
    assert len(names) == sum(a_second * seconds for a_second, seconds, _ in bursts)
    assert "dropped_spans" not in root.metadata


def test_a_parent_of_what_is_kept_is_kept_in_a_flood_too(voice):
    conversation = voice.conversation()
    tracer = voice.provider.get_tracer("redis")
    with conversation.use():
        late = tracer.start_span("pipeline")
    write(voice, conversation, "redis", a_second=50, seconds=6)
    with conversation.use():
        voice.provider.get_tracer("app").start_span("inside", context=trace.set_span_in_context(late)).end()
        late.end(conversation._root.span.start_time + 6 * SECOND)
    conversation.end()
    assert voice.deliver()
    [root] = voice.server.roots
    [pipeline] = [child for child in root.children if child.name == "pipeline"]
    assert [child.name for child in pipeline.children] == ["inside"]


def test_messages_below_a_request_that_is_inside_use_up_nothing(voice):
    """A conversation that was opened round the whole request: its span and its messages are below the root."""
    conversation = voice.conversation()
    server = voice.provider.get_tracer(ASGI)
    with (
        conversation.use(),
        server.start_as_current_span("request", attributes={"http.scheme": "ws"}) as request,
    ):
        for _ in range(300):
            with server.start_as_current_span("websocket receive") as span:
                # What it adds when the message has come.
                span.set_attributes({"asgi.event.type": "websocket.receive", "http.status_code": 200})
        with server.start_as_current_span("http send") as span:
            span.set_attributes({"asgi.event.type": "http.response.start", "http.status_code": 200})
    assert request.get_span_context().trace_id == conversation.context.root.trace_id
    root, names = delivered(voice, conversation)
    assert names == ["request"]
    [inside] = root.children
    assert [child.name for child in inside.children] == ["http send"]
    assert "dropped_spans" not in root.metadata
