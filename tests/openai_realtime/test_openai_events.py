"""What each wire event becomes, and that nothing is told twice."""

from __future__ import annotations

import base64
import json

import pytest
from opentelemetry.trace import StatusCode
from wire_call import audio, content, fact, messages, seconds

from voicespan.openai_realtime.protocol import Protocol

# Transcriptions.


def test_a_spoken_turn_is_one_transcription_of_each_side_and_one_turn(call):
    call.session().speech("u1")
    call.answer("r1", "a1")
    call.server("conversation.item.input_audio_transcription.delta", item_id="u1", delta="Hi", after=0.1)
    call.heard("u1", "Hi there", usage={"type": "duration", "seconds": 3}, after=0.2)
    call.said("r1", "a1", "Hello!").done(
        "r1", usage={"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    )
    call.end()

    assert call.names == [
        "session.created",
        "input_audio_buffer.speech_started",
        "user_speech",
        "input_audio_buffer.speech_stopped",
        "output_transcription",
        "turn_complete",
        "input_transcription",
    ]
    heard, said, turn = (
        call.named(n) for n in ("input_transcription", "output_transcription", "turn_complete")
    )
    assert messages(heard) == [{"role": "user", "content": "Hi there"}]
    assert content(heard, "out") is None
    assert seconds(heard) == 0.2
    assert fact(heard, "usage_seconds") == 3
    assert messages(said) == [{"role": "assistant", "content": "Hello!"}]
    assert content(said, "in") is None
    assert messages(turn) == [
        {"role": "user", "content": "Hi there"},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert turn.attributes["gen_ai.usage.total_tokens"] == 12
    assert turn.attributes["langsmith.span.kind"] == "llm"
    assert call.transcript == [("user", "Hi there"), ("assistant", "Hello!")]


def test_a_transcript_after_the_response_joins_the_turn_it_belongs_to(call):
    call.session().speech("u1").answer("r1", "a1").said("r1", "a1", "Hello!").done("r1")
    assert "turn_complete" not in call.names
    call.heard("u1", "Hi", after=2)
    turn = call.named("turn_complete")
    assert seconds(turn) == 0.0
    assert messages(turn)[0] == {"role": "user", "content": "Hi"}
    call.end()
    assert call.transcript == [("user", "Hi"), ("assistant", "Hello!")]


def test_a_transcript_in_the_next_turn_stands_where_it_was_spoken(call):
    call.session().speech("u1").answer("r1", "a1").said("r1", "a1", "First.").done("r1")
    call.speech("u2").answer("r2", "a2").said("r2", "a2", "Second.")
    call.heard("u2", "two").heard("u1", "one").done("r2").end()
    assert call.transcript == [
        ("user", "one"),
        ("assistant", "First."),
        ("user", "two"),
        ("assistant", "Second."),
    ]
    turns = [span for span in call.spans if span.name == "turn_complete"]
    assert [messages(turn)[0]["content"] for turn in turns] == ["one", "two"]


def test_a_transcript_that_never_comes_holds_the_turn_no_longer_than_the_conversation(call):
    call.session().speech("u1").answer("r1", "a1").said("r1", "a1", "Hello!").done("r1")
    call.end()
    assert messages(call.named("turn_complete")) == [{"role": "assistant", "content": "Hello!"}]


def test_turns_that_wait_are_bounded(call):
    call.session()
    for number in range(30):
        call.speech(f"u{number}").answer(f"r{number}", f"a{number}").done(f"r{number}")
    assert call.names.count("turn_complete") == 22


def test_a_failed_transcription_is_an_error_and_the_turn_goes_on(call):
    call.session().speech("u1").answer("r1", "a1").done("r1")
    error = {"type": "server_error", "code": "DeploymentNotFound", "message": "no such deployment"}
    call.server(
        "conversation.item.input_audio_transcription.failed", item_id="u1", content_index=0, error=error
    )
    call.clock.advance(3.0)
    call.speech("u2")
    span = call.named("input_transcription")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "DeploymentNotFound"
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.message"] == "no such deployment"
    assert call.named("turn_complete").status.status_code is StatusCode.UNSET


def test_without_transcription_nothing_is_waited_for(call):
    call.session(transcription=False).speech("u1").answer("r1", "a1").said("r1", "a1", "Hello!").done("r1")
    call.clock.advance(3.0)
    call.speech("u2")
    assert messages(call.named("turn_complete")) == [{"role": "assistant", "content": "Hello!"}]


def test_a_transcript_told_only_by_the_end_of_the_response_is_told_once(call):
    call.session().answer("r1", "a1")
    part = {"type": "output_audio", "transcript": "Only here."}
    message = {"id": "a1", "type": "message", "role": "assistant", "content": [part]}
    call.done("r1", output=[message]).end()
    assert messages(call.named("output_transcription")) == [{"role": "assistant", "content": "Only here."}]
    assert call.transcript == [("assistant", "Only here.")]


def test_silence_that_was_transcribed_is_no_message(call):
    """As when the server nudges a caller who says nothing."""
    call.session().server(
        "input_audio_buffer.timeout_triggered", item_id="u1", audio_start_ms=0, audio_end_ms=5000
    )
    call.server("input_audio_buffer.committed", item_id="u1").heard("u1", "").answer("r1", "a1")
    call.said("r1", "a1", "Still there?").done("r1").end()
    assert call.transcript == [("assistant", "Still there?")]
    assert messages(call.named("turn_complete")) == [{"role": "assistant", "content": "Still there?"}]


def test_a_transcript_told_twice_is_one_and_a_better_one_counts(call):
    call.session().speech("u1").heard("u1", "Hi").heard("u1", "Hi").heard("u1", "Hi there").end()
    assert call.names.count("input_transcription") == 2
    assert call.transcript == [("user", "Hi there")]


def test_an_utterance_of_several_parts_is_one_message(call):
    call.session().speech("u1")
    kind = "conversation.item.input_audio_transcription.completed"
    for index, words in ((1, "and goodbye"), (0, "Hello")):
        call.server(kind, item_id="u1", content_index=index, transcript=words)
    call.end()
    assert call.transcript == [("user", "Hello and goodbye")]


def test_a_message_and_a_call_in_one_response(call):
    """With the fields of a service that puts the payload first, usage beside the response, and no conversation id."""
    call.session(voice={"name": "ara", "type": "custom"}).answer("r1", "a1", audio_ms=0)
    for _ in range(3):
        fields = {"delta": audio(100), "content_index": 0, "audio_duration_ms": 100, "ts": 1783466217880}
        call.server("response.output_audio.delta", item_id="a1", response_id="r1", **fields)
    call.said("r1", "a1", "I'll check.")
    item = {"id": "f1", "type": "function_call", "role": "user", "call_id": "c1", "name": "look"}
    call.server(
        "response.output_item.added",
        response_id="r1",
        item={**item, "status": "in_progress", "arguments": ""},
    )
    full = {**item, "status": "completed", "arguments": "{}"}
    call.server(
        "response.function_call_arguments.done",
        response_id="r1",
        item_id="f1",
        call_id="c1",
        name="look",
        arguments="{}",
    )
    message = {
        "id": "a1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "audio", "transcript": "I'll check."}],
    }
    call.done("r1", output=[message, full]).end()
    (said,) = messages(call.named("turn_complete"))
    assert said["content"] == "I'll check."
    assert said["tool_calls"][0]["id"] == "c1"
    assert fact(call.named("turn_complete"), "generated_ms") == 300
    assert call.names.count("output_transcription") == 1


# Functions.


def call_function(call, call_id="c1", name="get_weather", arguments='{"city": "Oslo"}', response="r1"):
    item = {"id": f"f-{call_id}", "type": "function_call", "call_id": call_id, "name": name}
    begun = {**item, "status": "in_progress", "arguments": ""}
    call.server("response.output_item.added", response_id=response, item=begun)
    call.server("conversation.item.added", item=begun)
    ids = {"response_id": response, "item_id": item["id"], "call_id": call_id}
    call.server("response.function_call_arguments.delta", **ids, delta="{")
    call.server("response.function_call_arguments.done", **ids, arguments=arguments)
    full = {**item, "status": "completed", "arguments": arguments}
    call.server("conversation.item.done", item=full)
    call.server("response.output_item.done", response_id=response, item=full)
    return full


def answer_function(call, call_id="c1", output='{"degrees": 4}', **timing):
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return call.client("conversation.item.create", item=item, **timing)


def test_a_function_call_lasts_from_its_arguments_to_its_answer(call):
    call.session().server("response.created", response={"id": "r1"})
    full = call_function(call)
    call.done("r1", output=[full])
    answer_function(call, after=1.5)
    echo = {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": '{"degrees": 4}'}
    call.server("conversation.item.added", item=echo).server("conversation.item.done", item=echo)
    call.server("response.created", response={"id": "r2"}).done("r2")

    span = call.named("function_call: get_weather")
    assert seconds(span) == 1.5
    assert span.attributes["langsmith.span.kind"] == "tool"
    assert span.attributes["gen_ai.tool.name"] == "get_weather"
    assert content(span, "in") == {"city": "Oslo"}
    assert content(span, "out") == {"degrees": 4}
    response = call.named("function_response: get_weather")
    assert "gen_ai.tool.name" not in response.attributes
    assert messages(response)[0]["tool_call_id"] == "c1"
    first, second = (span for span in call.spans if span.name == "turn_complete")
    assert messages(first)[-1]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    ]
    assert [message["role"] for message in messages(second)] == ["tool", "assistant"]


def test_an_answer_before_the_response_is_over_counts(call):
    call.session().server("response.created", response={"id": "r1"})
    full = call_function(call)
    answer_function(call, after=0.25)
    call.done("r1", output=[full]).end()
    assert seconds(call.named("function_call: get_weather")) == 0.25


def test_several_calls_in_one_response_are_answered_in_any_order(call):
    call.session().server("response.created", response={"id": "r1"})
    items = [call_function(call, f"c{number}", f"tool_{number}") for number in (1, 2, 3)]
    call.done("r1", output=items)
    answer_function(call, "c3", after=1)
    answer_function(call, "c1", after=1)
    answer_function(call, "c2", after=1)
    call.end()
    assert [seconds(call.named(f"function_call: tool_{number}")) for number in (1, 2, 3)] == [2.0, 3.0, 1.0]
    assert len(messages(call.named("turn_complete"))[-1]["tool_calls"]) == 3


def test_a_call_that_is_never_answered_is_an_error(call):
    call.session().server("response.created", response={"id": "r1"})
    call_function(call)
    call.clock.advance(4)
    call.end()
    span = call.named("function_call: get_weather")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "never_answered"
    assert seconds(span) == 4.0
    assert call.root.status.status_code is StatusCode.UNSET


def test_a_call_told_only_by_the_end_of_the_response_is_seen(call):
    item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    call.session().server("response.created", response={"id": "r1"}).done("r1", output=[item]).end()
    assert call.names.count("function_call: look") == 1


def test_a_sideband_sees_an_answer_that_another_client_sent(call):
    call.session().server("response.created", response={"id": "r1"})
    call_function(call)
    echo = {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": "4"}
    call.server("conversation.item.added", item=echo, after=1).server(
        "conversation.item.done", item=echo
    ).end()
    assert seconds(call.named("function_call: get_weather")) == 1.0
    assert call.names.count("function_response: get_weather") == 1


def test_a_call_that_was_put_back_into_the_history_did_not_happen_now(call):
    call.session()
    old = {"type": "function_call", "call_id": "old", "name": "get_weather", "arguments": "{}"}
    call.client("conversation.item.create", item=old)
    answer_function(call, "old")
    call.server("conversation.item.added", item={**old, "id": "x", "status": "completed"})
    call.server("conversation.item.done", item={**old, "id": "x", "status": "completed"}).end()
    assert not [name for name in call.names if name.startswith("function")]


# Responses.


@pytest.mark.parametrize(
    ("status", "details", "error"),
    [
        ("completed", None, None),
        ("cancelled", {"type": "cancelled", "reason": "client_cancelled"}, None),
        ("incomplete", {"type": "incomplete", "reason": "max_output_tokens"}, None),
        ("failed", {"type": "failed", "error": {"type": "server_error", "code": "overloaded"}}, "overloaded"),
        ("completed", "unimplemented", None),
    ],
)
def test_how_a_response_ended(call, status, details, error):
    call.session().server("response.created", response={"id": "r1"}).done(
        "r1", status, status_details=details
    )
    call.end()
    turn = call.named("turn_complete")
    assert fact(turn, "status") == status
    assert fact(turn, "reason") == (
        details["reason"] if isinstance(details, dict) and "reason" in details else None
    )
    assert turn.attributes.get("error.type") == error
    assert (turn.status.status_code is StatusCode.ERROR) == (error is not None)
    # A failed response does not make the conversation a failure.
    assert call.root.status.status_code is StatusCode.UNSET


def test_usage_is_told_as_the_server_counted_it(call):
    usage = {
        "total_tokens": 253,
        "input_tokens": 132,
        "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119,
            "audio_tokens": 13,
            "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91, "reasoning_tokens": 27},
    }
    call.session().server("response.created", response={"id": "r1"}).done("r1", usage=usage).end()
    turn = call.named("turn_complete")
    assert json.loads(turn.attributes["langsmith.usage_metadata"]) == {
        "input_tokens": 132,
        "output_tokens": 121,
        "total_tokens": 253,
        "input_token_details": {"text": 59, "audio": 9, "cache_read": 64},
        "output_token_details": {"text": 3, "audio": 91, "reasoning": 27},
    }
    assert turn.attributes["gen_ai.usage.audio.cache_read.input_tokens"] == 4
    assert turn.attributes["gen_ai.usage.cache_read.input_tokens"] == 64
    assert fact(call.root, "output_audio_tokens") == 91
    assert "langsmith.usage_metadata" not in call.root.attributes


def test_usage_beside_the_response_counts_as_well(call):
    call.session().server("response.created", response={"id": "r1"})
    response = {
        "id": "r1",
        "status": "completed",
        "status_details": "unimplemented",
        "usage": {},
        "output": [],
    }
    call.server("response.done", response=response, usage={"input_tokens": 3, "output_tokens": 4}).end()
    assert call.named("turn_complete").attributes["gen_ai.usage.output_tokens"] == 4


def test_overlapping_responses_keep_their_own_times_and_texts(call):
    call.session(transcription=False)
    call.answer("r1", "a1").answer("r2", "a2")
    call.said("r2", "a2", "second").said("r1", "a1", "first")
    call.clock.advance(1)
    call.done("r2")
    call.clock.advance(1)
    call.done("r1").end()
    turns = {fact(span, "response_id"): span for span in call.spans if span.name == "turn_complete"}
    assert [seconds(turns[name]) for name in ("r1", "r2")] == [2.0, 1.0]
    assert [messages(turns[name])[-1]["content"] for name in ("r1", "r2")] == ["first", "second"]


def test_a_response_out_of_band_takes_no_input_from_the_conversation(call):
    call.session(transcription=False)
    call.client("conversation.item.create", item=typed("What now?"))
    aside = {"id": "r1", "conversation_id": None, "metadata": {"topic": "summary"}}
    call.server("conversation.item.added", item=typed("What now?", "m1"))
    said = {"id": "a1", "type": "message", "role": "assistant"}
    said["content"] = [{"type": "output_text", "text": "They ask what now."}]
    call.server("response.created", response=aside).done(
        "r1", output=[said], metadata={"topic": "summary"}, conversation_id=None
    )
    call.server("response.created", response={"id": "r2", "conversation_id": "conv_1"}).done("r2").end()
    first, second = (span for span in call.spans if span.name == "turn_complete")
    assert messages(first) == [{"role": "assistant", "content": "They ask what now."}]
    assert json.loads(fact(first, "response_metadata")) == {"topic": "summary"}
    assert messages(second)[0] == {"role": "user", "content": "What now?"}
    # Nobody heard it: it is no input of what comes after it.
    assert "They ask what now." not in str(dict(second.attributes))


# Typed messages.


def typed(text, item_id=None, role="user"):
    item = {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
    return item if item_id is None else {**item, "id": item_id}


def test_a_typed_message_is_told_once_by_whichever_frame_is_first(call):
    call.session()
    call.client("conversation.item.create", item=typed("Hi"))
    for kind in ("conversation.item.added", "conversation.item.done", "conversation.item.created"):
        call.server(kind, item=typed("Hi", "m1"))
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert call.names.count("conversation.item.added") == 1
    assert "conversation.item.done" not in call.names
    assert call.transcript == [("user", "Hi")]


def test_typed_twice_is_said_twice(call):
    call.session()
    for number in (1, 2):
        call.client("conversation.item.create", item=typed("Hi"))
        call.server("conversation.item.added", item=typed("Hi", f"m{number}"))
    call.end()
    assert call.transcript == [("user", "Hi"), ("user", "Hi")]


def test_a_message_that_the_server_refused_is_not_in_the_transcript(call):
    call.session()
    call.client("conversation.item.create", item=typed("Hi"), event_id="mine")
    error = {"type": "invalid_request_error", "code": "bad", "message": "no", "event_id": "mine"}
    call.server("error", error=error)
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert call.transcript == []
    assert fact(call.named("error"), "client_event_id") == "mine"


def test_a_message_that_the_service_takes_without_showing_it_is_in_the_transcript(call):
    call.session()
    call.client("conversation.item.create", item=typed("Hi"))
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert messages(call.named("turn_complete"))[0] == {"role": "user", "content": "Hi"}


def test_a_history_that_was_put_back_is_marked(call):
    call.session()
    old = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Earlier."}]}
    call.client("conversation.item.create", item=old)
    call.server("conversation.item.added", item={**old, "id": "m1", "status": "completed"}).end()
    (message,) = messages(call.root)
    assert message["metadata"] == {"put_back": True}


def test_text_answers_are_their_own_event_and_in_the_transcript(call):
    call.session().server("response.created", response={"id": "r1"})
    ids = {"response_id": "r1", "item_id": "a1", "content_index": 0}
    call.server("response.output_text.delta", **ids, delta="Fo").server(
        "response.output_text.done", **ids, text="Foggy."
    )
    call.done("r1").end()
    assert "response.output_text.done" in call.names
    assert "response.output_text.delta" not in call.names
    assert messages(call.named("turn_complete")) == [{"role": "assistant", "content": "Foggy."}]
    assert call.named("turn_complete").attributes["gen_ai.output.type"] == "text"


# Barge-ins.


CANCELLED = {"type": "cancelled", "reason": "turn_detected"}


def test_cut_off_on_a_plain_socket(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=3000)
    call.server("input_audio_buffer.speech_started", item_id="u2", after=1.0)
    call.client("conversation.item.truncate", item_id="a1", content_index=0, audio_end_ms=900, after=0.1)
    call.said("r1", "a1", "A long answer.").done("r1", "cancelled", status_details=CANCELLED)
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=900).end()
    cut = call.named("interrupted")
    assert fact(cut, "cause") == "conversation.item.truncate"
    assert (fact(cut, "heard_ms"), fact(cut, "generated_ms")) == (900, 3000)
    turn = call.named("turn_complete")
    assert (fact(turn, "interrupted"), fact(turn, "heard_ms"), fact(turn, "generated_ms")) == (
        True,
        900,
        3000,
    )
    assert "conversation.item.truncated" in call.names
    (message,) = messages(call.root)
    assert message["metadata"] == {"interrupted": True, "heard_ms": 900, "generated_ms": 3000}
    assert fact(call.root, "interruption_count") == 1


def test_cut_off_over_webrtc_waits_for_what_was_heard(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=0)
    call.server("output_audio_buffer.started", response_id="r1")
    call.server("input_audio_buffer.speech_started", item_id="u2", after=2.0)
    call.server("output_audio_buffer.cleared", response_id="r1", after=0.3)
    call.said("r1", "a1", "A long answer.").done("r1", "cancelled", status_details=CANCELLED)
    assert "interrupted" not in call.names
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=2100, after=0.5)
    cut = call.named("interrupted")
    assert seconds(cut) == 0.0
    assert (fact(cut, "cause"), fact(cut, "heard_ms")) == ("output_audio_buffer.cleared", 2100)
    assert fact(cut, "generated_ms") is None
    assert fact(cut, "barge_in_ms") == 300.0
    assert fact(call.named("turn_complete"), "heard_ms") == 2100


def test_cut_off_after_the_generation_had_finished(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=2000).said("r1", "a1", "All of it.").done(
        "r1"
    )
    call.server("input_audio_buffer.speech_started", item_id="u2", after=0.5)
    call.server("output_audio_buffer.cleared", response_id="r1")
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=700).end()
    cut = call.named("interrupted")
    assert (fact(cut, "heard_ms"), fact(cut, "generated_ms"), fact(cut, "response_id")) == (700, 2000, "r1")
    turn = call.named("turn_complete")
    assert fact(turn, "status") == "completed"
    assert (fact(turn, "interrupted"), fact(turn, "heard_ms")) == (True, 700)


def test_cut_off_after_the_next_response_began(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=3000).said("r1", "a1", "All of it.").done(
        "r1"
    )
    call.clock.advance(1.0)
    call.speech("u2", seconds=0.5).server("response.created", response={"id": "r2"}, after=0.1)
    call.client("conversation.item.truncate", item_id="a1", content_index=0, audio_end_ms=1200, after=0.1)
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=1200, after=0.1)
    call.answer("r2", "a2").said("r2", "a2", "Yes?").done("r2").end()
    first, second = sorted(
        (span for span in call.spans if span.name == "turn_complete"), key=lambda span: span.start_time
    )
    assert (fact(first, "interrupted"), fact(first, "heard_ms")) == (True, 1200)
    assert (fact(second, "interrupted"), fact(second, "heard_ms")) == (None, None)
    assert fact(call.root, "interruption_count") == 1
    assert fact(call.named("interrupted"), "response_id") == "r1"


def test_what_was_played_to_its_end_is_written_with_the_next_event(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=3000).said("r1", "a1", "All of it.").done(
        "r1"
    )
    assert "turn_complete" not in call.names
    call.server("rate_limits.updated", rate_limits=[], after=3.9)
    assert "turn_complete" not in call.names
    call.server("rate_limits.updated", rate_limits=[], after=0.2)
    assert "turn_complete" in call.names


def test_what_was_followed_by_an_answer_that_is_over_is_written(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=3000).said("r1", "a1", "First.").done("r1")
    call.answer("r2", "a2", audio_ms=200).said("r2", "a2", "Second.").done("r2")
    assert [span.name for span in call.spans].count("turn_complete") == 1


def test_cut_off_told_only_by_the_response(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=1000).said("r1", "a1", "Half of")
    call.done("r1", "cancelled", status_details=CANCELLED)
    call.server("response.created", response={"id": "r2"})
    cut = call.named("interrupted")
    assert fact(cut, "cause") == "response.done"
    assert fact(cut, "heard_ms") is None
    assert fact(cut, "generated_ms") == 1000


def test_a_response_cancelled_before_it_had_speech_is_no_interruption(call):
    call.session(transcription=False).server("response.created", response={"id": "r1"})
    call.server("input_audio_buffer.speech_started", item_id="u2")
    call.done("r1", "cancelled", status_details=CANCELLED).end()
    assert "interrupted" not in call.names
    assert fact(call.named("turn_complete"), "reason") == "turn_detected"


@pytest.mark.parametrize(
    "sizes", [[1600] * 10, [160, 170, 163, 160, 151] * 20, [16_001, 7, 8]], ids=["alike", "telephone", "odd"]
)
def test_generated_milliseconds_have_no_padding_in_them(call, sizes):
    """A telephone's 200 ms do not fill the last characters of their base64: two bytes too many in each frame."""
    call.session(audio={"output": {"format": {"type": "audio/pcmu"}}}).answer("r1", "a1", audio_ms=0)
    for size in sizes:
        delta = base64.b64encode(bytes(size)).decode()
        call.server("response.output_audio.delta", response_id="r1", item_id="a1", delta=delta)
    call.done("r1").end()
    assert fact(call.named("turn_complete"), "generated_ms") == round(sum(sizes) / 8)


def test_generated_milliseconds_follow_the_format(call):
    telephone = {"output": {"format": {"type": "audio/pcmu"}}}
    call.session(audio=telephone).answer("r1", "a1", audio_ms=0)
    for _ in range(4):
        call.server(
            "response.output_audio.delta", response_id="r1", item_id="a1", delta=audio(100, rate=4000)
        )
    call.done("r1").end()
    assert fact(call.named("turn_complete"), "generated_ms") == 400


@pytest.mark.parametrize(
    ("output", "rate"),
    [
        ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}}, 24_000),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, 8_000),
        ({"output_audio_format": "pcm16"}, 24_000),
        ({"output_audio_format": "g711_alaw"}, 8_000),
        ({}, None),
    ],
)
def test_the_rate_of_the_agents_audio(output, rate):
    (told, _) = Protocol().receive({"type": "session.created", "session": output}, 0)
    assert told.audio_rate == rate


