"""The copy of a span has LangSmith's names, whatever the span has; in a folder it has those of the span."""

from __future__ import annotations

import json

import pytest

from voicespan.delivery.destination.privacy import Privacy
from voicespan.delivery.encoding.langsmith_spans import SpanEncoder, get_attribute
from voicespan.openai_realtime.protocol import Protocol
from voicespan.runtime.settings import Settings
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation

CALLED = {"id": "i1", "type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"people": 4}'}
SAID = {"id": "a1", "type": "message", "content": [{"type": "output_audio", "transcript": "One moment."}]}
SESSION = {
    "id": "sess_1",
    "model": "m",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "find"}],
}
FRAMES = [
    {"type": "session.created", "session": SESSION},
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u1",
        "transcript": "A table?",
    },
    {"type": "response.created", "response": {"id": "r1"}},
    {"type": "response.output_item.done", "response_id": "r1", "item": CALLED},
    {"type": "response.done", "response": {"id": "r1", "status": "completed", "output": [SAID, CALLED]}},
]
ANSWER = {"type": "function_call_output", "call_id": "c1", "output": '{"free": []}'}
OF_OPENTELEMETRY = {
    *semconv.COPIED,
    semconv.SYSTEM_INSTRUCTIONS,
    semconv.TOOL_DEFINITIONS,
}


@pytest.fixture
def spans(tracer_provider, span_exporter, fake_clock):
    """Of a call with a function, with these settings."""

    def spans(**settings):
        settings = Settings(resume_window=0, request=True, **settings)
        scope = Conversation(tracer_provider=tracer_provider, clock=fake_clock, settings=settings)
        connection = scope.connect(Protocol(), {semconv.PROVIDER: "openai"})
        for frame in FRAMES:
            connection.received(json.dumps(frame).encode())
        connection.sent(json.dumps({"type": "conversation.item.create", "item": ANSWER}))
        connection.closed(1000)
        return span_exporter.get_finished_spans()

    return spans


def copies(spans, **options):
    groups = SpanEncoder(Privacy(), **options).of(spans, None)
    return {copy.name: copy for _, each in groups for copy in each}


def content(copy, name):
    written = get_attribute(copy, name)
    return None if written is None else json.loads(written)


@pytest.mark.parametrize("draft_names", [False, True])
def test_langsmith_sees_the_same_whatever_the_spans_names_are(spans, draft_names):
    found = copies(spans(draft_names=draft_names))
    for copy in found.values():
        assert not OF_OPENTELEMETRY & {attribute.key for attribute in copy.attributes}
        assert not copy.events
    turn, tool, root = (found[name] for name in ("turn_complete", "function_call: find", "conversation"))
    assert get_attribute(turn, semconv.OPERATION) == "chat"
    function = {"name": "find", "arguments": '{"people": 4}'}
    call = {"id": "c1", "type": "function", "function": function}
    assert content(turn, semconv.PROMPT) == {"messages": [{"role": "user", "content": "A table?"}]}
    answer = {"role": "assistant", "content": "One moment.", "tool_calls": [call]}
    assert content(turn, semconv.COMPLETION) == {"messages": [answer]}
    assert content(tool, semconv.PROMPT) == {"people": 4}
    assert content(tool, semconv.COMPLETION) == {"free": []}
    assert content(root, semconv.PROMPT) == {"messages": [{"role": "user", "content": "A table?"}]}
    roles = [message["role"] for message in content(root, semconv.COMPLETION)["messages"]]
    assert sorted(roles) == ["assistant", "assistant", "tool"]
    assert content(found["session.created"], semconv.COMPLETION)["session"]["id"] == "sess_1"


@pytest.mark.parametrize("draft_names", [False, True])
def test_in_a_folder_they_have_opentelemetrys(spans, draft_names):
    found = copies(spans(draft_names=draft_names), renamed=False)
    turn, tool, root = (found[name] for name in ("turn_complete", "function_call: find", "conversation"))
    said, called = content(turn, semconv.OUTPUT_MESSAGES)[0]["parts"]
    assert said == {"type": "text", "content": "One moment."}
    assert called == {"type": "tool_call", "id": "c1", "name": "find", "arguments": '{"people": 4}'}
    assert content(turn, semconv.OUTPUT_MESSAGES)[0]["finish_reason"] == "tool_call"
    assert content(tool, semconv.TOOL_ARGUMENTS) == {"people": 4}
    assert content(turn, semconv.SYSTEM_INSTRUCTIONS) == [{"type": "text", "content": "Be brief."}]
    assert [event.name for event in root.events] == [semconv.SESSION_STARTED, semconv.SESSION_ENDED]


@pytest.mark.parametrize("renamed", [True, False])
def test_what_is_hidden_is_hidden_under_both_names(spans, renamed):
    privacy = Privacy(hide_inputs=True, hide_outputs=True)
    for _, each in SpanEncoder(privacy, renamed=renamed).of(spans(), None):
        text = "".join(str(copy) for copy in each)
        for words in ("table", "One moment", "people", "free", "Be brief"):
            assert words not in text


def test_a_span_of_another_scope_stays_as_it_is(tracer_provider, span_exporter):
    written = '[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]'
    tracer_provider.get_tracer("theirs").start_span(
        "chat m", attributes={semconv.INPUT_MESSAGES: written}
    ).end()
    [copy] = copies(span_exporter.get_finished_spans()).values()
    assert get_attribute(copy, semconv.INPUT_MESSAGES) == written
