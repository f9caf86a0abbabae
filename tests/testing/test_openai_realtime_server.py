"""The OpenAI Realtime server as clients of all kinds see it, and the order and fields of what it sends.

Orders and fields are those of recorded sessions; `FIELDS` and the `*_ORDER` lists were written down from
them.
"""

from __future__ import annotations

import base64
import doctest
import struct

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI
from openai.types.realtime import RealtimeServerEvent
from openai_realtime_client import (
    KEY,
    MODEL,
    SECOND,
    client,
    connected,
    conversing,
    next_frame,
    only,
    order,
    read,
    say,
    silence,
    speech,
    transcribe,
    types,
    update,
    user_says,
)
from pydantic import TypeAdapter

import voicespan.testing
import voicespan.testing.openai_realtime.server as server_module
from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer, Transcription


def test_the_examples_of_the_documentation_run():
    ran = doctest.testmod(server_module)
    assert (ran.failed, ran.attempted) == (0, 5)


def test_the_server_is_exported_lazily():
    assert voicespan.testing.OpenAIRealtimeServer is OpenAIRealtimeServer


def test_a_connection_keeps_what_the_client_did_but_no_key():
    with OpenAIRealtimeServer() as server:
        with connected(server, extra_query={"foo": "bar"}, extra_headers={"X-Trace": "1"}) as connection:
            connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
            connection.send_raw("not JSON")
        seen = server.connections[0]
        assert seen.wait_closed() == (1000, "")
        assert (seen.number, seen.path, seen.status) == (0, "/v1/realtime", 101)
        assert seen.query == {"model": MODEL, "foo": "bar"}
        assert seen.headers["x-trace"] == "1"
        assert "authorization" in seen.headers
        assert KEY not in str(vars(seen))
        assert seen.received == [
            {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
            "not JSON",
        ]


async def test_the_async_client_holds_a_conversation():
    with OpenAIRealtimeServer.conversational([Answer("Hi!")]) as server:
        async_client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with async_client.realtime.connect(model=MODEL) as connection:
            await connection.response.create()
            seen = []
            async for event in connection:
                seen.append(event.type)
                if event.type == "response.done":
                    break
            assert seen[0] == "session.created"
            assert event.response.output[0].content[0].transcript == "Hi!"


def test_the_beta_client_gets_the_beta_s_names():
    server = OpenAIRealtimeServer.conversational([Answer("Hello there.")], ["Hi, I'm Ann."])
    with server, client(server).beta.realtime.connect(model=MODEL) as connection:
        created = next_frame(connection)["session"]
        assert (created["modalities"], created["input_audio_format"]) == (["audio", "text"], "pcm16")
        connection.session.update(
            session={
                "voice": "echo",
                "input_audio_transcription": {"model": "whisper-1"},
                "temperature": 0.7,
            }
        )
        updated = next_frame(connection)["session"]
        assert (updated["voice"], updated["input_audio_transcription"]["model"]) == ("echo", "whisper-1")
        say(connection, SECOND + silence(400))
        frames = read(connection, "response.done")
    assert order(frames) == BETA_TURN_ORDER
    done = frames[-1]["response"]
    assert done["output"][0]["content"] == [{"type": "audio", "transcript": "Hello there."}]
    assert (done["voice"], done["output_audio_format"]) == ("echo", "pcm16")


BETA_TURN_ORDER = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.created",
    "response.created",
    "rate_limits.updated",
    "conversation.item.input_audio_transcription.delta",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    "response.audio_transcript.delta",
    "response.audio.delta",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]


def azure_options(server) -> dict:
    return {
        "api_key": KEY,
        "api_version": "2025-08-28",
        "azure_endpoint": "https://example.invalid",
        "websocket_base_url": server.url.replace("/v1", "/openai"),
    }


