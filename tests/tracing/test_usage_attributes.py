"""LangSmith prices a usage detail by detail, and the rest at the base price: no token may be in two details."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from voicespan.delivery.encoding.langsmith_names import rename
from voicespan.delivery.encoding.langsmith_spans import set_attributes
from voicespan.protocol.events import Usage
from voicespan.tracing import semconv
from voicespan.tracing.spans.usage import usage_attributes

#: A late turn of a call, as OpenAI counts it.
INPUT = {
    "text": 1400,
    "audio": 7600,
    "image": 0,
    "cache_read": 8300,
    "cache_read_text": 1300,
    "cache_read_audio": 7000,
    "cache_read_image": 0,
}


def usage(**facts):
    return usage_attributes(
        Usage(**{"input_tokens": 9000, "output_tokens": 200, "total_tokens": 9200, **facts})
    )


def langsmith(**facts):
    return json.loads(usage(**facts)[semconv.USAGE_METADATA])


def test_what_was_cached_is_in_no_other_detail():
    told = langsmith(input_details=INPUT, output_details={"text": 50, "audio": 150})
    assert told["input_token_details"] == {"text": 100, "audio": 600, "image": 0, "cache_read": 8300}
    assert told["output_token_details"] == {"text": 50, "audio": 150}
    # $ a million: text 4, audio 32, cached 0.4. As it is billed.
    prices = {"text": 4.0, "audio": 32.0, "cache_read": 0.4, "image": 0.0}
    cost = sum(tokens * prices[name] for name, tokens in told["input_token_details"].items()) / 1e6
    assert cost == pytest.approx(0.02292)


def test_opentelemetrys_attributes_stay_as_the_server_counted():
    attributes = usage(input_details=INPUT, output_details={})
    assert attributes[semconv.USAGE + "audio.input_tokens"] == 7600
    assert attributes[semconv.USAGE + "cache_read.input_tokens"] == 8300
    assert attributes[semconv.USAGE + "audio.cache_read.input_tokens"] == 7000


def test_phoenix_prices_sound_that_was_not_cached_apart():
    """It takes what is in a detail out of the rest: 1,400 - 1,300 of text, and 8,300 cached."""
    attributes = usage(input_details=INPUT, output_details={"text": 50, "audio": 150})
    assert attributes["llm.token_count.prompt_details.audio"] == 600
    assert attributes["llm.token_count.completion_details.audio"] == 150
    assert not [
        name for name in usage(input_details={"text": 9000}, output_details={}) if name.startswith("llm.")
    ]


def test_langsmiths_copy_has_its_own_usage_alone():
    made = Span()
    set_attributes(made, {**usage(input_details=INPUT, output_details={"audio": 150}), "mine": 1})
    rename(made)
    names = {attribute.key for attribute in made.attributes}
    assert {"mine", semconv.USAGE_METADATA} <= names
    assert not [name for name in names if name.startswith("llm.")]


@pytest.mark.parametrize(
    ("details", "disjoint"),
    [
        ({"text": 1000, "audio": 8000, "cache_read": 600}, {"text": 400, "audio": 8000, "cache_read": 600}),
        ({"text": 1000, "audio": 8000, "cache_read": 3000}, {"text": 0, "audio": 6000, "cache_read": 3000}),
        ({"cache_read": 20_000}, {"cache_read": 9000}),
        ({"audio": 10_000}, {"audio": 9000}),
        ({"audio": 10}, {"audio": 10}),
    ],
)
def test_details_never_exceed_their_total(details, disjoint):
    assert langsmith(input_details=details, output_details={})["input_token_details"] == disjoint


def test_thoughts_that_are_counted_as_text_are_counted_once():
    told = langsmith(input_details={}, output_details={"text": 120, "audio": 80, "reasoning": 100})
    assert told["output_token_details"] == {"text": 20, "audio": 80, "reasoning": 100}
    told = langsmith(input_details={}, output_details={"text": 20, "audio": 80, "reasoning": 100})
    assert told["output_token_details"] == {"text": 20, "audio": 80, "reasoning": 100}


def test_without_a_total_what_is_known_is_taken_out():
    told = langsmith(input_tokens=None, input_details=INPUT, output_details={})
    assert told["input_token_details"] == {"text": 100, "audio": 600, "image": 0, "cache_read": 8300}
