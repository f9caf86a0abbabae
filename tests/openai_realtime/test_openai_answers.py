"""Answers as they were: beside the conversation, in several messages, repeated, cut, retried, with tools of others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from opentelemetry.trace import StatusCode
from wire_call import audio, content, fact, messages, seconds

from voicespan.openai_realtime.protocol import Protocol
from voicespan.recording.recording_thread import RecordingThread
from voicespan.tracing import semconv
from voicespan.tracing.conversation_recording import ConversationRecorder


def turn(call, response):
    (found,) = [
        span for span in call.spans if span.name == "turn_complete" and fact(span, "response_id") == response
    ]
    return found


def words(span):
    return [message["content"] for message in messages(span)]


def typed(text, item_id=None, role="user", kind="input_text"):
    item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return item if item_id is None else {**item, "id": item_id}


# Out of band.


def write(call, response, text, **fields):
    item = {
        "id": f"x{response}",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    call.server("response.created", response={"id": response, "conversation_id": None, **fields})
    call.server("response.output_item.added", response_id=response, item=item)
    call.server("response.output_text.done", response_id=response, item_id=item["id"], text=text)
    done = {**item, "status": "completed", "content": [{"type": "output_text", "text": text}]}
    call.server("response.output_item.done", response_id=response, item=done)
    return call.done(response, output=[done], conversation_id=None, **fields)


def heard_user(call):
    return call.session().speech("u1").heard("u1", "My card number is 4.")


def test_an_answer_out_of_band_without_metadata_leaves_the_conversation_alone(call):
    heard_user(call)
    options = {"conversation": "none", "instructions": "Classify in one word."}
    call.client("response.create", response=options)
    write(call, "r1", "support")
    call.client("response.create").clock.advance(0.5)
    call.server("response.created", response={"id": "r2", "conversation_id": "conv_1"})
    call.said("r2", "a1", "I can help.").done("r2").end()
    aside, answer = turn(call, "r1"), turn(call, "r2")
    assert (fact(aside, "out_of_band"), fact(answer, "out_of_band")) == (True, None)
    assert messages(aside) == [
        {"role": "system", "content": "Classify in one word."},
        {"role": "assistant", "content": "support"},
    ]
    assert words(answer) == ["My card number is 4.", "I can help."]
    assert call.transcript == [("user", "My card number is 4."), ("assistant", "I can help.")]


def test_an_answer_out_of_band_has_its_own_input(call):
    heard_user(call).server("response.created", response={"id": "r2", "conversation_id": "conv_1"})
    meta = {"purpose": "moderation"}
    options = {"conversation": "none", "metadata": meta, "input": [typed("Is this safe: card 4")]}
    call.client("response.create", response=options)
    write(call, "r1", '{"safe": true}', metadata=meta)
    call.said("r2", "a1", "I can help.").done("r2").end()
    assert words(turn(call, "r1")) == ["Is this safe: card 4", '{"safe": true}']
    assert words(turn(call, "r2")) == ["My card number is 4.", "I can help."]
    assert [text for _, text in call.transcript] == ["My card number is 4.", "I can help."]


def test_what_was_spoken_out_of_band_is_no_latency_and_not_in_the_transcript_unless_heard(call):
    heard_user(call).client("response.create", response={"conversation": "none"})
    call.server("response.created", response={"id": "r1", "conversation_id": None}, after=0.1)
    ids = {"response_id": "r1", "item_id": "x1", "content_index": 0}
    call.server("response.output_audio.delta", **ids, delta=audio(100))
    call.said("r1", "x1", "A remark.").done("r1", conversation_id=None)
    call.clock.advance(0.9)
    call.answer("r2", "a1").said("r2", "a1", "An answer.").done("r2").end()
    assert fact(turn(call, "r1"), "latency_to_first_audio_ms") is None
    assert fact(turn(call, "r2"), "latency_to_first_audio_ms") == 1000.0
    assert words(turn(call, "r1")) == ["A remark."]
    assert [text for _, text in call.transcript] == ["My card number is 4.", "An answer."]
    assert call.names.count("output_transcription") == 2


class Player:
    """An application that plays what it receives, and a recorder that hears it."""

    def __init__(self, call, folder):
        self._call = call
        self._writer = RecordingThread(call.clock, threaded=False)
        self.recorder = ConversationRecorder(folder, clock=call.clock, writer=self._writer)
        call.conversation.lifecycle.spans.playback.recorder = self.recorder

    def play(self, seconds):
        self.recorder.agent(np.full(round(24_000 * seconds), 5_000, np.int16).tobytes(), 24_000)

    def speak(self, seconds):
        self.recorder.user(np.full(round(24_000 * seconds), 5_000, np.int16).tobytes(), 24_000)

    def pass_time(self, seconds):
        for _ in range(round(seconds / 0.1)):
            self._call.clock.advance(0.1)
            self._writer.run_once()


@pytest.fixture
def player(call, tmp_path):
    player = Player(call, tmp_path)
    yield player
    player.recorder.finish()


def remark(call, seconds=1.0):
    """An answer out of band, as it is received."""
    call.client("response.create", response={"conversation": "none"})
    call.server("response.created", response={"id": "r1", "conversation_id": None})
    ids = {"response_id": "r1", "item_id": "x1", "content_index": 0}
    call.server("response.output_audio.delta", **ids, delta=audio(round(seconds * 1_000)))
    return call.said("r1", "x1", "A remark.").done("r1", conversation_id=None)


def spoken(call, response="r2", item="a1", seconds=1.0):
    call.answer(response, item, audio_ms=round(seconds * 1_000))
    return call.said(response, item, "An answer.").done(response)


def test_what_was_spoken_out_of_band_and_heard_is_in_the_transcript_and_marked(call, player):
    heard_user(call)
    remark(call)
    player.play(1.0)
    player.pass_time(3.0)
    spoken(call)
    player.play(1.0)
    player.pass_time(3.0)
    call.end()
    said = messages(call.root)
    assert [message["content"] for message in said] == ["My card number is 4.", "A remark.", "An answer."]
    assert [message.get("metadata") for message in said] == [None, {"out_of_band": True}, None]


def test_what_was_spoken_out_of_band_and_not_played_is_not_in_the_transcript(call, player):
    heard_user(call)
    remark(call)
    player.pass_time(0.2)
    spoken(call)
    player.play(1.0)
    player.pass_time(3.0)
    call.end()
    assert [text for _, text in call.transcript] == ["My card number is 4.", "An answer."]


def test_what_was_received_beside_an_answer_that_sounds_is_not_taken_for_heard(call, player):
    heard_user(call)
    spoken(call, seconds=3.0)
    for number in range(30):
        player.play(0.1)
        if number == 10:
            remark(call)
        player.pass_time(0.1)
    call.server("input_audio_buffer.speech_started", item_id="u2")
    call.client("conversation.item.truncate", item_id="a1", content_index=0, audio_end_ms=2900)
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=2900)
    player.pass_time(3.0)
    call.end()
    assert [text for _, text in call.transcript] == ["My card number is 4.", "An answer."]
    assert fact(turn(call, "r2"), "heard_ms") == 2900


CANCELLED = {"type": "cancelled", "reason": "client_cancelled"}


def stopped_answer(call, player, *, voice, then):
    """The server hears no user (push to talk, or a detector of the application's own)."""
    call.session(transcription=False).answer("r2", "a1", audio_ms=4_000)
    for number in range(10):
        player.play(0.1)
        if voice and number >= 6:
            player.speak(0.1)
        player.pass_time(0.1)
    then()
    call.said("r2", "a1", "An answer.").done("r2", "cancelled", status_details=CANCELLED)
    player.pass_time(3.0)
    return call.end()


@pytest.mark.parametrize("voice", [True, False])
@pytest.mark.parametrize("by", ["response.cancel", "recorder"])
def test_an_answer_that_the_application_stops_is_a_barge_in_if_the_recording_has_the_users_voice(
    call, player, by, voice
):
    def stop():
        if by == "recorder":
            player.recorder.cut_agent()
        call.client("response.cancel")

    stopped_answer(call, player, voice=voice, then=stop)
    assert fact(call.root, "interruption_count") == int(voice)
    assert call.names.count("interrupted") == int(voice)
    assert fact(turn(call, "r2"), "interrupted") == (True if voice else None)
    if voice:
        assert fact(call.named("interrupted"), "barge_in_ms") == pytest.approx(400, abs=20)


def test_of_two_requests_each_answer_finds_its_own(call):
    heard_user(call)
    call.client("response.create", response={"conversation": "none", "instructions": "aside"})
    call.client("response.create")
    call.server("response.created", response={"id": "r2", "conversation_id": "conv_1"}).done("r2")
    write(call, "r1", "aside").end()
    assert (fact(turn(call, "r1"), "out_of_band"), fact(turn(call, "r2"), "out_of_band")) == (True, None)
    assert words(turn(call, "r1")) == ["aside", "aside"]


# Several messages, repeated answers, several connections.


def test_a_cut_in_the_second_message_of_an_answer(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=1000).said("r1", "a1", "First part.")
    ids = {"response_id": "r1", "item_id": "a2", "output_index": 1, "content_index": 0}
    message = {"id": "a2", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    call.server("response.output_item.added", response_id="r1", item=message)
    for _ in range(30):
        call.server("response.output_audio.delta", **ids, delta=audio(100))
    call.server("input_audio_buffer.speech_started", item_id="u2", after=0.5)
    call.client("conversation.item.truncate", item_id="a2", content_index=0, audio_end_ms=700)
    call.said("r1", "a2", "Second part.")
    call.done("r1", "cancelled", status_details={"type": "cancelled", "reason": "turn_detected"})
    call.server("conversation.item.truncated", item_id="a2", content_index=0, audio_end_ms=700).end()
    for span in (call.named("interrupted"), call.named("turn_complete")):
        assert (fact(span, "heard_ms"), fact(span, "generated_ms")) == (1700, 4000)
    first, second = messages(call.root)
    assert "metadata" not in first
    assert second["metadata"] == {"interrupted": True, "heard_ms": 700, "generated_ms": 3000}


USAGE = {"total_tokens": 110, "input_tokens": 100, "output_tokens": 10}


def test_an_answer_that_ends_twice_counts_once(call):
    call.session(transcription=False).server("response.created", response={"id": "r1"})
    call.done("r1", usage=USAGE).done("r1", usage=USAGE).end()
    assert call.names.count("turn_complete") == 1
    assert (fact(call.root, "turn_count"), fact(call.root, "total_tokens")) == (1, 110)


def test_two_connections_of_one_session_tell_each_thing_once(make_call):
    call = make_call(scoped=True)
    second = call.conversation.connect(Protocol(), {semconv.PROVIDER: "openai"})
    server = call.server

    def both(kind, *, after=0.0, **fields):
        server(kind, after=after, **fields)
        second.received(json.dumps({"type": kind, "event_id": "e", **fields}).encode())
        return call

    call.server = both
    call.session(transcription=False).speech("u1").answer("r1", "a1").said("r1", "a1", "Hi")
    both(
        "response.function_call_arguments.done",
        response_id="r1",
        item_id="f",
        call_id="c1",
        name="t",
        arguments="{}",
    )
    call.client(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "c1", "output": "{}"}
    )
    both(
        "conversation.item.added",
        item={"id": "o", "type": "function_call_output", "call_id": "c1", "output": "{}"},
    )
    call.done("r1", usage=USAGE)
    call.conversation.end()
    for name in (
        "turn_complete",
        "output_transcription",
        "function_call: t",
        "function_response: t",
        "session.created",
        "input_audio_buffer.speech_started",
    ):
        assert call.names.count(name) == 1, name
    assert call.named("function_call: t").status.status_code is StatusCode.UNSET
    assert (fact(call.root, "function_call_count"), fact(call.root, "total_tokens")) == (1, 110)


# Histories, tool calls, MCP.


def test_a_history_is_marked_in_prompt_and_transcript(call):
    call.session()
    for number, (role, kind, text) in enumerate(
        [
            ("user", "input_text", "Weather?"),
            ("assistant", "output_text", "Sunny."),
            ("user", "input_text", "And now?"),
        ]
    ):
        item = typed(text, role=role, kind=kind)
        call.client("conversation.item.create", item=item)
        call.server("conversation.item.added", item={**item, "id": f"m{number}", "status": "completed"})
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    marks = [message.get("metadata") for message in messages(call.named("turn_complete"))[:-1]]
    assert marks == [{"put_back": True}, {"put_back": True}, None]
    assert [message.get("metadata") for message in messages(call.root)] == marks


def test_a_call_of_a_history_is_in_prompt_and_transcript_and_was_not_made_now(call):
    call.session()
    old = {"type": "function_call", "call_id": "old", "name": "look", "arguments": '{"at": 1}'}
    output = {"type": "function_call_output", "call_id": "old", "output": "found"}
    for number, item in enumerate((old, output)):
        call.client("conversation.item.create", item=item)
        call.server("conversation.item.added", item={**item, "id": f"m{number}", "status": "completed"})
    call.server("response.created", response={"id": "r1"}).done("r1").end()
    made, answered = messages(call.named("turn_complete"))[:-1]
    assert made["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": 1}'}
    assert (answered["role"], answered["content"]) == ("tool", "found")
    assert made["metadata"] == answered["metadata"] == {"put_back": True}
    assert messages(call.root) == [made, answered]
    assert not [name for name in call.names if name.startswith("function")]
    assert fact(call.root, "function_call_count") == 0


def test_calls_are_in_the_answers_message_where_its_output_is_empty(call):
    call.session().server("response.created", response={"id": "r1"})
    item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    call.server("response.output_item.done", response_id="r1", item={**item, "status": "completed"})
    call.done("r1").end()
    assert [each["id"] for each in messages(call.named("turn_complete"))[-1]["tool_calls"]] == ["c1"]


MCP = {"id": "m1", "type": "mcp_call", "name": "search", "server_label": "docs", "arguments": ""}
ARGUMENTS = '{"q": "hours"}'


def search(call, **result):
    call.session().server("response.created", response={"id": "r1"})
    call.server("response.output_item.added", response_id="r1", item={**MCP, "status": "in_progress"})
    call.server("response.mcp_call_arguments.done", response_id="r1", item_id="m1", arguments=ARGUMENTS)
    call.server("response.mcp_call.in_progress", item_id="m1")
    call.server(
        "response.mcp_call.failed" if "error" in result else "response.mcp_call.completed",
        item_id="m1",
        after=0.8,
    )
    item = {**MCP, "arguments": ARGUMENTS, **result}
    call.server("conversation.item.done", item=item, after=0.1)
    call.server("response.output_item.done", response_id="r1", item=item)
    call.done("r1", output=[item]).server("response.created", response={"id": "r2"})
    return call.said("r2", "a1", "Nine to five.").done("r2").end()


def test_an_mcp_call_is_a_tool_run(call):
    search(call, status="completed", output="9 to 5")
    span = call.named("function_call: search")
    assert span.attributes["langsmith.span.kind"] == "tool"
    assert (content(span, "in"), content(span, "out")) == ({"q": "hours"}, {"text": "9 to 5"})
    assert seconds(span) == 0.8
    assert fact(span, "server_label") == "docs"
    assert fact(call.root, "function_call_count") == 1
    assert messages(turn(call, "r1"))[-1]["tool_calls"][0]["function"]["name"] == "search"
    assert words(turn(call, "r2")) == ["9 to 5", "Nine to five."]
    assert not [name for name in call.names if name.startswith("function_response")]


def test_a_failed_mcp_call_is_an_error(call):
    search(call, status="failed", error={"type": "http_error", "code": 500, "message": "no"})
    span = call.named("function_call: search")
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "http_error")


