"""What the server refused did not happen: it is an error on its own span, and in no prompt and no transcript."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from span_content import came
from wire_call import fact, messages, seconds

ANSWERED = {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": "sunny"}


def refuse(call, code, message, event_id=None, param=None):
    error = {
        "type": "invalid_request_error",
        "code": code,
        "message": message,
        "param": param,
        "event_id": event_id,
    }
    return call.server("error", error=error, after=0.05)


def typed(text, kind="input_text", **fields):
    return {"type": "message", "role": "user", "content": [{"type": kind, "text": text}], **fields}


def call_weather(call):
    item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    call.server("response.created", response={"id": "r1"})
    call.server("response.output_item.done", response_id="r1", item={**item, "status": "completed"})
    return call.done("r1", output=[item])


def answer(call, text, call_id="c1", **fields):
    item = {"type": "function_call_output", "call_id": call_id, "output": text}
    return call.client("conversation.item.create", item=item, after=1.0, **fields)


def refused(call, name):
    span = call.named(name)
    assert span.status.status_code is StatusCode.ERROR
    assert fact(span, "refused") is True
    assert [event.name for event in span.events] == ["exception"]
    return span


# Truncations.


def spoken(call):
    call.session(transcription=False).speech("u1").answer("r1", "a1", audio_ms=2600)
    message = {"id": "a1", "type": "message", "content": [{"type": "output_audio", "transcript": "Sure?"}]}
    call.said("r1", "a1", "Sure?").done("r1", output=[message])
    return call.server("input_audio_buffer.speech_started", item_id="u2", after=9.0)


def truncate(call, at, **fields):
    return call.client("conversation.item.truncate", item_id="a1", content_index=0, audio_end_ms=at, **fields)


@pytest.mark.parametrize("event_id", ["t1", None])
@pytest.mark.parametrize("message", ["Audio content of 2600ms is already shorter than 9100ms"])
def test_a_refused_truncation_is_no_barge_in(call, event_id, message):
    truncate(spoken(call), 9100, **({"event_id": event_id} if event_id else {}))
    refuse(call, "invalid_value", message, event_id).end()
    assert "interrupted" not in call.names
    assert fact(call.root, "interruption_count") == 0
    assert fact(call.named("turn_complete"), "heard_ms") is None
    refused(call, "conversation.item.truncate")


def test_a_truncation_at_the_full_length_cuts_nothing(call):
    truncate(spoken(call), 2600)
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=2600).end()
    assert "interrupted" not in call.names
    assert fact(call.root, "interruption_count") == 0


def test_a_truncation_that_was_refused_before_any_audio_is_no_barge_in(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=0)
    truncate(call.server("input_audio_buffer.speech_started", item_id="u2"), 0)
    refuse(call, "unsupported_content_type", "Only model output audio messages can be truncated").end()
    assert "interrupted" not in call.names


def test_a_truncation_that_nobody_answers_is_believed(call):
    truncate(spoken(call), 700).end()
    assert fact(call.named("interrupted"), "heard_ms") == 700


def test_a_truncation_lasts_from_when_it_was_sent(call):
    truncate(spoken(call), 700)
    sent_at = call.clock.time_ns()
    call.server(
        "conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=700, after=0.5
    ).end()
    assert abs(call.named("interrupted").start_time - sent_at) < 1e6


# What functions give back.


@pytest.mark.parametrize("event_id", ["e1", None])
def test_a_refused_answer_leaves_the_call_open_for_the_next(call, event_id):
    call_weather(call.session())
    answer(call, "x" * 60, **({"event_id": event_id} if event_id else {}))
    refuse(call, "string_above_max_length", "Invalid 'item.output': too long.", event_id, "item.output")
    answer(call, "sunny").server("conversation.item.added", item=ANSWERED)
    call.server("response.created", response={"id": "r2"}).done("r2").end()
    span = call.named("function_call: weather")
    assert seconds(span) == 2.05
    assert "sunny" in str(came(span))
    assert span.status.status_code is StatusCode.UNSET
    first, second = (each for each in call.spans if each.name == "function_response: weather")
    assert (fact(first, "refused"), first.status.status_code) == (True, StatusCode.ERROR)
    assert (fact(second, "refused"), second.status.status_code) == (None, StatusCode.UNSET)
    turn = next(
        each for each in call.spans if fact(each, "response_id") == "r2" and each.name == "turn_complete"
    )
    assert [message["content"] for message in messages(turn)] == ["sunny", ""]
    assert [text for role, text in call.transcript if role == "tool"] == ["sunny"]


def test_an_answer_to_a_call_that_nobody_made_is_in_no_prompt(call):
    call_weather(call.session())
    answer(call, "rain", "c9", event_id="e1")
    refuse(call, "invalid_value", "Tool call ID 'c9' not found in conversation.", "e1")
    answer(call, "sunny").server("conversation.item.added", item=ANSWERED)
    call.server("response.created", response={"id": "r2"}).done("r2").end()
    refused(call, "function_response")
    assert [text for role, text in call.transcript if role == "tool"] == ["sunny"]


def test_an_answer_to_a_call_that_nobody_made_is_in_no_prompt_where_nothing_is_refused(call):
    answer(call.session(), "rain", "c9")
    call.server("response.created", response={"id": "r2"}).done("r2").end()
    assert call.transcript == []
    assert "function_response" not in call.names


def test_what_the_application_does_after_an_answer_is_not_part_of_the_call(call):
    call_weather(call.session())
    answer(call, "sunny")
    assert "function_call: weather" not in call.names
    with call.conversation.use():
        current = trace.get_current_span().get_span_context().span_id
    call.end()
    assert current == call.root.get_span_context().span_id


# Messages, commits, sessions, deletions.


def test_a_refused_message_without_an_id_was_not_said(call):
    call.session().client("conversation.item.create", item=typed("Hello."))
    call.server("conversation.item.added", item=typed("Hello.", id="i1"))
    call.client("conversation.item.create", item=typed("My number is 5.", "text"), after=0.1)
    refuse(call, "invalid_value", "Invalid value: 'text'.", None, "item.content[0].type")
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert call.transcript == [("user", "Hello.")]
    assert [message["content"] for message in messages(call.named("turn_complete"))] == ["Hello.", ""]
    refused(call, "conversation.item.create")


def test_a_message_that_a_server_does_not_show_although_it_shows_others_was_not_said(call):
    call.session().client("conversation.item.create", item=typed("Hello."))
    call.server("conversation.item.added", item=typed("Hello.", id="i1"))
    call.client("conversation.item.create", item=typed("Anybody?"), after=0.1)
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert call.transcript == [("user", "Hello.")]


def test_a_refused_commit_does_not_end_the_users_turn(call):
    call.session(transcription=False).speech("u1")
    call.client("input_audio_buffer.commit", after=0.75)
    refuse(call, "input_audio_buffer_commit_empty", "Error committing input audio buffer: too small.")
    call.clock.advance(0.3)
    call.answer("r1", "a1").done("r1").end()
    assert fact(call.named("turn_complete"), "latency_to_first_audio_ms") == 1100.0
    refused(call, "input_audio_buffer.commit")


def test_an_accepted_commit_ends_the_users_turn_while_the_server_hears_speech(call):
    call.session(transcription=False)
    call.server("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    call.client("input_audio_buffer.commit", after=2.0)
    call.server("input_audio_buffer.committed", item_id="u1", after=0.1)
    call.clock.advance(0.4)
    call.answer("r1", "a1").done("r1").end()
    assert fact(call.named("turn_complete"), "latency_to_first_audio_ms") == 500.0


OTHERS = {
    "session.update": ({"session": {"voice": "nobody"}}, "invalid_value", "session.voice"),
    "conversation.item.delete": ({"item_id": "x"}, "item_delete_invalid_item_id", "item_id"),
    "response.create": ({"response": {}}, "conversation_already_has_active_response", None),
    "response.cancel": ({}, "response_cancel_not_active", None),
}


@pytest.mark.parametrize("event_id", ["mine", None])
@pytest.mark.parametrize("kind", OTHERS)
def test_what_else_is_refused(call, kind, event_id):
    fields, code, parameter = OTHERS[kind]
    call.session().client(kind, **fields, **({"event_id": event_id} if event_id else {}))
    refuse(call, code, "no", event_id, parameter).end()
    refused(call, kind)


def test_with_every_event_what_was_refused_stands_there_once(make_call, monkeypatch):
    monkeypatch.setenv("VOICESPAN_EVENTS", "all")
    call = make_call().session()
    call.client("session.update", session={"voice": "nobody"})
    refuse(call, "invalid_value", "no", None, "session.voice").end()
    refused(call, "session.update")


def test_an_error_of_the_server_itself_refuses_nothing(call):
    call.session().client("conversation.item.create", item=typed("Hi"))
    call.server("error", error={"type": "server_error", "code": "overloaded", "message": "sorry"})
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert call.transcript == [("user", "Hi")]


def test_what_was_accepted_is_not_refused_by_a_later_error(call):
    call.session().client("session.update", session={"type": "realtime"})
    call.server("session.updated", session={"type": "realtime"})
    refuse(call, "invalid_value", "bad frame").end()
    assert "session.update" not in call.names


def test_an_answer_under_an_id_that_is_none_passes_without_harm(call):
    call.session()
    for call_id in ({"a": 1}, [1], 1):
        item = {"type": "function_call_output", "call_id": call_id, "output": "x"}
        call.client("conversation.item.create", item=item)
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    assert call.transcript == []


def test_what_passed_without_a_word_is_not_refused_by_an_error_about_something_later(call):
    call.session().client("response.cancel")
    call.client("conversation.item.create", item=typed("Hello."), after=0.1)
    call.server("conversation.item.added", item=typed("Hello.", id="i1"))
    refuse(call, "invalid_value", "bad frame").end()
    assert "response.cancel" not in call.names