def test_an_azure_client_names_its_deployment():
    with OpenAIRealtimeServer() as server:
        with AzureOpenAI(**azure_options(server)).realtime.connect(model="my-deployment") as connection:
            assert next_frame(connection)["session"]["model"] == "my-deployment"
        seen = server.connections[0]
        assert seen.path == "/openai/realtime"
        assert seen.query == {"api-version": "2025-08-28", "deployment": "my-deployment"}
        assert seen.headers["api-key"] == "(redacted)"


async def test_an_async_azure_client_connects():
    with OpenAIRealtimeServer() as server:
        async with AsyncAzureOpenAI(**azure_options(server)).realtime.connect(model="d") as connection:
            assert (await connection.recv()).type == "session.created"


def test_every_frame_is_one_that_the_sdk_knows():
    """Validated strictly; the SDK's own parsing lets everything pass."""
    known = TypeAdapter(RealtimeServerEvent)
    answers = [
        Answer("Hm.", calls=[FunctionCall("look")]),
        Answer("There it is."),
        Answer("No.", error="sorry"),
    ]
    with conversing(answers, ["Look!"]) as (_, connection):
        transcribe(connection)
        say(connection, SECOND + silence(400))
        frames = read(connection, "rate_limits.updated")
        connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        connection.response.create()
        frames += read(connection, "response.done")
        connection.input_audio_buffer.clear()
        connection.conversation.item.retrieve(item_id="item_0001")
        connection.conversation.item.delete(item_id="item_0001")
        connection.response.cancel()
        connection.response.create()
        frames += read(connection, "response.done")
    for frame in frames:
        known.validate_python(frame)
    assert len(set(types(frames))) > 25


SPOKEN_TURN_ORDER = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "conversation.item.input_audio_transcription.delta",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]

FIELDS = {
    "session.created": "type event_id session",
    "input_audio_buffer.speech_started": "type event_id audio_start_ms item_id",
    "input_audio_buffer.speech_stopped": "type event_id audio_end_ms item_id",
    "input_audio_buffer.committed": "type event_id previous_item_id item_id",
    "conversation.item.added": "type event_id previous_item_id item",
    "conversation.item.done": "type event_id previous_item_id item",
    "conversation.item.input_audio_transcription.delta": "type event_id item_id content_index delta obfuscation",
    "conversation.item.input_audio_transcription.completed": "type event_id item_id content_index transcript usage",
    "response.created": "type event_id response",
    "response.output_item.added": "type event_id response_id output_index item",
    "response.content_part.added": "type event_id response_id item_id output_index content_index part",
    "response.output_audio.delta": "type event_id response_id item_id output_index content_index delta",
    "response.output_audio_transcript.delta": (
        "type event_id response_id item_id output_index content_index delta obfuscation"
    ),
    "response.output_audio.done": "type event_id response_id item_id output_index content_index",
    "response.output_audio_transcript.done": (
        "type event_id response_id item_id output_index content_index transcript"
    ),
    "response.content_part.done": "type event_id response_id item_id output_index content_index part",
    "response.output_item.done": "type event_id response_id output_index item",
    "response.done": "type event_id response",
}
SESSION_FIELDS = (
    "type object id model output_modalities instructions tools tool_choice max_output_tokens tracing truncation "
    "prompt expires_at audio include"
)
RESPONSE_FIELDS = "object id status status_details output conversation_id output_modalities max_output_tokens audio usage metadata"