def test_an_mcp_call_only_in_the_end_of_the_response_is_seen(call):
    call.session().server("response.created", response={"id": "r1"})
    call.done("r1", output=[{**MCP, "status": "completed", "arguments": ARGUMENTS, "output": "9"}]).end()
    assert content(call.named("function_call: search"), "out") == {"value": 9}


def test_how_long_a_human_made_a_call_wait(call):
    ask = {
        "id": "ap1",
        "type": "mcp_approval_request",
        "server_label": "docs",
        "name": "search",
        "arguments": "{}",
    }
    call.session().server("response.created", response={"id": "r1"})
    call.server("response.output_item.added", response_id="r1", item=ask)
    call.server("conversation.item.done", item=ask).done("r1", output=[ask])
    reply = {"type": "mcp_approval_response", "approval_request_id": "ap1", "approve": True}
    call.client("conversation.item.create", item=reply, after=2.0)
    call.server("conversation.item.added", item={**reply, "id": "apr1"})
    done = {**MCP, "status": "completed", "arguments": "{}", "output": "x", "approval_request_id": "ap1"}
    call.server("response.output_item.done", response_id="r2", item=done).end()
    approval = call.named("mcp_approval: search")
    assert seconds(approval) == 2.0
    assert approval.attributes["langsmith.span.kind"] == "tool"
    # Neither a tool nor another agent has run.
    assert "gen_ai.operation.name" not in approval.attributes
    assert content(approval, "out")["approve"] is True
    assert fact(turn(call, "r1"), "outcome") == "completed"
    assert fact(call.named("function_call: search"), "approval_wait_ms") == 2000.0


