"""The Gemini Live server through the real SDK: what it says, when, and what it does not put up with."""

from __future__ import annotations

import asyncio
import base64
import doctest
import os
import ssl
from pathlib import Path

import numpy as np
import pytest
from google import genai
from google.genai import errors, types
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

from voicespan.testing.gemini_live import (
    Answer,
    Dialogue,
    Expect,
    FunctionCall,
    GeminiLiveServer,
    Refuse,
    Send,
    Transcription,
    server,
)
from voicespan.testing.gemini_live.certificates import authority

SPOKEN = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
}
WRITTEN = {"response_modalities": ["TEXT"]}


def connect(live_server, config=SPOKEN, **options):
    return genai.Client(**live_server.client_options(**options)).aio.live.connect(model="m", config=config)


async def say(session, text="Hi"):
    await session.send_client_content(turns={"role": "user", "parts": [{"text": text}]})


async def turn(session):
    return [message async for message in session.receive()]


def audio(pcm):
    return {"audio": types.Blob(data=pcm, mime_type="audio/pcm;rate=16000")}


def voice(milliseconds):
    noise = np.random.default_rng(7).normal(0, 4000, 16 * milliseconds)
    return noise.clip(-32768, 32767).astype("<i2").tobytes()


def silence(milliseconds):
    return bytes(32 * milliseconds)


def kinds(messages):
    """What each message tells, in order."""
    told = []
    for message in messages:
        content = message.server_content
        told += sorted(message.model_fields_set - {"server_content"})
        told += sorted(content.model_fields_set) if content is not None else []
    return told


def heard(messages):
    return b"".join(
        part.inline_data.data
        for message in messages
        if message.server_content and message.server_content.model_turn
        for part in message.server_content.model_turn.parts
        if part.inline_data
    )


def words(messages, side):
    contents = [message.server_content for message in messages if message.server_content]
    return "".join(
        getattr(content, f"{side}_transcription").text
        for content in contents
        if getattr(content, f"{side}_transcription")
    )


def test_the_examples():
    """They are what a reader copies."""
    assert doctest.testmod(server).failed == 0


# What it says.


async def test_a_typed_question_is_answered_in_speech(gemini_live_server):
    pcm = voice(100) + voice(100)
    live_server = gemini_live_server(Dialogue([Answer(transcript="Good morning!", audio=pcm)], chunk_ms=50))
    async with connect(live_server) as session:
        await say(session)
        messages = await turn(session)
    assert heard(messages) == pcm
    assert words(messages, "output") == "Good morning!"
    assert kinds(messages)[-3:] == ["generation_complete", "usage_metadata", "turn_complete"]
    usage = messages[-1].usage_metadata
    assert usage.total_token_count == usage.prompt_token_count + usage.response_token_count
    assert [each.modality.value for each in usage.response_tokens_details] == ["AUDIO"]


async def test_without_audio_an_answer_is_silence_of_a_plausible_length(gemini_live_server):
    async with connect(gemini_live_server(Dialogue([Answer("Hello!")]))) as session:
        await say(session)
        assert heard(await turn(session)) == bytes(6 * 60 * 48)


async def test_a_written_answer_comes_in_words(gemini_live_server):
    async with connect(
        gemini_live_server(Dialogue([Answer("One two", thoughts="Count.")])), WRITTEN
    ) as session:
        await say(session)
        parts = [
            (part.text, part.thought)
            for message in await turn(session)
            if message.server_content.model_turn
            for part in message.server_content.model_turn.parts
        ]
    assert parts == [("Count.", True), ("One", None), (" two", None)]


async def test_transcripts_come_only_where_they_are_switched_on(gemini_live_server):
    live_server = gemini_live_server()
    async with connect(live_server, {"response_modalities": ["AUDIO"]}) as session:
        await session.send_realtime_input(**audio(voice(400) + silence(600)))
        messages = await turn(session)
    assert heard(messages)
    assert words(messages, "output") == words(messages, "input") == ""


async def test_speech_is_heard_and_transcribed(gemini_live_server):
    dialogue = Dialogue([Answer("Yes?")], ["Good morning"], voice_activity=True, marks_last=True)
    async with connect(gemini_live_server(dialogue)) as session:
        await session.send_realtime_input(**audio(silence(300)))
        await session.send_realtime_input(**audio(voice(400)))
        await session.send_realtime_input(**audio(silence(600)))
        messages = await turn(session)
    assert words(messages, "input") == "Good morning"
    assert [kind for kind in kinds(messages) if kind == "voice_activity"] == ["voice_activity"] * 2
    fragments = [
        message.server_content.input_transcription.finished
        for message in messages
        if message.server_content and message.server_content.input_transcription
    ]
    assert fragments == [None, True]


async def test_words_may_come_during_the_answer(gemini_live_server):
    dialogue = Dialogue([Answer("Yes, my dear friend?")], [Transcription("Hello", arrives="during")])
    async with connect(gemini_live_server(dialogue)) as session:
        await session.send_realtime_input(**audio(voice(400) + silence(600)))
        told = kinds(await turn(session))
    assert 0 < told.index("input_transcription") < len(told) - 1
    assert "model_turn" in told[: told.index("input_transcription")]