def test_a_spoken_turn_goes_as_recorded():
    answer = Answer(audio=speech(2000), transcript="Hello!")
    with conversing([answer], ["My name is Ann."]) as (_, connection):
        transcribe(connection)
        say(connection, silence(1024) + SECOND + silence(500))
        frames = read(connection, "rate_limits.updated")
        connection.conversation.item.retrieve(item_id=frames[0]["item_id"])
        assert next_frame(connection)["item"]["content"][0]["transcript"] == "My name is Ann."
    assert order(frames) == SPOKEN_TURN_ORDER
    for frame in frames[:-1]:
        assert " ".join(frame) == FIELDS[frame["type"]]
    assert " ".join(frames[-2]["response"]) == RESPONSE_FIELDS

    started, stopped = frames[0], frames[1]
    # The tone begins at 1,024 ms and fills 31 windows of 32 ms; then come 7 silent ones.
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (1024 - 300, 1024 + 32 * 32 + 200 + 24)
    user_item = started["item_id"]
    assert stopped["item_id"] == only(frames, "input_audio_buffer.committed")["item_id"] == user_item
    completed = only(frames, "conversation.item.input_audio_transcription.completed")
    assert (completed["item_id"], completed["transcript"]) == (user_item, "My name is Ann.")
    assert completed["usage"] == {"type": "duration", "seconds": 2}
    deltas = [f["delta"] for f in frames if f["type"].endswith("transcription.delta")]
    assert "".join(deltas) == "My name is Ann."
    audio = [base64.b64decode(f["delta"]) for f in frames if f["type"] == "response.output_audio.delta"]
    assert b"".join(audio) == answer.audio
    assert {len(chunk) for chunk in audio} == {48 * 200}


def test_ids_are_the_same_in_every_run():
    with (
        OpenAIRealtimeServer.conversational([Answer(calls=[FunctionCall("a"), FunctionCall("b")])]) as server,
        client(server).realtime.connect(model=MODEL) as connection,
    ):
        connection.response.create()
        frames = read(connection, "response.done")
    assert [frame["event_id"] for frame in frames] == [f"event_{n:04d}" for n in range(1, len(frames) + 1)]
    assert frames[0]["session"]["id"] == "sess_0001"
    done = frames[-1]["response"]
    assert (done["id"], done["conversation_id"]) == ("resp_0001", "conv_0001")
    assert [(item["id"], item["call_id"]) for item in done["output"]] == [
        ("item_0001", "call_0001"),
        ("item_0002", "call_0002"),
    ]


def test_the_audio_s_chunks_do_not_matter():
    """Events are timed in samples: appends of 7 ms and of 3 s tell the same."""
    told = []
    for chunk_ms in (7, 3000):
        with conversing() as (_, connection):
            say(connection, silence(330) + SECOND + silence(700), chunk_ms)
            told.append(read(connection, "response.done"))
    assert told[0] == told[1]


def test_turn_detection_follows_the_session():
    detection = {"type": "server_vad", "threshold": 0.9, "prefix_padding_ms": 64, "silence_duration_ms": 640}
    with conversing() as (_, connection):
        update(connection, audio={"input": {"turn_detection": detection}})
        say(connection, silence(320) + speech(320) + silence(400) + speech(320) + silence(800))
        frames = read(connection, "response.done")
    started, stopped = (only(frames, f"input_audio_buffer.speech_{what}") for what in ("started", "stopped"))
    # A pause of 400 ms is none now.
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (
        320 - 64,
        320 + 320 + 400 + 320 + 640 + 16,
    )


def test_quiet_noise_is_no_speech_and_neither_is_a_click():
    noise = struct.pack("<2h", 200, -200) * 12 * 500
    click = speech(10) + silence(500)
    with conversing() as (_, connection):
        say(connection, noise + click)
        connection.session.update(session={"type": "realtime"})
        assert next_frame(connection)["type"] == "session.updated"


@pytest.mark.parametrize(("encoding", "loud"), [("audio/pcmu", 0x00), ("audio/pcma", 0x2A)])
def test_telephone_audio_is_heard_and_spoken(encoding, loud):
    quiet = {"audio/pcmu": 0xFF, "audio/pcma": 0xD5}[encoding]
    formats = {"input": {"format": {"type": encoding}}, "output": {"format": {"type": encoding}}}
    with conversing([Answer(audio=b"\x55" * 8000)]) as (_, connection):
        update(connection, audio=formats)
        say(
            connection,
            bytes([quiet]) * 8 * 320 + bytes([loud, loud ^ 0x80]) * 8 * 160 + bytes([quiet]) * 8 * 300,
        )
        frames = read(connection, "response.done")
    assert (frames[0]["audio_start_ms"], frames[1]["audio_end_ms"]) == (20, 320 + 320 + 224)
    assert frames[-1]["response"]["usage"]["output_token_details"]["audio_tokens"] == 20


