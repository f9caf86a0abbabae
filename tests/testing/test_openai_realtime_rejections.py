"""Client frames that the OpenAI Realtime server cannot take."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


KEYS = (
    "type", "format", "input", "output", "turn_detection", "transcription", "model", "voice", "id", "content",
    "role", "rate", "threshold", "silence_duration_ms", "call_id", "arguments", "text", "conversation",
)  # fmt: skip
WORDS = ("realtime", "message", "server_vad", "semantic_vad", "audio/pcm", "input_text", "AAAA", "auto", "")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
sessions = st.fixed_dictionaries(
    {"type": st.just("realtime")},
    optional=dict.fromkeys(
        ("audio", "instructions", "output_modalities", "tools", "voice", "input_audio_format"), values
    ),
)
fields = (
    "event_id",
    "audio",
    "item",
    "item_id",
    "previous_item_id",
    "response",
    "response_id",
    "audio_end_ms",
)
client_frames = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(RealtimeConversation.CLIENT_EVENTS))},
    optional={**dict.fromkeys(fields, values), "content_index": st.just(0), "session": sessions},
)


@settings(max_examples=100, deadline=None)
@given(dialect=st.sampled_from(sorted(DIALECTS)), frames=st.lists(client_frames, max_size=6))
def test_no_client_frame_breaks_the_server(dialect, frames):
    sent = []
    conversation = RealtimeConversation(
        Dialogue(),
        send=sent.append,
        next_id=lambda prefix: prefix,
        hold=lambda _resume: lambda: None,
        dialect=DIALECTS[dialect],
        model=MODEL,
    )
    conversation.open()
    for frame in frames:
        conversation.receive(json.dumps(frame))
    conversation.hear(silence(50))
    assert json.loads(sent[0])["type"] == "session.created"
