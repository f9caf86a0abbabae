"""Several connections of one conversation, whoever speaks on them."""

from __future__ import annotations

import json

import pytest
from span_content import came, given

from voicespan.gemini_live.protocol import Protocol as GeminiLive
from voicespan.openai_realtime.protocol import Protocol as OpenAIRealtime
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.registry import end_open_conversations


@pytest.fixture
def conversation(tracer_provider, fake_clock):
    yield Conversation(tracer_provider=tracer_provider, clock=fake_clock, scoped=True)
    end_open_conversations("untraced")


@pytest.fixture
def told(conversation, span_exporter):
    """The facts of every span of a name, once the conversation is over."""

    def facts(name):
        conversation.end()
        prefix = semconv.METADATA
        return [
            {
                key.removeprefix(prefix): value
                for key, value in span.attributes.items()
                if key.startswith(prefix)
            }
            for span in span_exporter.get_finished_spans()
            if span.name == name
        ]

    return facts


def openai(conversation):
    return conversation.connect(OpenAIRealtime(), {semconv.PROVIDER: "openai"})


def gemini(conversation):
    return conversation.connect(GeminiLive(), {semconv.PROVIDER: "gcp.gemini"})


def typed(connection, text):
    """A message that the server never shows, and a response to it."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    connection.sent(json.dumps({"type": "conversation.item.create", "item": item}))
    for kind in ("response.created", "response.done"):
        connection.received(json.dumps({"type": kind, "response": {"id": f"resp {text}"}}).encode())


def test_what_is_typed_on_each_is_a_message_of_its_own(conversation, span_exporter):
    for text in ("one", "two"):
        typed(openai(conversation), text)
    for text in ("three", "four"):
        gemini(conversation).sent({"clientContent": {"turns": [{"role": "user", "parts": [{"text": text}]}]}})
    conversation.end()
    root = next(span for span in span_exporter.get_finished_spans() if span.parent is None)
    messages = [
        message["content"]
        for side in (given(root), came(root))
        for message in (side or {"messages": []})["messages"]
    ]
    assert messages == ["one", "two", "three", "four"]


def test_a_gap_is_the_time_without_any(conversation, fake_clock, told):
    first = openai(conversation)
    fake_clock.advance(1)
    second = gemini(conversation)
    fake_clock.advance(1)
    first.closed(1000)
    fake_clock.advance(1)
    second.closed(1000)
    fake_clock.advance(2.5)
    gemini(conversation).closed(1000)
    assert [opened.get("gap_ms") for opened in told("connection_opened")] == [None, None, 2500]
    assert [closed["duration_s"] for closed in told("connection_closed")] == [2, 2, 0]


def test_each_tells_whose_session_it_was_and_how_it_closed(conversation, told):
    one, two = openai(conversation), gemini(conversation)
    one.received(json.dumps({"type": "session.created", "session": {"id": "sess_1"}}).encode())
    two.received({"setupComplete": {"sessionId": "session-2"}})
    two.lost(ConnectionError(), 1011, "aborted" * 100)
    two.closed(1011)
    one.closed(1000)
    second, first = told("connection_closed")
    assert (first["realtime_session_id"], first["close_code"], first["abnormal"]) == ("sess_1", 1000, False)
    assert (second["realtime_session_id"], second["close_code"]) == ("session-2", 1011)
    assert second["abnormal"] is True
    assert len(second["close_reason"]) <= 200
    assert (first["connection"], second["connection"]) == (1, 2)


def test_a_reconnect_of_the_sdk_is_a_close_and_an_opening(tracer_provider, span_exporter, fake_clock):
    conversation = Conversation(tracer_provider=tracer_provider, clock=fake_clock)
    connection = openai(conversation)
    fake_clock.advance(1)
    connection.lost(ConnectionError(), 1006, None)
    fake_clock.advance(0.5)
    connection.reopened()
    connection.closed(1000)
    spans = [span for span in span_exporter.get_finished_spans() if span.parent is not None]
    assert [span.name for span in spans] == [
        "connection_opened",
        "connection_closed",
        "connection_opened",
        "connection_closed",
    ]
    lost, back = spans[1], spans[2]
    assert lost.attributes[semconv.METADATA + "close_code"] == 1006
    assert back.attributes[semconv.METADATA + "gap_ms"] == 500
    assert back.start_time - lost.start_time == 500_000_000


def test_one_connection_without_a_scope_is_not_told(tracer_provider, span_exporter, fake_clock):
    openai(Conversation(tracer_provider=tracer_provider, clock=fake_clock)).closed(1000)
    (root,) = span_exporter.get_finished_spans()
    assert root.attributes[semconv.METADATA + "connection_count"] == 1