async def test_it_is_interrupted_by_speech(gemini_live_server):
    dialogue = Dialogue([Answer("A very long story about a king", speed=0.5), Answer("Fine.")])
    async with connect(gemini_live_server(dialogue)) as session:
        await say(session)
        reading = asyncio.ensure_future(turn(session))
        await session.send_realtime_input(**audio(silence(1000)))
        await session.send_realtime_input(**audio(voice(400)))
        messages = await reading
        assert kinds(messages)[-3:] == ["interrupted", "usage_metadata", "turn_complete"]
        assert "generation_complete" not in kinds(messages)
        assert len(heard(messages)) == 2 * 200 * 48
        await session.send_realtime_input(**audio(silence(600)))
        assert words(await turn(session), "output") == "Fine."


async def test_push_to_talk(gemini_live_server):
    config = {
        **SPOKEN,
        "realtime_input_config": {"automatic_activity_detection": {"disabled": True}},
    }
    async with connect(gemini_live_server(Dialogue([Answer("Yes.")], ["Is it on?"])), config) as session:
        await session.send_realtime_input(**audio(voice(500) + silence(900)))
        await session.send_realtime_input(activity_start=types.ActivityStart())
        await session.send_realtime_input(**audio(voice(100)))
        await session.send_realtime_input(activity_end=types.ActivityEnd())
        messages = await turn(session)
    assert words(messages, "input") == "Is it on?"
    assert words(messages, "output") == "Yes."


async def test_a_held_answer_goes_on_when_it_is_released(gemini_live_server):
    live_server = gemini_live_server(Dialogue([Answer("One two three", pause_after=1)]))
    async with connect(live_server, WRITTEN) as session:
        await say(session)
        assert (await session._receive()).server_content.model_turn.parts[0].text == "One"
        await asyncio.to_thread(live_server.release, 1)
        assert (await session._receive()).server_content.model_turn.parts[0].text == " two"
        await asyncio.to_thread(live_server.release)
        assert kinds(await turn(session))[-1] == "turn_complete"


# Functions.


async def test_parallel_calls_are_one_message_and_the_turn_goes_on_after_the_last_answer(gemini_live_server):
    calls = [FunctionCall("first", {"a": 1}), FunctionCall("second", '{"b": 2}', call_id="mine")]
    dialogue = Dialogue([Answer("Wait.", calls=calls), Answer("Done.")])
    async with connect(gemini_live_server(dialogue)) as session:
        await say(session)
        asked = []
        messages = []
        async for message in session.receive():
            messages.append(message)
            if message.tool_call:
                asked = message.tool_call.function_calls
                for call in reversed(asked):
                    answer = types.FunctionResponse(id=call.id, name=call.name, response={"output": "ok"})
                    await session.send_tool_response(function_responses=answer)
    assert [(call.id, call.name, call.args) for call in asked] == [
        ("function-call-0001", "first", {"a": 1}),
        ("mine", "second", {"b": 2}),
    ]
    assert words(messages, "output") == "Wait.Done."
    assert kinds(messages).count("turn_complete") == 1


@pytest.mark.parametrize(("scheduling", "answered"), [("SILENT", False), ("WHEN_IDLE", True)])
async def test_a_call_that_does_not_block(gemini_live_server, scheduling, answered):
    calls = [FunctionCall("book", blocking=False)]
    live_server = gemini_live_server(
        Dialogue([Answer("On it.", calls=calls), Answer("Booked."), Answer("?")])
    )
    async with connect(live_server) as session:
        await say(session)
        (call,) = [message.tool_call for message in await turn(session) if message.tool_call]
        response = {"id": call.function_calls[0].id, "name": "book", "response": {}, "scheduling": scheduling}
        await session.send_tool_response(function_responses=[response])
        if not answered:
            await say(session)
        assert words(await turn(session), "output") == "Booked."


async def test_calls_without_ids(gemini_live_server):
    dialogue = Dialogue([Answer(calls=[FunctionCall("lookup", call_id="")]), Answer("Found.")])
    async with connect(gemini_live_server(dialogue), vertexai=True) as session:
        await say(session)
        call = (await session._receive()).tool_call.function_calls[0]
        assert call.id is None
        await session.send_tool_response(function_responses={"name": "lookup", "response": {}})
        assert words(await turn(session), "output") == "Found."


async def test_pending_calls_are_cancelled_by_an_interruption(gemini_live_server):
    dialogue = Dialogue([Answer(calls=[FunctionCall("lookup")]), Answer("Fine.")])
    async with connect(gemini_live_server(dialogue)) as session:
        await say(session)
        assert (await session._receive()).tool_call
        await session.send_realtime_input(**audio(voice(400) + silence(600)))
        messages = await turn(session)
        assert kinds(messages)[:2] == ["tool_call_cancellation", "interrupted"]


