"""What the hostile input found, each once more by itself: the frame that did it, and what is told of it now."""

from __future__ import annotations

import json

import pytest
from hostile_sessions import OPENAI
from opentelemetry.sdk.trace import TracerProvider
from span_content import given
from witness import Kept, LeapingClock, look_at

from voicespan.gemini_live import frames
from voicespan.gemini_live.protocol import Protocol as Gemini
from voicespan.gemini_live.turns import bytes_per_ms
from voicespan.instrumentation.openai_package.connections import _QUEUED, queued
from voicespan.openai_realtime.frames import AudioDeltaCounter
from voicespan.openai_realtime.protocol import Protocol as OpenAI
from voicespan.tracing import semconv
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.spans.transcript import Transcript


@pytest.fixture
def told():
    """Tell frames to a conversation; its spans by name, looked at."""

    def tell(*frames, protocol=OpenAI, clock=None):
        kept = Kept()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(kept)
        given = {} if clock is None else {"clock": clock}
        conversation = Conversation(tracer_provider=provider, **given)
        connection = conversation.connect(protocol(conversation.settings.events), {})
        for frame in frames:
            if callable(frame):
                frame()
            elif protocol is Gemini:
                (connection.sent if "toolResponse" in frame else connection.received)(frame)
            else:
                connection.received(frame if isinstance(frame, bytes) else json.dumps(frame).encode())
        connection.closed(1000)
        conversation.end()
        assert kept.started == len(kept.spans)
        look_at(kept.spans)
        return kept.spans

    return tell


def named(spans, name):
    return [span for span in spans if span.name == name]


def call(name="f", arguments="{}", call_id="c"):
    kind = "response.function_call_arguments.done"
    return {"type": kind, "item_id": "i", "call_id": call_id, "name": name, "arguments": arguments}


def test_a_part_whose_type_is_a_list(told):
    item = {"id": "i", "type": "message", "role": "user", "content": [{"type": ["input_text"], "text": "x"}]}
    told({"type": "conversation.item.added", "item": item})


def test_names_that_no_exporter_can_encode(told):
    (span,) = named(told(call(name="\ud800f")), "function_call: \ufffdf")
    assert span.attributes[semconv.TOOL_NAME] == "\ufffdf"


def test_arguments_that_are_no_strict_json(told):
    (span,) = named(told(call(arguments='{"a": NaN, "b": 1e400}')), "function_call: f")
    assert json.loads(span.attributes[semconv.TOOL_ARGUMENTS]) == {"a": "nan", "b": "inf"}


def test_arguments_deeper_than_can_be_followed(told):
    for depth in (700, 900, 950, 970, 980, 990, 5_000):
        (span,) = named(told(call(arguments='{"a":' * depth + "1" + "}" * depth)), "function_call: f")
        assert span.attributes[semconv.TOOL_ARGUMENTS].startswith(('{"a":', '{"text":'))


def test_a_result_deeper_than_can_be_followed(told):
    deep = {}
    for _ in range(700):
        deep = {"d": deep}
    response = {"toolResponse": {"functionResponses": [{"name": "f", "response": deep}]}}
    (span,) = named(told(response, protocol=Gemini), "function_response: f")
    assert "[deeper]" in str(given(span))


def test_two_calls_with_one_id(told):
    asked = {"toolCall": {"functionCalls": [{"id": "c", "name": "f"}, {"id": "c", "name": "g"}]}}
    spans = told(asked, protocol=Gemini)
    assert named(spans, "function_call: f")[0].attributes[semconv.ERROR_TYPE] == "repeated"
    assert named(spans, "function_call: g")[0].attributes[semconv.ERROR_TYPE] == "never_answered"


def test_a_handle_that_is_no_text_of_unicode(told):
    update = {"sessionResumptionUpdate": {"newHandle": "\ud800", "resumable": True}}
    assert named(told(update, protocol=Gemini), "session_resumption_update")


def test_a_rate_of_many_digits():
    assert bytes_per_ms("audio/pcm;rate=" + "9" * 5_000) == bytes_per_ms("audio/pcm")


def test_an_audio_frame_that_is_cut_off_counts_for_nothing():
    for frame in (
        b'{"type":"response.output_audio.delta","item_id":"i","delta":"AAAA',
        b'{"type":"response.output_audio.delta","item_id":"i","delta":5}',
        b'{"type":"response.output_audio.delta","item_id":"i","delta":null,"event_id":"AAAA"}',
    ):
        speech = AudioDeltaCounter()
        speech.arrives_under("i")
        assert not speech.find(frame)
        assert speech.decoded == 0
    assert speech.find(b'{"type":"response.output_audio.delta","item_id":"i","delta" : "AAAA"}')
    assert speech.decoded == 3


def test_one_frame_is_not_a_hundred_thousand_spans(told):
    output = [{"type": "message", "id": f"i{n}", "content": [{"text": "x"}]} for n in range(20_000)]
    assert len(told({"type": "response.done", "response": {"id": "r", "output": output}})) < 300
    unknown = {f"unknown{n}": n for n in range(20_000)}
    assert len(told(unknown, protocol=Gemini)) < 100


def test_a_clock_that_goes_back(told):
    """Of several threads' frames the later one can be told first."""
    clock = LeapingClock()

    def back():
        clock.monotonic -= 5_000_000_000

    spans = told(call(), back, {"type": "error", "error": {"message": "x"}}, clock=clock)
    assert len(named(spans, "error")) == 1


def test_an_item_that_comes_after_itself(told):
    item = {"id": "i", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
    spans = told({"type": "conversation.item.added", "item": item, "previous_item_id": "i"})
    assert "x" in str(given(spans[-1]))


def test_what_is_queued_in_a_circle():
    class Manager:
        pass

    manager, frame = Manager(), {"type": "session.update"}
    frame["session"] = frame
    queued(manager, frame)
    assert manager.__dict__[_QUEUED] == ['{"unreadable": "dict"}']


def test_words_for_an_entry_that_was_cut_weigh_nothing():
    transcript = Transcript(2_000)
    first = [transcript.place(f"i{n}", "user") for n in range(12)]
    for n in range(12, 100):
        transcript.place(f"i{n}", "user")
    for entry in first:
        transcript.write(entry, "x" * 1_500)
    for n in range(100, 200):
        transcript.place(f"i{n}", "user")
    # Else what was cut long ago would go on pushing out what is said now.
    assert len(transcript) > 10


def test_a_message_given_by_name_is_not_longer_than_a_name():
    assert len(frames.model_name("x" * 100_000)) == 512


def test_the_sessions_are_what_the_mutations_need():
    assert all(frame["type"] for session in OPENAI.values() for _, frame in session)