# Latency.


def test_time_to_first_audio_runs_from_the_end_of_the_users_speech(call):
    call.session(transcription=False).speech("u1")
    call.clock.advance(0.65)
    call.answer("r1", "a1").done("r1").end()
    assert fact(call.named("turn_complete"), "latency_to_first_audio_ms") == 650.0


def test_through_a_function_call_the_user_waits_for_the_second_response(call):
    call.session(transcription=False).speech("u1").server("response.created", response={"id": "r1"})
    full = call_function(call)
    call.done("r1", output=[full])
    answer_function(call, after=2)
    call.answer("r2", "a2").done("r2").end()
    latencies = [
        fact(span, "latency_to_first_audio_ms") for span in call.spans if span.name == "turn_complete"
    ]
    assert latencies == [None, 2000.0]


def test_push_to_talk_ends_the_speech_when_the_application_commits(call):
    call.session(transcription=False)
    call.client("input_audio_buffer.commit").server("input_audio_buffer.committed", item_id="u1", after=0.1)
    call.client("response.create")
    call.clock.advance(0.4)
    call.answer("r1", "a1").done("r1").end()
    assert fact(call.named("turn_complete"), "latency_to_first_audio_ms") == 500.0


VAD = {"type": "server_vad", "silence_duration_ms": 500}