# Sessions.


async def test_vertex_ai_names_its_sessions(gemini_live_server):
    live_server = gemini_live_server()
    async with connect(live_server, vertexai=True) as session:
        assert session.session_id == "session-0001"
    assert live_server.connections[0].headers["authorization"] == "(redacted)"
    async with connect(live_server) as session:
        assert session.session_id is None


async def test_a_session_is_resumed_by_its_handle(gemini_live_server):
    def recall(asked):
        return Answer(" ".join(part["text"] for content in asked.contents for part in content["parts"]))

    live_server = gemini_live_server(Dialogue(recall))
    config = {**WRITTEN, "session_resumption": {}}
    async with connect(live_server, config) as session:
        first = (await session._receive()).session_resumption_update
        assert first.resumable
        await say(session, "one")
        await turn(session)
        handle = (await session._receive()).session_resumption_update.new_handle
        live_server.go_away("5s")
        assert (await session._receive()).go_away.time_left == "5s"
    async with connect(live_server, {**WRITTEN, "session_resumption": {"handle": handle}}) as session:
        await session._receive()
        await say(session, "two")
        texts = [
            m.server_content.model_turn.parts[0].text
            for m in await turn(session)
            if m.server_content.model_turn
        ]
    assert "".join(texts) == "one one two"


async def test_an_unknown_handle_is_refused(gemini_live_server):
    with pytest.raises(errors.APIError, match="1008"):
        async with connect(gemini_live_server(), {**SPOKEN, "session_resumption": {"handle": "no"}}):
            pytest.fail("it was refused")


# What it does not put up with.


async def closed_by(live_server, *frames):
    """The close with which the server answers these frames."""
    url = f"{live_server.url}/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    async with connect_websocket(url, ssl=authority().client_context()) as websocket:
        for frame in frames:
            await websocket.send(frame)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await websocket.recv()
    return closed.value.rcvd.code, closed.value.rcvd.reason


SETUP = '{"setup": {"model": "m"}}'


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (["{"], 1007),
        (["[]"], 1007),
        (["{}"], 1007),
        (['{"clientContent": {}}'], 1007),
        (['{"setup": 3}'], 1007),
        ([SETUP, SETUP], 1007),
        ([SETUP, '{"telepathy": {}}'], 1007),
        ([SETUP, '{"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "%"}}}'], 1007),
        ([SETUP, '{"toolResponse": {"functionResponses": [{"id": "nobody"}]}}'], 1008),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_told_by_the_close(gemini_live_server, frames, code):
    closed, reason = await closed_by(gemini_live_server(), *frames)
    assert closed == code
    assert reason


async def test_both_alphabets_and_both_cases_are_understood(gemini_live_server):
    live_server = gemini_live_server()
    loud = voice(400) + silence(600)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        blob = {"mimeType": "audio/pcm;rate=16000", "data": encode(loud).decode()}
        async with connect(live_server) as session:
            await session._ws.send(f'{{"realtimeInput": {{"audio": {str(blob).replace(chr(39), chr(34))}}}}}')
            assert heard(await turn(session))


async def test_a_refused_handshake(gemini_live_server):
    live_server = gemini_live_server(Refuse(403), Dialogue())
    with pytest.raises(Exception, match="403"):
        async with connect(live_server):
            pytest.fail("it was refused")
    async with connect(live_server):
        pass
    assert [each.status for each in live_server.connections] == [403, 101]


async def test_what_a_script_misses_is_raised_at_the_end():
    with pytest.raises(AssertionError, match="expected realtime_input 1 times"):
        with GeminiLiveServer(
            [Expect("setup"), Send({"setupComplete": {}}), Expect("realtime_input")]
        ) as live:
            async with connect(live):
                pass


async def test_answers_that_run_out_are_raised_at_the_end():
    with pytest.raises(AssertionError, match="asked for one more"):
        with GeminiLiveServer.conversational([Answer("One")]) as live:
            async with connect(live) as session:
                await say(session)
                await turn(session)
                await say(session)
                with pytest.raises(errors.APIError, match="1011"):
                    await turn(session)


# Trust.


async def test_nobody_else_is_trusted(gemini_live_server):
    live_server = gemini_live_server()
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_websocket(live_server.url, ssl=ssl.create_default_context())
    assert live_server.connections == []


def test_an_old_sdk_is_told_by_the_environment_whom_to_trust(monkeypatch):
    from google.genai._api_client import BaseApiClient

    monkeypatch.delattr(BaseApiClient, "_ensure_websocket_ssl_ctx")
    monkeypatch.setenv("SSL_CERT_FILE", "mine.pem")
    with GeminiLiveServer() as live_server:
        options = live_server.client_options()
        assert options["http_options"].async_client_args is None
        path = os.environ["SSL_CERT_FILE"]
        assert ssl.create_default_context(cafile=path).get_ca_certs()
    assert os.environ["SSL_CERT_FILE"] == "mine.pem"
    assert not Path(path).exists()
