"""Answers that are cut: by the user's voice, by the client, and on a call's media track."""

from __future__ import annotations

import pytest
from openai_realtime_client import (
    SECOND,
    client,
    connected,
    conversing,
    joined,
    next_frame,
    only,
    order,
    read,
    say,
    silence,
    speech,
    types,
    update,
)

from voicespan.testing.openai_realtime import Answer, Dialogue, FunctionCall, OpenAIRealtimeServer
from voicespan.testing.openai_realtime.conversation import RealtimeConversation
from voicespan.testing.openai_realtime.dialect import DIALECTS

CUT_ORDER = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def test_speaking_over_an_answer_that_is_being_generated_cancels_it():
    story = Answer(audio=speech(4000), transcript="once upon a time there was a king", pause_after=3)
    with conversing([story, Answer("Sorry?")]) as (_, connection):
        connection.response.create()
        heard = read(connection, "response.output_audio.delta", count=3)
        say(connection, SECOND)
        cut = read(connection, "rate_limits.updated")
        say(connection, silence(400))
        again = read(connection, "response.done")
    assert types(cut) == ["input_audio_buffer.speech_started", *CUT_ORDER, "rate_limits.updated"]
    response = only(cut, "response.done")["response"]
    assert (response["status"], response["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "turn_detected"},
    )
    said = "".join(f["delta"] for f in heard if f["type"] == "response.output_audio_transcript.delta")
    assert only(cut, "response.output_audio_transcript.done")["transcript"] == said
    assert len(said) < len(story.transcript)
    assert response["output"][0]["content"][0]["transcript"] == said
    assert response["usage"]["output_token_details"]["audio_tokens"] == 12
    assert again[-1]["response"]["status"] == "completed"


def test_speaking_over_an_answer_before_it_has_output_leaves_nothing_of_it():
    answers = [Answer("Hm", pause_after=0), Answer("Yes?")]
    with conversing(answers) as (_, connection):
        connection.response.create()
        say(connection, SECOND)
        frames = read(connection, "response.done")
    assert types(frames) == ["response.created", "input_audio_buffer.speech_started", "response.done"]
    assert frames[-1]["response"]["output"] == []
    assert frames[-1]["response"]["usage"]["total_tokens"] == 0


def test_speaking_over_playback_is_the_client_s_to_tell():
    """Generation is over long before the answer was played: the server only learns what was heard."""
    answers = [Answer(audio=speech(4000), transcript="a long answer"), Answer("Yes?")]
    with conversing(answers) as (_, connection):
        connection.response.create()
        item = read(connection, "rate_limits.updated")[-2]["response"]["output"][0]
        say(connection, SECOND)
        assert next_frame(connection)["type"] == "input_audio_buffer.speech_started"
        connection.conversation.item.truncate(item_id=item["id"], content_index=0, audio_end_ms=1500)
        truncated = next_frame(connection)
        assert " ".join(truncated) == "type event_id item_id content_index audio_end_ms"
        assert (truncated["type"], truncated["audio_end_ms"]) == ("conversation.item.truncated", 1500)
        connection.conversation.item.retrieve(item_id=item["id"])
        assert next_frame(connection)["item"]["content"][0]["transcript"] == ""
        # What is gone is gone.
        connection.conversation.item.truncate(item_id=item["id"], content_index=0, audio_end_ms=1501)
        assert next_frame(connection)["error"]["code"] == "invalid_value"


def test_an_answer_is_not_interrupted_where_the_session_says_so():
    detection = {"type": "server_vad", "interrupt_response": False}
    with conversing([Answer("Wait.", pause_after=1)]) as (server, connection):
        update(connection, audio={"input": {"turn_detection": detection}})
        connection.response.create()
        read(connection, "response.output_audio.delta")
        say(connection, SECOND + silence(400))
        frames = read(connection, "error")
        assert "response.done" not in types(frames)
        assert frames[-1]["error"]["code"] == "conversation_already_has_active_response"
        server.release()
        assert read(connection, "response.done")[-1]["response"]["status"] == "completed"


@pytest.mark.parametrize("by_id", [True, False])
def test_a_client_cancels(by_id):
    story = Answer("One two three", pause_after=1)
    with conversing([story]) as (_, connection):
        connection.response.create()
        read(connection, "response.output_audio.delta")
        connection.response.cancel(**({"response_id": "resp_0001"} if by_id else {}))
        frames = read(connection, "response.done")
        assert types(frames) == CUT_ORDER
        assert frames[-1]["response"]["status_details"]["reason"] == "client_cancelled"
        assert frames[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_call_that_is_cut_off_has_no_done_arguments():
    call = FunctionCall("book", {"from": "Köln", "to": "Bonn", "at": "noon"})
    with conversing([Answer(calls=[call], pause_after=2)]) as (_, connection):
        connection.response.create()
        read(connection, "response.function_call_arguments.delta", count=2)
        connection.response.cancel()
        frames = read(connection, "response.done")
    assert types(frames) == ["conversation.item.done", "response.output_item.done", "response.done"]
    assert frames[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_paused_answer_is_released_chunk_by_chunk():
    with conversing([Answer(audio=speech(1000), pause_after=0)]) as (server, connection):
        connection.response.create()
        server.release(2)
        frames = read(connection, "response.output_audio.delta", count=2)
        assert types(frames).count("response.output_audio.delta") == 2
        # Nothing more came meanwhile: the answer to this is the next frame.
        connection.input_audio_buffer.clear()
        assert next_frame(connection)["type"] == "input_audio_buffer.cleared"
        server.release()
        frames = read(connection, "response.done")
        assert types(frames).count("response.output_audio.delta") == 3


def test_a_cancelled_answer_leaves_nothing_to_release():
    answers = [Answer("One two.", pause_after=1), Answer("Three four.", pause_after=1)]
    with conversing(answers) as (server, connection):
        connection.response.create()
        read(connection, "response.output_audio.delta")
        connection.response.cancel()
        read(connection, "response.done")
        connection.response.create()
        read(connection, "response.output_audio.delta")
        server.release()
        assert read(connection, "response.done")[-1]["response"]["status"] == "completed"


def test_a_connection_that_is_gone_leaves_nothing_to_release():
    with OpenAIRealtimeServer.conversational(lambda _turn: Answer("One two.", pause_after=1)) as server:
        for number in range(2):
            with connected(server) as connection:
                connection.response.create()
                read(connection, "response.output_audio.delta")
                if number == 1:
                    server.release()
                    read(connection, "response.done")
            server.connections[-1].wait_closed()


def test_a_release_that_comes_too_late_does_nothing():
    """A test may be on its way to release an answer while the user cuts it."""
    sent, held = [], []

    def hold(resume):
        held.append(resume)
        return lambda: None

    conversation = RealtimeConversation(
        Dialogue([Answer("One two.", pause_after=1)]),
        send=sent.append,
        next_id=lambda prefix: prefix,
        hold=hold,
        dialect=DIALECTS["ga"],
        model="gpt-realtime",
    )
    conversation.receive('{"type": "response.create"}')
    conversation.receive('{"type": "response.cancel"}')
    count = len(sent)
    held[0](None)
    assert len(sent) == count


def test_an_answer_can_keep_pace_with_the_user_s_audio():
    """The microphone is the clock: at speed 4, a chunk of 200 ms for every 50 ms that come in."""
    with conversing([Answer(audio=speech(1000), speed=4.0)]) as (_, connection):
        connection.response.create()
        say(connection, silence(150), chunk_ms=50)
        connection.input_audio_buffer.clear()
        frames = read(connection, "input_audio_buffer.cleared")
        assert types(frames).count("response.output_audio.delta") == 3
        say(connection, silence(150), chunk_ms=50)
        frames = read(connection, "response.done")
        assert types(frames).count("response.output_audio.delta") == 2


def test_a_release_with_nothing_to_release_fails_and_says_what_came():
    with conversing(timeout=0.01) as (server, connection):
        connection.input_audio_buffer.clear()
        read(connection, "input_audio_buffer.cleared")
        with pytest.raises(AssertionError, match=r"nothing was held .* input_audio_buffer\.clear"):
            server.release()


def test_a_sideband_joins_without_a_greeting():
    with joined() as (server, connection):
        connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        assert next_frame(connection)["type"] == "session.updated"
        assert server.connections[0].query == {"call_id": "rtc_1"}


def test_a_sideband_tells_of_playback_instead_of_audio():
    with OpenAIRealtimeServer() as server, client(server).realtime.connect(call_id="rtc_1") as connection:
        connection.response.create()
        frames = read(connection, "output_audio_buffer.stopped")
    assert "response.output_audio.delta" not in types(frames)
    assert order(frames)[-3:] == ["response.done", "rate_limits.updated", "output_audio_buffer.stopped"]
    started = only(frames, "output_audio_buffer.started")
    assert started["response_id"] == frames[-1]["response_id"] == "resp_0001"


def test_a_caller_interrupts_on_the_media_track():
    answers = [Answer(audio=speech(2000), transcript="well well", pause_after=4)]
    with joined(answers, rate_limits=False) as (server, connection):
        connection.response.create()
        read(connection, "output_audio_buffer.started")
        server.hear(SECOND)
        frames = read(connection, "conversation.item.truncated")
    cut = types(frames)[types(frames).index("input_audio_buffer.speech_started") :]
    assert cut == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        *CUT_ORDER,
        "conversation.item.truncated",
    ]
    assert frames[-1]["audio_end_ms"] == 800


def test_a_client_clears_what_is_played_on_the_media_track():
    with joined([Answer("Well.", pause_after=1)]) as (_, connection):
        connection.response.create()
        read(connection, "output_audio_buffer.started")
        connection.output_audio_buffer.clear()
        assert next_frame(connection)["type"] == "output_audio_buffer.cleared"
