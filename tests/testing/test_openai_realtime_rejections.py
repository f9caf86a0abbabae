"""Client frames that the OpenAI Realtime server cannot take."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from openai_realtime_client import MODEL, conversing, next_frame, read, silence, speech, user_says

from voicespan.testing.openai_realtime import Answer, Dialogue
from voicespan.testing.openai_realtime.conversation import RealtimeConversation
from voicespan.testing.openai_realtime.dialect import DIALECTS

BAD_FRAMES = {
    "no JSON": ("{", "invalid_json", None),
    "no object": ("[]", "invalid_json", None),
    "no type": ({}, "missing_required_parameter", "type"),
    "unknown type": ({"type": "response.explode"}, "invalid_value", "type"),
    "no session": ({"type": "session.update"}, "missing_required_parameter", "session"),
    "session without type": (
        {"type": "session.update", "session": {}},
        "missing_required_parameter",
        "session.type",
    ),
    "beta field": (
        {"type": "session.update", "session": {"type": "realtime", "modalities": ["text"]}},
        "unknown_parameter",
        "session.modalities",
    ),
    "two modalities": (
        {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text", "audio"]}},
        "invalid_value",
        "session.output_modalities",
    ),
    "other session": (
        {"type": "session.update", "session": {"type": "transcription"}},
        "invalid_value",
        "session.type",
    ),
    "no base64": ({"type": "input_audio_buffer.append", "audio": "***"}, "invalid_value", "audio"),
    "no audio": ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    "empty commit": ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    "output buffer": ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    "strange item": (
        {"type": "conversation.item.create", "item": {"type": "song"}},
        "invalid_value",
        "item.type",
    ),
    "unknown call": (
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "call_9", "output": "x"},
        },
        "invalid_tool_call_id",
        None,
    ),
    "unknown neighbour": (
        {"type": "conversation.item.create", "previous_item_id": "item_9", "item": user_says("x")},
        "invalid_value",
        "previous_item_id",
    ),
    "delete nothing": (
        {"type": "conversation.item.delete", "item_id": "item_9"},
        "item_delete_invalid_item_id",
        "item_id",
    ),
    "retrieve nothing": (
        {"type": "conversation.item.retrieve", "item_id": "item_9"},
        "item_retrieve_invalid_item_id",
        "item_id",
    ),
    "truncate nothing": (
        {"type": "conversation.item.truncate", "item_id": "item_9", "content_index": 0, "audio_end_ms": 0},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    "cancel nothing": ({"type": "response.cancel"}, "response_cancel_not_active", None),
}


@pytest.fixture(scope="module")
def open_connection():
    with conversing() as (_, connection):
        yield connection


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_a_bad_frame_gets_an_error_that_names_it(open_connection, case):
    frame, code, param = BAD_FRAMES[case]
    known = isinstance(frame, dict)
    open_connection.send_raw(json.dumps({"event_id": "mine_1", **frame}) if known else frame)
    error = next_frame(open_connection)
    assert error["type"] == "error"
    assert (error["error"]["code"], error["error"]["param"]) == (code, param)
    assert error["error"]["event_id"] == ("mine_1" if known else None)
    assert error["error"]["message"]


def test_what_cannot_be_truncated():
    with conversing([Answer(audio=speech(500))]) as (_, connection):
        connection.conversation.item.create(item=user_says("Hello") | {"id": "mine"})
        connection.response.create()
        spoken = read(connection, "rate_limits.updated")[-2]["response"]["output"][0]["id"]
        codes = []
        for item_id, end_ms in (("mine", 0), (spoken, 501), (spoken, 500)):
            connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=end_ms)
            codes.append(next_frame(connection).get("error", {}).get("code"))
    assert codes == ["unsupported_content_type", "invalid_value", None]


def test_a_second_response_is_refused_while_one_is_in_progress():
    with conversing([Answer("One.", pause_after=1)]) as (_, connection):
        connection.response.create()
        read(connection, "response.output_audio.delta")
        connection.response.create(event_id="mine_2")
        error = next_frame(connection)["error"]
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "mine_2")


def test_items_go_where_the_client_wants_them():
    with conversing() as (_, connection):
        before = []
        for item_id, after in (("b", None), ("a", "root"), ("d", "b"), ("c", "b")):
            connection.conversation.item.create(
                item=user_says(item_id) | {"id": item_id}, **({"previous_item_id": after} if after else {})
            )
            before.append(read(connection, "conversation.item.done")[0]["previous_item_id"])
        assert before == [None, None, "b", "b"]
        connection.conversation.item.create(item=user_says("again") | {"id": "a"})
        assert next_frame(connection)["error"]["param"] == "item.id"


VALID_FRAMES = {
    "ga": [
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "instructions": "Be brief.",
                "output_modalities": ["audio"],
                "tools": [{"type": "function", "name": "look", "parameters": {}}],
                "max_output_tokens": 100,
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "whisper-1", "language": "de"},
                        "turn_detection": {
                            "type": "server_vad",
                            "threshold": 0.4,
                            "prefix_padding_ms": 100,
                            "silence_duration_ms": 100,
                            "create_response": True,
                            "interrupt_response": True,
                        },
                    },
                    "output": {"format": {"type": "audio/pcmu"}, "voice": "echo", "speed": 1.1},
                },
            },
        },
        {"type": "input_audio_buffer.append", "audio": "AAAA"},
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {"id": "a", **user_says("x")},
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "x"},
        },
        {
            "type": "response.create",
            "event_id": "mine",
            "response": {
                "conversation": "none",
                "metadata": {"topic": "mood"},
                "output_modalities": ["text"],
                "max_output_tokens": 7,
            },
        },
        {"type": "response.create"},
        {
            "type": "conversation.item.truncate",
            "item_id": "item_0004",
            "content_index": 0,
            "audio_end_ms": 10,
        },
        {"type": "conversation.item.retrieve", "item_id": "a"},
        {"type": "conversation.item.delete", "item_id": "a"},
        {"type": "response.cancel", "response_id": "resp_0001"},
    ],
    "beta": [
        {
            "type": "session.update",
            "session": {
                "modalities": ["audio", "text"],
                "voice": "echo",
                "input_audio_format": "pcm16",
                "output_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "whisper-1"},
                "turn_detection": {"type": "server_vad", "threshold": 0.5},
                "max_response_output_tokens": 10,
                "temperature": 0.8,
                "instructions": "Be brief.",
            },
        },
        {"type": "conversation.item.create", "item": {"id": "a", **user_says("x")}},
        {"type": "response.create", "response": {"modalities": ["text"], "metadata": {"topic": "mood"}}},
    ],
}
ODD_VALUES = [None, True, -7, "x", [[]], {"type": []}]


SPEECH = speech(100) + silence(300)


def odd_ones(value):
    """The value with each of its parts, one at a time, replaced by something odd, or gone."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: other for key, other in value.items() if key != name}
            for odd in [*ODD_VALUES, *odd_ones(part)]:
                yield {**value, name: odd}
    if isinstance(value, list):
        for place, part in enumerate(value):
            for odd in [*ODD_VALUES, *odd_ones(part)]:
                yield [*value[:place], odd, *value[place + 1 :]]