def detected_by(call, detection, **stopped):
    """What the gap is, of an answer 300 ms after the server's detection saw the end of the speech."""
    call.session(audio={"input": {"turn_detection": detection}})
    call.server("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=900)
    call.server("input_audio_buffer.speech_stopped", item_id="u1", after=2.5, **stopped)
    call.clock.advance(0.3)
    call.answer("r1", "a1").done("r1").end()
    turn = call.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_ms") == 300.0
    names = ("response_gap_ms", "endpointing_ms", "model_ms", "response_gap_basis", "response_gap_from")
    return [fact(turn, name) for name in names]


def test_the_response_gap_by_the_servers_detection_has_its_silence_in_it(call):
    assert detected_by(call, VAD, audio_end_ms=3400) == [800.0, 500.0, 300.0, "server", "speech_end"]


def append(as_json, ms, bytes_per_ms=48):
    frame = {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(bytes(round(ms * bytes_per_ms))).decode(),
    }
    return {"text": json.dumps, "bytes": lambda frame: json.dumps(frame).encode(), "dict": dict}[as_json](
        frame
    )


@pytest.mark.parametrize("as_json", ["text", "bytes", "dict"])
@pytest.mark.parametrize(
    ("form", "bytes_per_ms"), [({"type": "audio/pcm", "rate": 24000}, 48), ({"type": "audio/pcmu"}, 8)]
)
def test_the_servers_position_in_the_audio_says_when_the_user_was_silent(call, as_json, form, bytes_per_ms):
    """However late its word comes: here 400 ms after the audio of which it speaks was sent."""
    call.session(audio={"input": {"turn_detection": VAD, "format": form}})
    for _ in range(150):
        call.clock.advance(0.02)
        call.connection.sent(append(as_json, 20, bytes_per_ms))
    call.server("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=900)
    call.server("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=3000, after=0.4)
    call.clock.advance(0.3)
    call.answer("r1", "a1").done("r1").end()
    turn = call.named("turn_complete")
    assert fact(turn, "response_gap_ms") == pytest.approx(500 + 400 + 300, abs=1)
    assert fact(turn, "endpointing_ms") == pytest.approx(900, abs=1)
    assert (fact(turn, "response_gap_basis"), fact(turn, "response_gap_from")) == ("server", "speech_end")


@pytest.mark.parametrize(
    ("detection", "stopped"),
    [
        ({"type": "semantic_vad", "eagerness": "low"}, {"audio_end_ms": 3400}),
        ({"type": "server_vad"}, {"audio_end_ms": 3400}),
        (VAD, {}),
        (VAD, {"audio_end_ms": 100}),
        (None, {"audio_end_ms": 3400}),
    ],
)
def test_where_the_silence_is_not_known_there_is_no_response_gap(call, detection, stopped):
    assert detected_by(call, detection, **stopped) == [None] * 5


def test_the_silence_is_what_the_session_was_changed_to(call):
    call.session(audio={"input": {"turn_detection": VAD}})
    changed = {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {**VAD, "silence_duration_ms": 900}}},
    }
    call.server("session.updated", session=changed)
    call.speech("u1").clock.advance(0.3)
    call.answer("r1", "a1").done("r1").end()
    assert fact(call.named("turn_complete"), "response_gap_ms") == 1200.0


def test_a_commit_ends_the_turn_and_not_what_the_server_hears_of_it_later(call):
    call.session(audio={"input": {"turn_detection": VAD}})
    call.server("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=900)
    call.client("input_audio_buffer.commit", after=2.0)
    call.server("input_audio_buffer.committed", item_id="u1", after=0.1)
    call.server("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=3400, after=0.1)
    call.clock.advance(0.3)
    call.answer("r1", "a1").done("r1").end()
    turn = call.named("turn_complete")
    assert fact(turn, "latency_to_first_audio_ms") == 500.0
    assert (fact(turn, "response_gap_ms"), fact(turn, "response_gap_from")) == (500.0, "commit")
    assert fact(turn, "endpointing_ms") is None


@pytest.mark.parametrize("after_the_answer", [True, False])
def test_a_turn_does_not_last_through_a_function_that_holds_up_the_reading(call, after_the_answer):
    """The application runs it where it reads, and sees the end of the answer only then."""
    call.session(transcription=False).speech("u1").server("response.created", response={"id": "r1"})
    full = call_function(call)
    if after_the_answer:
        output = {"type": "function_call_output", "call_id": full["call_id"], "output": "{}"}
        call.client("conversation.item.create", item=output, after=2)
    call.clock.advance(2)
    call.done("r1", output=[full]).end()
    assert seconds(call.named("turn_complete")) == 0.0


def test_what_is_said_after_a_call_is_part_of_the_turn(call):
    call.session(transcription=False).server("response.created", response={"id": "r1"})
    full = call_function(call)
    call.clock.advance(2)
    call.server("response.output_audio.delta", response_id="r1", item_id="a1", delta=audio(100))
    call.clock.advance(1)
    call.done("r1", output=[full]).end()
    assert seconds(call.named("turn_complete")) == 3.0


# Errors and everything else.


def test_an_error_event_is_an_error_and_not_the_end(call):
    call.session().server(
        "error", error={"type": "invalid_request_error", "code": None, "message": "bad frame"}
    )
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    span = call.named("error")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "invalid_request_error"
    assert span.events[0].attributes["exception.message"] == "bad frame"
    assert "turn_complete" in call.names
    assert call.root.status.status_code is StatusCode.UNSET
    assert fact(call.root, "error_count") == 1


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("input_audio_buffer.timeout_triggered", {"item_id": "u1", "audio_start_ms": 1, "audio_end_ms": 2}),
        ("input_audio_buffer.dtmf_event_received", {"event": "5", "received_at": 1}),
        ("output_audio_buffer.started", {"response_id": "r1"}),
        ("output_audio_buffer.stopped", {"response_id": "r1"}),
        ("conversation.item.deleted", {"item_id": "m1"}),
        ("rate_limits.updated", {"rate_limits": []}),
        ("mcp_list_tools.in_progress", {"item_id": "t1"}),
        ("mcp_list_tools.completed", {"item_id": "t1"}),
        ("response.mcp_call.in_progress", {"item_id": "t1"}),
        ("response.mcp_call.completed", {"item_id": "t1"}),
        ("response.mcp_call_arguments.done", {"item_id": "t1", "arguments": "{}"}),
        ("something.nobody.knows", {"depth": {"of": ["things"]}}),
    ],
)
def test_an_event_without_a_name_of_its_own_passes_as_itself(call, kind, fields):
    call.server(kind, **fields).end()
    span = call.named(kind)
    assert content(span, "out") == {"type": kind, "event_id": "event_1", **fields}
    assert fact(span, "event_type") == kind


@pytest.mark.parametrize("kind", ["mcp_list_tools.failed", "response.mcp_call.failed"])
def test_what_failed_by_its_name_is_an_error(call, kind):
    call.server(kind, item_id="t1").end()
    assert call.named(kind).status.status_code is StatusCode.ERROR


def test_an_mcp_result_is_told_once(call):
    item = {"id": "t1", "type": "mcp_call", "name": "search", "arguments": "{}", "output": "found"}
    call.session().server("response.output_item.done", response_id="r1", item=item)
    call.server("conversation.item.done", item=item).end()
    assert content(call.named("function_call: search"), "out") == {"text": "found"}
    assert not [name for name in call.names if name.endswith(".done")]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("essential", ["session.created", "turn_complete"]),
        ("standard", ["session.created", "turn_complete", "rate_limits.updated"]),
        (
            "all",
            [
                "session.created",
                "response.create",
                "response.created",
                "turn_complete",
                "rate_limits.updated",
                "future.event",
            ],
        ),
    ],
)
def test_which_events_are_told_is_a_setting(make_call, monkeypatch, mode, expected):
    monkeypatch.setenv("VOICESPAN_EVENTS", mode)
    call = make_call().session()
    call.client("response.create", after=0.1)
    call.client("input_audio_buffer.append", audio="AAAA", after=0.1)
    call.server("response.created", response={"id": "r1"}, after=0.1)
    call.server("response.output_audio.delta", response_id="r1", item_id="a1", delta=audio(20))
    call.done("r1").server("rate_limits.updated", rate_limits=[], after=0.1)
    call.client("future.event", after=0.1).end()
    assert call.names == expected