def test_a_transcription_can_fail():
    said = Transcription(error="the deployment does not exist")
    with conversing(None, [said]) as (_, connection):
        transcribe(connection)
        say(connection, SECOND + silence(400))
        frames = read(connection, "response.done")
    failed = only(frames, "conversation.item.input_audio_transcription.failed")
    assert failed["item_id"] == frames[0]["item_id"]
    assert failed["error"]["message"] == "the deployment does not exist"
    assert frames[-1]["response"]["status"] == "completed"
    assert "conversation.item.input_audio_transcription.completed" not in types(frames)


@pytest.mark.parametrize(
    ("arrives", "neighbours"),
    [
        ("early", ("conversation.item.input_audio_transcription.delta", "response.created")),
        (
            "during",
            ("conversation.item.input_audio_transcription.delta", "response.output_audio_transcript.delta"),
        ),
        ("late", ("conversation.item.input_audio_transcription.delta", None)),
    ],
)
def test_a_transcription_arrives_when_it_is_told_to(arrives, neighbours):
    said = Transcription("Good morning to you", arrives=arrives)
    with conversing([Answer("Hi!")], [said], rate_limits=False) as (_, connection):
        transcribe(connection)
        say(connection, SECOND + silence(400))
        connection.send({"type": "input_audio_buffer.clear"})
        frames = read(connection, "input_audio_buffer.cleared")[:-1]
    place = types(frames).index("conversation.item.input_audio_transcription.completed")
    assert types(frames)[place - 1] == neighbours[0]
    assert [*types(frames), None][place + 1] == neighbours[1]
    assert (types(frames).index("response.done") < place) == (arrives == "late")


def test_turns_without_a_transcript_get_a_numbered_one():
    with conversing() as (_, connection):
        transcribe(connection)
        said = []
        for _ in range(2):
            say(connection, SECOND + silence(400))
            said += [f["transcript"] for f in read(connection, "rate_limits.updated") if "transcript" in f]
    assert said[0] == "(what the user said, turn 1)"
    assert said[2] == "(what the user said, turn 2)"


def test_without_transcription_in_the_session_there_is_none():
    with conversing(None, ["Hello"]) as (_, connection):
        say(connection, SECOND + silence(400))
        frames = read(connection, "response.done")
    assert not [kind for kind in types(frames) if "transcription" in kind]


def test_push_to_talk():
    with conversing(None, ["Hello"]) as (_, connection):
        update(
            connection,
            audio={"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-transcribe"}}},
        )
        say(connection, SECOND + silence(400))
        connection.input_audio_buffer.commit()
        connection.response.create()
        frames = read(connection, "response.done")
    assert order(frames)[:7] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
    ]
    completed = only(frames, "conversation.item.input_audio_transcription.completed")
    assert (completed["usage"]["type"], completed["usage"]["input_tokens"]) == ("tokens", 14)


