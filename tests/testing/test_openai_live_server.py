"""The OpenAI Live server as the real SDK sees it: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import doctest
import io
import json
import wave

import pytest
from openai import AsyncOpenAI, NotFoundError
from openai.types.live import ConnectServerEvent
from openai_live_client import (
    KEY,
    MODEL,
    client,
    close,
    conversing,
    frame,
    nested,
    of,
    say,
    silence,
    speech,
    started,
    until,
    words,
)
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosedError, InvalidStatus

import voicespan.testing
import voicespan.testing.openai_live.server as server_module
from voicespan.testing.openai_live import FunctionCall, OpenAILiveServer, Refuse, Reply, Words

RESPONSES = {"delegation": {"type": "responses", "responses": {"model": "gpt-5"}}}
DECISIONS = {
    "delegation": {"type": "decisions", "decisions": {"model": "gpt-decide", "questions": []}},
}
UTTERANCE = speech(1200) + silence(900)


def test_the_examples_of_the_documentation_run():
    ran = doctest.testmod(server_module)
    assert (ran.failed, ran.attempted) == (0, 7)


def test_the_server_is_exported_lazily():
    assert voicespan.testing.OpenAILiveServer is OpenAILiveServer


def test_the_track_is_continuous_and_advances_with_what_comes_in():
    with conversing() as (_, connection):
        say(connection, silence(1000))
        track = until(connection, "session.output_audio.delta", 10)
        assert [each["type"] for each in track] == ["session.output_audio.delta"] * 10
        assert "event_id" not in track[0]
        assert "start_ms" not in track[0]
        assert close(connection)[-1]["usage"] == {"seconds": 1.0}


def test_both_sides_are_told_in_fragments_with_their_times():
    with conversing(Reply("Good morning to you!"), transcripts=["Hello there, agent"]) as (_, connection):
        say(connection, UTTERANCE + silence(2000))
        frames = close(connection)
    assert words(frames, "input") == "Hello there, agent"
    assert words(frames, "output") == "Good morning to you!"
    user = of(frames, "session.input_transcript.delta")
    assert (user[0]["start_ms"], user[-1]["end_ms"]) == (0, 1228)
    assert all(each["start_ms"] < each["end_ms"] for each in user)
    assert of(frames, "session.output_transcript.delta")[0]["start_ms"] >= user[-1]["end_ms"]


def test_words_can_be_late():
    with conversing(Reply("Yes."), transcripts=[Words("Are you there?", late_ms=2500)]) as (_, connection):
        say(connection, UTTERANCE + silence(3000))
        told = [each["type"] for each in close(connection) if each["type"].endswith("transcript.delta")]
    assert told[0] == "session.output_transcript.delta"
    assert told[-1] == "session.input_transcript.delta"


def test_the_model_falls_silent_when_the_user_speaks():
    with conversing(Reply("One two three four five six seven eight nine ten.")) as (_, connection):
        say(connection, UTTERANCE + silence(600) + speech(1000) + silence(3000))
        frames = close(connection)
    assert 0 < len(words(frames, "output").split()) < 10


def test_the_application_does_the_work_of_a_client_delegation():
    with conversing(Reply("One moment.", delegates=True)) as (_, connection):
        say(connection, UTTERANCE + silence(400))
        delegation = until(connection, "session.delegation.created")[-1]["delegation"]
        assert delegation == {"id": delegation["id"], "type": "delegation", "target": "client"}
        connection.session.commentary.append(
            content="It is sunny.", delegation_id=delegation["id"], event_id="answer"
        )
        say(connection, silence(1000))
        frames = close(connection)
    (appended,) = of(frames, "session.commentary.appended")
    assert appended["client_event_id"] == "answer"
    assert "It" in words(frames, "output")


def test_responses_calls_functions_and_writes_an_answer():
    reply = Reply(
        "Let me see.", delegates=True, calls=[FunctionCall("weather", {"city": "Rome"})], result="Sunny."
    )
    with conversing(reply, session=RESPONSES) as (_, connection):
        say(connection, UTTERANCE + silence(400))
        frames = until(connection, "session.delegation.created")
        (created,) = of(frames, "session.delegation.created")
        frames = until(connection, "response.event", 6)
        (done,) = [each for each in nested(frames) if each["type"] == "response.output_item.done"]
        assert done["item"]["name"] == "weather"
        connection.response.create(event_id="too early")
        error = until(connection, "error")[-1]["error"]
        assert (error["code"], error["client_event_id"]) == ("function_call_outputs_required", "too early")
        connection.response.item.create(
            item={"type": "function_call_output", "call_id": done["item"]["call_id"], "output": "sunny"}
        )
        connection.response.create()
        say(connection, silence(600))
        frames = close(connection)
    told = [each["type"] for each in nested(frames)]
    assert told == [
        "response.created", "response.output_text.delta", "response.output_text.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert {each["delegation_id"] for each in of(frames, "response.event")} == {created["delegation"]["id"]}
    assert nested(frames)[-1]["response"]["usage"]["total_tokens"] == 150
    assert nested(frames)[-1]["response"]["output"] == []
    assert "Sunny." in words(frames, "output")


def test_decisions_answer_at_once():
    with conversing(Reply(delegates=True), session=DECISIONS) as (_, connection):
        say(connection, UTTERANCE + silence(400))
        told = until(connection, "decision.event")[-1]
    assert told["event"]["decision"]["model"] == "gpt-decide"
    assert told["delegation_id"]


REFUSED = [
    ({"type": "session.start", "session": {"model": MODEL}}, "session_already_started"),
    ({"type": "session.update", "session": {"instructions": "Be brief."}}, "immutable_field_update"),
    ({"type": "session.commentary.append", "content": "Hi."}, "missing_required_parameter"),
    (
        {"type": "session.commentary.append", "content": "Hi.", "delegation_id": "item_0"},
        "invalid_delegation_id",
    ),
    ({"type": "response.create"}, "unsupported_delegation"),
    ({"type": "decision.item.delete"}, "missing_required_parameter"),
    ({"type": "session.input_audio.append", "audio": "?"}, "invalid_value"),
    ({"type": "input_audio_buffer.append", "audio": ""}, "unknown_parameter"),
    (["no object"], "invalid_json"),
]


@pytest.mark.parametrize(("command", "code"), REFUSED, ids=[code for _, code in REFUSED])
def test_what_cannot_be_taken_is_refused_and_changes_nothing(command, code):
    with conversing() as (_, connection):
        if isinstance(command, dict):
            command = {**command, "event_id": "mine"}
        connection.send_raw(json.dumps(command))
        error = frame(connection)
        assert (error["type"], error["error"]["code"]) == ("error", code)
        assert error["error"]["client_event_id"] == ("mine" if isinstance(command, dict) else None)
        assert close(connection)[-1]["reason"] == "close_requested"


def test_nothing_is_taken_before_the_start_and_a_start_needs_a_model():
    with OpenAILiveServer() as server, client(server).live.connect() as connection:
        connection.session.close(event_id="early")
        assert frame(connection)["error"]["code"] == "session_not_started"
        connection.send({"type": "session.start", "session": {}})
        assert frame(connection)["error"]["param"] == "session.model"


def test_context_that_was_not_placed_is_told_at_the_close():
    with conversing() as (_, connection):
        connection.session.thinking.append(content="Hm.", delegation_id=None, event_id="late")
        frames = close(connection)
    assert [each["type"] for each in frames] == ["error", "session.closed"]
    assert frames[0]["error"]["code"] == "context_injection_incomplete"


def test_the_connection_is_dropped_without_a_close_frame():
    with conversing() as (server, connection):
        close(connection)
        with pytest.raises(ConnectionClosedError):
            connection.recv()
        assert server.connections[0].wait_closed()[0] == 1006


def test_a_session_can_be_ended_by_the_service():
    with conversing() as (server, connection):
        server.end_sessions("content")
        assert until(connection, "session.closed")[-1]["reason"] == "content"


def test_a_sideband_sees_what_the_primary_sees_with_times_and_the_caller():
    with conversing(Reply("Hi.", delegates=True)) as (server, connection):
        (session_id,) = server.sessions
        with client(server).live.sideband.connect(session_id=session_id) as sideband:
            assert frame(sideband)["session"]["id"] == session_id
            say(connection, UTTERANCE + silence(600))
            until(connection, "session.delegation.created")
            frames = until(sideband, "session.delegation.created")
            assert of(frames, "session.input_audio.append")
            assert of(frames, "session.output_audio.delta")[0]["end_ms"] == 100
            sideband.send({"type": "session.start", "session": {"model": MODEL}})
            assert until(sideband, "error")[-1]["error"]["code"] == "invalid_event"
            sideband.transport.dtmf.send(event="5")
            assert until(sideband, "transport.dtmf.sent")[-1]["event"] == "5"
        assert server.connections[1].path == f"/v1/live/sessions/{session_id}/attach"


def test_a_stored_session_can_be_forked_and_its_recording_downloaded():
    with conversing(Reply("Hi."), session={"store": True}) as (server, connection):
        say(connection, UTTERANCE)
        close(connection)
        (session_id,) = server.sessions
        with client(server).live.forks.connect(session_id=session_id) as fork:
            fork.session.start(session={})
            assert frame(fork)["session"]["model"] == MODEL
        recording = client(server).live.sessions.download_recording(session_id).read()
    with wave.open(io.BytesIO(recording)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24_000)
        assert file.getnframes() == len(UTTERANCE) // 2


def test_what_was_not_stored_is_not_there():
    with conversing() as (server, _):
        (session_id,) = server.sessions
        with pytest.raises(NotFoundError):
            client(server).live.sessions.download_recording(session_id)
        with pytest.raises(InvalidStatus):
            client(server).live.forks.connect(session_id=session_id).enter()


def test_a_refused_handshake():
    with OpenAILiveServer(Refuse(401)) as server, pytest.raises(InvalidStatus):
        client(server).live.connect().enter()


async def test_the_async_client_holds_a_session_in_another_format():
    with OpenAILiveServer.conversational([Reply("Hi!")]) as server:
        async_client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with async_client.live.connect() as connection:
            audio = {"format": {"type": "audio/pcmu"}}
            await connection.session.start(session={"model": MODEL, "audio": audio})
            await connection.session.input_audio.append(audio="////" * 300)
            seen = [await connection.recv() for _ in range(2)]
    assert [each.type for each in seen] == ["session.started", "session.output_audio.delta"]


def test_every_event_is_one_that_the_sdk_knows():
    adapter = TypeAdapter(ConnectServerEvent)
    reply = Reply("Let me see.", delegates=True, calls=[FunctionCall("weather")], result="Sunny.")
    with conversing(reply, session=RESPONSES, usage_every_ms=1000) as (_, connection):
        say(connection, UTTERANCE + silence(1000))
        frames = close(connection)
    for each in frames:
        assert adapter.validate_python(each).type == each["type"]
    assert of(frames, "session.usage.updated")


def test_no_key_is_kept():
    with OpenAILiveServer() as server:
        with started(server):
            pass
        server.connections[0].wait_closed()
        assert KEY not in str(vars(server.connections[0]))
        with pytest.raises(NotFoundError):
            client(server).models.list()
