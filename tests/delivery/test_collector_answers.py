"""What a Collector says that LangSmith said. tests/collector asks a real one."""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from voicespan.delivery.export.collector_answers import answer_behind, words_of

FAILED = "Permanent error: rpc error: code = Unknown desc = error exporting items, request to {} responded with HTTP Status Code {}"
NEXT = "http://gateway:4318/v1/traces"
LAST = "https://api.smith.langchain.com/otel/v1/traces"


@pytest.mark.parametrize("status", [405, 409, 413, 422, 500])
def test_of_an_answer_without_a_meaning_the_last_server_tells_what_it_was(status):
    words = f"{FAILED.format(NEXT, 500)}, Message={FAILED.format(LAST, status)}, Details=[]"
    assert answer_behind(500, words) == (status, f"{LAST} answered {status}")


def test_what_is_passed_on_as_it_is_stays():
    assert answer_behind(401, FAILED.format(LAST, 401)) == (401, f"{LAST} answered 401")
    assert answer_behind(503, FAILED.format(LAST, 502)) == (503, f"{LAST} answered 502")


@pytest.mark.parametrize("words", ["", "data refused due to high memory usage", "HTTP Status Code 422"])
def test_where_nobody_stands_behind_the_answer_is_the_collectors_own(words):
    assert answer_behind(500, words) == (500, words)


def test_a_login_in_the_url_is_not_told():
    said = answer_behind(500, FAILED.format("https://me:secret@proxy.internal/otel/v1/traces", 422))
    assert said == (422, "https://proxy.internal/otel/v1/traces answered 422")


def test_the_words_of_a_failure_are_read_and_other_bytes_have_none():
    assert words_of(Status(message="no").SerializeToString()) == "no"
    assert words_of(b"\x08\x10\x12\x02no") == "no"  # with google.rpc's code
    assert words_of(b"\xff\xff<html>") == ""