def test_raw_frames_on_request(make_call, monkeypatch):
    monkeypatch.setenv("VOICESPAN_RAW_EVENTS", "1")
    call = make_call().session().server("response.created", response={"id": "r1"}).done("r1").end()
    assert json.loads(fact(call.named("turn_complete"), "raw_event"))["response"]["id"] == "r1"


BETA = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}


def spoken_turn(names):
    ids = {"response_id": "r1", "item_id": "a1", "output_index": 0, "content_index": 0}
    message = {"id": "a1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    yield {"type": "input_audio_buffer.speech_started", "item_id": "u1"}
    yield {"type": "input_audio_buffer.committed", "item_id": "u1"}
    yield {"type": "response.created", "response": {"id": "r1"}}
    yield {"type": "response.output_item.added", "response_id": "r1", "item": message}
    yield {"type": names("conversation.item.added"), "item": message}
    yield {"type": names("response.output_audio_transcript.delta"), **ids, "delta": "He"}
    yield {"type": names("response.output_audio.delta"), **ids, "delta": audio(100)}
    yield {"type": names("response.output_audio.delta"), **ids, "delta": audio(100)}
    yield {"type": names("response.output_audio.done"), **ids}
    yield {"type": names("response.output_audio_transcript.done"), **ids, "transcript": "Hello"}
    yield {"type": "response.done", "response": {"id": "r1", "status": "completed", "output": []}}


def moments_of(names):
    protocol = Protocol()
    told = []
    for at, frame in enumerate(spoken_turn(names)):
        data = json.dumps(frame).encode()
        told += [] if protocol.skip_server_frame(data) else protocol.receive(data, at)
    return told


def test_beta_names_tell_the_same_moments():
    def without_type(moment):
        return type(moment).__name__, {
            name: getattr(moment, name)
            for name in moment.__dataclass_fields__
            if name not in ("event_type", "payload")
        }

    ga, beta = moments_of(lambda name: name), moments_of(lambda name: BETA.get(name, name))
    assert [without_type(moment) for moment in beta] == [without_type(moment) for moment in ga]
    assert ga[-1].generated_ms == 200


# Robustness of the wire.


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"nonsense",
        b"[1, 2]",
        b'"text"',
        b"\xff\xfe",
        b'{"type": 5}',
        b"{}",
        b"[" * 100_000,
        b'{"type": null}',
    ],
)
def test_what_is_no_event_passes_without_harm(call, frame):
    call.connection.received(frame)
    call.end()
    assert len(call.spans) == 1