# Transcripts and cuts.


def test_a_transcript_that_comes_while_the_service_listens_is_one_utterance(call):
    call.session().server("input_audio_buffer.speech_started", item_id="u1")
    for text in ("Good", "Good evening"):
        call.clock.advance(0.5)
        call.heard("u1", text, status="in_progress")
    call.clock.advance(0.5)
    call.heard("u1", "Good evening.", status="completed").end()
    span = call.named("input_transcription")
    assert (seconds(span), words(span)) == (1.0, ["Good evening."])
    assert call.transcript == [("user", "Good evening.")]


def test_the_words_of_a_cancelled_answer_are_kept(call):
    call.session(transcription=False).answer("r1", "a1")
    call.server("response.output_audio_transcript.delta", response_id="r1", item_id="a1", delta="lo there")
    call.done("r1", "cancelled", status_details={"type": "cancelled", "reason": "turn_detected"}).end()
    assert words(call.named("output_transcription")) == ["Hello there"]
    assert words(call.named("turn_complete")) == ["Hello there"]
    assert call.transcript == [("assistant", "Hello there")]


def test_an_answer_that_the_application_cancels_while_the_user_speaks_is_a_barge_in(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=4000)
    call.server("input_audio_buffer.speech_started", item_id="u2", after=1.5)
    call.client("response.cancel", after=0.005).said("r1", "a1", "Once upon a time")
    call.done("r1", "cancelled", status_details={"type": "cancelled", "reason": "client_cancelled"}).end()
    assert fact(call.named("interrupted"), "cause") == "response.cancel"
    assert fact(call.root, "interruption_count") == 1
    assert fact(call.named("turn_complete"), "interrupted") is True
    assert messages(call.root)[0]["metadata"]["interrupted"] is True