def test_a_buffer_is_committed_once():
    with conversing() as (_, connection):
        update(connection, audio={"input": {"turn_detection": None}})
        say(connection, SECOND)
        connection.input_audio_buffer.commit()
        read(connection, "conversation.item.done")
        connection.input_audio_buffer.commit()
        assert next_frame(connection)["error"]["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize("how", ["commit", "clear"])
def test_a_client_takes_the_user_s_turn_into_its_own_hands(how):
    with conversing() as (_, connection):
        say(connection, SECOND)
        started = read(connection, "input_audio_buffer.speech_started")[-1]
        getattr(connection.input_audio_buffer, how)()
        if how == "commit":
            assert read(connection, "conversation.item.done")[0]["item_id"] == started["item_id"]
        else:
            assert next_frame(connection)["type"] == "input_audio_buffer.cleared"
        # That turn is over: its silence ends nothing.
        say(connection, silence(500))
        connection.response.cancel()
        assert next_frame(connection)["type"] == "error"


def test_time_passes_while_nothing_is_detected():
    with conversing() as (_, connection):
        update(connection, audio={"input": {"turn_detection": None}})
        say(connection, silence(3200))
        update(connection, audio={"input": {"turn_detection": {"type": "server_vad"}}})
        say(connection, SECOND)
        assert next_frame(connection)["audio_start_ms"] == 3200 - 300


def test_turn_detection_is_completed_by_its_type_s_defaults():
    with conversing() as (_, connection):

        def detect(turn_detection):
            fields = update(connection, audio={"input": {"turn_detection": turn_detection}})
            return fields["audio"]["input"]["turn_detection"]

        semantic = detect({"type": "semantic_vad", "eagerness": "low"})
        assert semantic == {
            "type": "semantic_vad",
            "eagerness": "low",
            "create_response": True,
            "interrupt_response": True,
        }
        assert detect(None) is None
        server = detect({"type": "server_vad", "threshold": 0.7})
        assert (server["threshold"], server["silence_duration_ms"], "eagerness" in server) == (
            0.7,
            200,
            False,
        )
        # Of one type, what is not named stays.
        assert detect({"silence_duration_ms": 300})["threshold"] == 0.7


def test_a_transcription_session_answers_nothing():
    with OpenAIRealtimeServer.conversational([], ["Hello"]) as server:
        transcription = client(server).realtime.connect(extra_query={"intent": "transcription"})
        with transcription as connection:
            assert next_frame(connection)["session"]["object"] == "realtime.transcription_session"
            connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {"input": {"transcription": {"model": "whisper-1"}}},
                }
            )
            say(connection, SECOND + silence(400))
            frames = read(connection, "conversation.item.input_audio_transcription.completed")
            connection.response.create()
            assert next_frame(connection)["type"] == "error"
    assert not [kind for kind in types(frames) if kind.startswith("response")]


def test_a_typed_question_is_answered_in_text():
    with conversing([Answer("It is foggy.")]) as (_, connection):
        update(connection, output_modalities=["text"])
        connection.conversation.item.create(item=user_says("How is the weather?"))
        connection.response.create()
        frames = read(connection, "response.done")
    assert order(frames) == [
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert [f["previous_item_id"] for f in frames if f["type"] == "conversation.item.added"] == [
        None,
        "item_0001",
    ]
    output = frames[-1]["response"]["output"][0]
    assert output["content"] == [{"type": "output_text", "text": "It is foggy."}]


def test_one_response_can_be_in_text_in_a_spoken_session():
    with conversing() as (_, connection):
        connection.response.create(response={"output_modalities": ["text"]})
        assert "response.output_text.done" in types(read(connection, "response.done"))
        connection.response.create()
        assert "response.output_audio.done" in types(read(connection, "response.done"))


def test_functions_are_called_and_their_outputs_answered():
    calls = [FunctionCall("get_weather", {"city": "Köln"}), FunctionCall("get_time", call_id="call_mine")]

    def model(turn):
        outputs = [item["output"] for item in turn.items if item["type"] == "function_call_output"]
        return Answer(f"Done: {', '.join(outputs)}.") if outputs else Answer(calls=calls)

    with conversing(model) as (_, connection):
        connection.response.create()
        frames = read(connection, "response.done")
        for call_id, output in (("call_0001", "fog"), ("call_mine", "noon")):
            connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call_id, "output": output}
            )
        connection.response.create()
        answered = read(connection, "response.done")
    one_call = [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
    ]
    assert order(frames) == ["response.created", *one_call, *one_call, "response.done"]
    arguments = [f for f in frames if f["type"] == "response.function_call_arguments.done"]
    assert " ".join(arguments[0]) == "type event_id response_id item_id output_index call_id name arguments"
    assert [(a["name"], a["call_id"], a["arguments"], a["output_index"]) for a in arguments] == [
        ("get_weather", "call_0001", '{"city": "Köln"}', 0),
        ("get_time", "call_mine", "{}", 1),
    ]
    assert [f["item"].get("output") for f in answered if f["type"] == "conversation.item.done"] == [
        "fog",
        "noon",
        None,
    ]
    assert answered[-1]["response"]["output"][0]["content"][0]["transcript"] == "Done: fog, noon."