def events_of(dialect: str, frames: list) -> list[dict]:
    """What a conversation sends when it gets these frames, and then speech."""
    ids = Counter()

    def next_id(prefix: str) -> str:
        ids[prefix] += 1
        return f"{prefix}_{ids[prefix]:04d}"

    sent = []
    conversation = RealtimeConversation(
        Dialogue(),
        send=sent.append,
        next_id=next_id,
        hold=lambda _resume: lambda: None,
        dialect=DIALECTS[dialect],
        model=MODEL,
    )
    for frame in frames:
        conversation.receive(json.dumps(frame))
    conversation.hear(SPEECH)
    return [json.loads(frame) for frame in sent]


@pytest.mark.parametrize("dialect", VALID_FRAMES)
def test_the_frames_that_are_made_odd_are_valid_as_they_are(dialect):
    rejected = [
        event["error"] for event in events_of(dialect, VALID_FRAMES[dialect]) if event["type"] == "error"
    ]
    assert [error["code"] for error in rejected] == ["response_cancel_not_active"] * (dialect == "ga")


@pytest.mark.parametrize("dialect", VALID_FRAMES)
def test_no_odd_frame_breaks_the_server(dialect):
    frames = VALID_FRAMES[dialect]
    tried = 0
    for place, frame in enumerate(frames):
        for odd in odd_ones(frame):
            assert events_of(dialect, [*frames[:place], odd, *frames[place + 1 :]])
            tried += 1
    assert tried > 100