@pytest.mark.parametrize("kind", sorted(Protocol.SERVER))
@pytest.mark.parametrize("value", [None, 5, [], "text", {"id": []}, [None], {"a": {"b": None}}])
def test_fields_of_another_type_are_taken_as_not_told(make_call, kind, value):
    call = make_call().session()
    fields = (
        "item",
        "response",
        "session",
        "error",
        "usage",
        "item_id",
        "response_id",
        "delta",
        "transcript",
        "content_index",
    )
    call.server(kind, **dict.fromkeys(fields, value)).server(kind)
    call.end()
    assert call.root.name == "conversation"


@pytest.mark.parametrize("kind", sorted({**Protocol.SERVER, **Protocol.CLIENT}))
def test_every_event_may_come_bare_and_twice(make_call, kind):
    call = make_call()
    call.server(kind).server(kind).client(kind).client(kind).end()
    assert call.root.name == "conversation"


def test_audio_is_counted_wherever_its_payload_stands(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=100)
    ids = {"response_id": "r1", "item_id": "a1"}
    spaced = json.dumps({"type": "response.output_audio.delta", **ids, "delta": audio(100)}).encode()
    packed = json.dumps(
        {"type": "response.output_audio.delta", **ids, "delta": audio(100)}, separators=(",", ":")
    ).encode()
    payload_first = json.dumps({"delta": audio(100), "type": "response.output_audio.delta", **ids}).encode()
    for frame in (spaced, spaced, packed, packed, payload_first, payload_first):
        call.connection.received(frame)
    call.done("r1").end()
    assert fact(call.named("turn_complete"), "generated_ms") == 700