def test_a_response_can_fail_and_can_be_incomplete():
    limit = {"type": "server_error", "code": "rate_limit_exceeded", "message": "slow down"}
    answers = [
        Answer(error=limit),
        Answer("Once upon", incomplete="max_output_tokens"),
        Answer(error="broken"),
    ]
    with conversing(answers) as (_, connection):
        done = []
        for _ in answers:
            connection.response.create()
            done.append(read(connection, "response.done")[-1]["response"])
    assert [response["status"] for response in done] == ["failed", "incomplete", "failed"]
    assert done[0]["status_details"] == {"type": "failed", "error": limit}
    assert done[1]["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done[1]["output"][0]["status"] == "incomplete"
    assert done[2]["status_details"]["error"]["message"] == "broken"


def test_usage_is_counted_from_what_was_said():
    answers = [Answer(audio=speech(1000), transcript="x" * 40), Answer("y" * 400), Answer("Bye")]
    with conversing(answers) as (_, connection):
        update(connection, instructions="i" * 400)
        usages = []
        for text in ("a" * 400, "b", "c"):
            connection.conversation.item.create(item=user_says(text))
            connection.response.create()
            usages.append(read(connection, "response.done")[-1]["response"]["usage"])
    first, second, third = usages
    assert first["output_token_details"] == {"text_tokens": 10, "audio_tokens": 20}
    assert (first["input_tokens"], first["output_tokens"], first["total_tokens"]) == (200, 30, 230)
    assert first["input_token_details"]["cached_tokens"] == 0
    assert second["input_token_details"]["audio_tokens"] == 20
    # Of the 200 tokens that were there before, whole blocks of 64.
    assert second["input_token_details"]["cached_tokens_details"]["text_tokens"] == 192
    assert third["input_tokens"] > second["input_tokens"] > first["input_tokens"]


def test_out_of_band_responses_stand_outside_the_conversation():
    answers = [Answer("A long story.", pause_after=1), Answer("angry")]
    with conversing(answers, ["What happened then?"]) as (server, connection):
        transcribe(connection)
        say(connection, SECOND + silence(400))
        read(connection, "response.output_audio.delta")
        connection.response.create(
            response={"conversation": "none", "metadata": {"topic": "mood"}, "output_modalities": ["text"]}
        )
        beside = read(connection, "response.done")
        # Not even the user's transcript, which is due in the conversation's own answer.
        assert not [kind for kind in types(beside) if kind.startswith("conversation.item")]
        response = beside[-1]["response"]
        assert (response["conversation_id"], response["metadata"]) == (None, {"topic": "mood"})
        server.release()
        frames = read(connection, "response.done")
    assert frames[-1]["response"]["id"] == "resp_0001"
    assert "conversation.item.input_audio_transcription.completed" in types(frames)


def test_xai_leaves_out_what_it_left_out_when_it_was_recorded():
    with conversing([Answer("Hi")], dialect="xai") as (_, connection):
        connection.response.create()
        done = read(connection, "response.done")[-1]
    assert (done["response"]["status_details"], done["response"]["usage"]) == ("unimplemented", {})
    assert done["usage"]["output_tokens"] > 0
