"""No token stands in two details of the copy: LangSmith prices each detail, and the rest at the base price."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding.langsmith_spans import get_attribute, set_attributes
from voicespan.delivery.encoding.usage import separate_details
from voicespan.openai_realtime.protocol import Protocol


def separated(usage, **attributes):
    span = Span()
    named = {f"gen_ai.usage.{name.replace('__', '.')}.input_tokens": n for name, n in attributes.items()}
    set_attributes(span, {"langsmith.usage_metadata": json.dumps(usage), **named})
    separate_details(span)
    return json.loads(get_attribute(span, "langsmith.usage_metadata"))


def given(**details):
    return {"input_tokens": 9000, "input_token_details": details}


def test_what_was_cached_stands_once():
    usage = separated(
        given(text=1400, audio=7600, cache_read=8300), text__cache_read=1300, audio__cache_read=7000
    )
    assert usage["input_token_details"] == {"text": 100, "audio": 600, "cache_read": 8300}


def test_of_one_modality_it_is_known_what_was_cached():
    usage = separated(given(text=9000, audio=0, cache_read=64))
    assert usage["input_token_details"] == {"text": 8936, "audio": 0, "cache_read": 64}


def test_of_which_modality_it_was_is_not_guessed():
    usage = separated(given(text=1400, audio=7600, cache_read=8300))
    assert usage["input_token_details"] == {"text": 1400, "audio": 7600}


@pytest.mark.parametrize(
    ("details", "right"),
    [
        ({"text": 30, "audio": 70, "reasoning": 20}, {"text": 10, "audio": 70, "reasoning": 20}),
        ({"audio": 80, "reasoning": 20}, {"audio": 80, "reasoning": 20}),
        ({"text": 90, "audio": 70}, None),
    ],
)
def test_details_never_exceed_their_total(details, right):
    assert (
        separated({"output_tokens": 100, "output_token_details": details}).get("output_token_details")
        == right
    )


def test_the_copy_is_separated_and_the_span_is_not(agent, langsmith_server):
    voice = agent()
    conversation = voice.conversation()
    connection = conversation.connect(Protocol(), {"gen_ai.provider.name": "openai"})
    cached = {"text_tokens": 1300, "audio_tokens": 7000}
    usage = {
        "total_tokens": 9000,
        "input_tokens": 9000,
        "output_tokens": 0,
        "input_token_details": {
            "text_tokens": 1400,
            "audio_tokens": 7600,
            "cached_tokens": 8300,
            "cached_tokens_details": cached,
        },
    }
    response = {"id": "r1", "status": "completed", "output": [], "usage": usage}
    connection.received(
        json.dumps({"type": "response.created", "response": {**response, "usage": None}}).encode()
    )
    connection.received(json.dumps({"type": "response.done", "response": response}).encode())
    connection.closed(1000)
    conversation.end()
    assert voice.deliver()
    (turn,) = langsmith_server.roots[0].children
    details = turn.usage["input_token_details"]
    assert sum(details.values()) == turn.usage["input_tokens"] == 9000
    assert details["cache_read"] == 8300
