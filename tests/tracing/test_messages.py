"""A message has parts on the span, and is on LangSmith's copy what it was."""

from __future__ import annotations

import json

import pytest

from voicespan.content.truncation import encode
from voicespan.runtime.settings import NO_LIMIT
from voicespan.tracing import messages, semconv
from voicespan.tracing.messages import contents, langsmith_content, with_parts, without_parts

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"people": 4}'}}

#: Messages as the chat APIs, providers and frameworks write them, and the types of their parts.
MESSAGES = {
    "words": ({"role": "user", "content": "Good evening"}, ["text"]),
    "nothing": ({"role": "user", "content": ""}, []),
    "put back": ({"role": "user", "content": "Hi", "metadata": {"put_back": True}}, ["text"]),
    "call": ({"role": "assistant", "content": "", "tool_calls": [CALL]}, ["tool_call"]),
    "words and calls": (
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        ["text", "tool_call", "tool_call"],
    ),
    "call without words": ({"role": "assistant", "content": None, "tool_calls": [CALL]}, ["tool_call"]),
    "call without id": (
        {"role": "assistant", "content": "", "tool_calls": [{k: CALL[k] for k in ("type", "function")}]},
        ["tool_call"],
    ),
    "thoughts": ({"role": "assistant", "content": "Yes", "reasoning": "Hm."}, ["reasoning", "text"]),
    "answer": (
        {"role": "tool", "content": '{"free": []}', "name": "find", "tool_call_id": "c1"},
        ["tool_call_response"],
    ),
    "answer of no known call": ({"role": "tool", "content": "ok"}, ["tool_call_response"]),
    "id of a call": ({"role": "assistant", "content": "ok", "tool_call_id": "c1"}, ["text"]),
    "another call": ({"role": "assistant", "content": "", "tool_calls": [{"id": "c1"}]}, ["native"]),
    "blocks": (
        {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "Hi"}, {"type": "input_text", "text": ""}]},
        ["text", "text"],
    ),
    "a picture": (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "[image]"}}, {"type": "text", "text": "?"}]},
        ["image_url", "text"],
    ),
    "blocks of calls": (
        {"role": "assistant", "content": [
            {"type": "text", "text": "Let me look.", "cache_control": {"type": "ephemeral"}},
            {"type": "tool_use", "id": "c1", "name": "find", "input": {"people": 4}},
        ]},
        ["text", "tool_call"],
    ),
    "blocks of answers": (
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "ok"}]}]},
        ["tool_call_response"],
    ),
    "a block without a text": ({"role": "user", "content": [{"type": "text", "text": 3}]}, ["native"]),
    "a block with both names": ({"role": "user", "content": [{"type": "text", "text": "a", "content": "b"}]}, ["native"]),
    "a block that says its shape": ({"role": "user", "content": [{"type": "x", "shape": "text"}]}, ["native"]),
    "no block": ({"role": "user", "content": ["Hi"]}, ["native"]),
    "no blocks": ({"role": "user", "content": []}, ["native"]),
    "blocks beside calls": ({"role": "assistant", "content": [{"type": "text", "text": "a"}], "tool_calls": []}, ["native"]),
    "gemini": ({"role": "model", "parts": [{"text": "Hi"}, {"text": "there", "thought": True}]}, ["text", "text"]),
    "a call of gemini": ({"role": "model", "parts": [{"functionCall": {"name": "find"}}]}, ["native"]),
    "an item that calls": (
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "find", "arguments": "{}"},
        ["tool_call"],
    ),
    "an item that answers": ({"type": "function_call_output", "call_id": "c1", "output": "ok"}, ["tool_call_response"]),
    "another item": ({"type": "reasoning", "summary": []}, ["native"]),
    "a text": ("Good evening", ["native"]),
    "none": (None, ["native"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_comes_back_as_it_was(name):
    message, types = MESSAGES[name]
    written = with_parts(message, "stop")
    assert [part["type"] for part in written["parts"]] == types
    assert written["finish_reason"] == "stop"
    assert isinstance(written["role"], str)
    assert without_parts(json.loads(json.dumps(written))) == message


def test_the_copy_has_the_text_that_the_span_has():
    said = [with_parts(message) for message, _ in MESSAGES.values()]
    written = langsmith_content(semconv.INPUT_MESSAGES, json.dumps(said))
    assert json.loads(written) == {"messages": [message for message, _ in MESSAGES.values()]}


@pytest.mark.parametrize(
    "text",
    [
        "Good evening",
        'a "quote"',
        "\\",
        '\\"',
        "ends\\",
        "\n\x00\x1f",
        "ü \u2028 \U0001f3a4",
        '{"role":"user"}',
        "],[",
    ],
)
def test_a_message_of_one_text_is_copied_without_reading_it(text, monkeypatch):
    message = {"role": "assistant", "content": text}
    written = encode([with_parts(message, "stop"), with_parts(message)], NO_LIMIT)
    monkeypatch.setattr(messages.json, "loads", lambda _: pytest.fail("it was read"))
    assert langsmith_content(semconv.INPUT_MESSAGES, written) == encode(
        {"messages": [message, message]}, NO_LIMIT
    )


@pytest.mark.parametrize("damaged", ["", "[", '{"cut":"9 bytes"}', "null", "3"])
def test_what_is_no_list_of_messages_stays_as_it_is(damaged):
    assert langsmith_content(semconv.OUTPUT_MESSAGES, damaged) == damaged


@pytest.mark.parametrize("parts", [None, "text", [None], ["text"], [{"type": "text"}], [{}], 3])
def test_parts_of_somebody_else_raise_nothing(parts):
    text = json.dumps([{"role": "user", "parts": parts}])
    assert json.loads(langsmith_content(semconv.INPUT_MESSAGES, text))["messages"]


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("limit", [40_000, 4_000, 600, 100])
def test_what_was_cut_to_its_limit_can_still_be_read(name, limit):
    message, _ = MESSAGES[name]
    if isinstance(message, dict):
        message = {**message, "content": message["content"] * 100} if message.get("content") else message
        message = {**message, "parts": message["parts"] * 100} if message.get("parts") else message
        message = (
            {**message, "tool_calls": message["tool_calls"] * 100} if message.get("tool_calls") else message
        )
    text = encode([with_parts(message, "stop")] * 60, limit)
    assert len(text.encode()) <= limit
    json.loads(langsmith_content(semconv.OUTPUT_MESSAGES, text))


def test_what_was_left_out_of_many_calls_is_marked_on_both():
    calls = [{**CALL, "id": f"c{number}"} for number in range(500)]
    text = encode([with_parts({"role": "assistant", "content": "", "tool_calls": calls})], 10_000)
    (message,) = json.loads(langsmith_content(semconv.INPUT_MESSAGES, text))["messages"]
    assert message["tool_calls"][0] == CALL | {"id": "c0"}
    assert "of 500 left out" in json.dumps(message["tool_calls"], ensure_ascii=False)


def test_contents_of_either_names_are_the_same():
    said = {"messages": [{"role": "user", "content": "Hi"}]}
    span = {semconv.INPUT_MESSAGES: json.dumps([with_parts(said["messages"][0])]), semconv.OUTPUT_VALUE: "{}"}
    copy = {semconv.PROMPT: json.dumps(said), semconv.COMPLETION: "{}"}
    assert contents(span) == contents(copy) == (said, {})