def test_a_button_that_stops_the_answer_is_no_barge_in(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=4000)
    call.client("response.cancel", after=1.0)
    call.done("r1", "cancelled", status_details={"type": "cancelled", "reason": "client_cancelled"}).end()
    assert "interrupted" not in call.names


def test_a_truncation_after_the_next_response_began_marks_the_answer_that_it_cut(call):
    call.session(transcription=False).answer("r1", "a1", audio_ms=4000).said("r1", "a1", "A story.").done(
        "r1"
    )
    call.server("input_audio_buffer.speech_started", item_id="u2", after=1.0)
    call.server("response.created", response={"id": "r2"}, after=1.0)
    call.client("conversation.item.truncate", item_id="a1", content_index=0, audio_end_ms=900)
    call.server("conversation.item.truncated", item_id="a1", content_index=0, audio_end_ms=900)
    call.done("r2").end()
    cut = call.named("interrupted")
    assert (fact(cut, "response_id"), fact(cut, "heard_ms"), fact(cut, "generated_ms")) == ("r1", 900, 4000)
    assert messages(call.root)[0]["metadata"] == {"interrupted": True, "heard_ms": 900, "generated_ms": 4000}
    assert fact(turn(call, "r2"), "interrupted") is None


def test_the_retry_after_a_failed_answer_has_its_prompt(call):
    heard_user(call).server("response.created", response={"id": "r1"})
    call.done("r1", "failed", status_details={"type": "failed", "error": {"type": "server_error"}})
    call.server("response.created", response={"id": "r2"}).said("r2", "a1", "I can help.").done("r2").end()
    assert words(turn(call, "r1"))[0] == "My card number is 4."
    assert words(turn(call, "r2")) == ["My card number is 4.", "I can help."]