def test_audio_is_counted_whatever_the_sizes_of_its_frames(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=100)
    for ms in (100, 100, 40, 40, 200, 100, 100, 300):
        call.server("response.output_audio.delta", response_id="r1", item_id="a1", delta=audio(ms))
    call.done("r1").end()
    assert fact(call.named("turn_complete"), "generated_ms") == 1080


def test_a_frame_as_large_as_the_audio_with_the_ids_in_its_place_is_not_audio(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=200)
    frames = [
        b'{"type": "response.output_%s.delta", "event_id": "event_%s", "response_id": "r1", "item_id": "a1", "delta": "%s"}'
        % (kind, number, audio(100).encode())
        for kind, number in ((b"audio", b"9"), (b"text", b"10"))
    ]
    assert len(frames[0]) == len(frames[1])
    for frame in (frames[0], frames[0], frames[1]):
        call.connection.received(frame)
    call.done("r1").end()
    assert fact(call.named("turn_complete"), "generated_ms") == 400


def test_a_frame_that_would_hold_up_the_application_is_not_parsed(call):
    call.connection.received(b'{"type": "something.large", "text": "' + b"x" * 9_000_000 + b'"}')
    call.end()
    assert content(call.named("unreadable_frame"), "out") == {"bytes": 9_000_039}
