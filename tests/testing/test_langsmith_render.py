"""A trace as a person reads it at a terminal."""

from __future__ import annotations

import json
import textwrap

import pytest
from otlp_requests import START_NS, Spans, attachments, post

from voicespan.testing import Run, render

pytest_plugins = ["voicespan.testing.fixtures"]


def test_a_conversation(langsmith_server):
    spans = Spans()
    said = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}
    answered = {"messages": [{"role": "assistant", "content": "It is four degrees and it snows. " * 5}]}
    called = {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]}]}
    root = spans.make(
        "conversation",
        {
            "langsmith.metadata.thread_id": "a thread",
            "langsmith.attachments": attachments(("conversation", bytes(48_200), "audio/ogg")),
            "gen_ai.prompt": json.dumps(said),
        },
        ms=62_400,
    )
    heard = spans.make(
        "input_transcription", {"gen_ai.prompt": json.dumps(said)}, parent=root, at_ms=1204, ms=830
    )
    turn = spans.make(
        "turn_complete",
        {
            "langsmith.span.kind": "llm",
            "gen_ai.completion": json.dumps(answered),
            "langsmith.usage_metadata": json.dumps({"input_tokens": 41, "output_tokens": 120}),
            "langsmith.metadata.time_to_first_audio_ms": 310.4,
            "langsmith.metadata.status": "completed",
        },
        parent=root,
        at_ms=2100,
        ms=1900,
    )
    call = spans.make(
        "function_call: get_weather",
        {"gen_ai.tool.name": "get_weather", "gen_ai.prompt": '{"city": "Oslo"}', "gen_ai.completion": "4"},
        parent=turn,
        at_ms=2500,
        ms=412,
    )
    again = spans.make(
        "turn_complete", {"gen_ai.completion": json.dumps(called)}, parent=root, at_ms=5000, ms=0
    )
    failed = spans.make(
        "error",
        parent=root,
        at_ms=62_000,
        events=[("exception", {"exception.message": "the\nsocket broke", "exception.stacktrace": "line"})],
    )
    post(langsmith_server, heard, call, turn, again, failed, root, Langsmith_Project="voice")
    assert langsmith_server.render() == textwrap.dedent("""\
        conversation                      chain     +0.000 s  1 min 2 s
        │  project voice, thread a thread
        │  attachment conversation: audio/ogg, 48.2 kB
        ├─ input_transcription            chain     +1.204 s     830 ms  What is the weather in Oslo?
        ├─ turn_complete                  llm       +2.100 s     1.90 s  41 → 120 tokens  time_to_first_audio 310 ms  It is four degrees and it snows. It is four degrees and it …
        │  └─ function_call: get_weather  tool      +2.500 s     412 ms  Oslo → 4
        ├─ turn_complete                  chain     +5.000 s       0 ms  [{"id": "call_1"}]
        └─ error                          chain    +62.000 s       1 ms  ERROR  the socket broke
        """)


def test_what_is_odd_is_shown_too():
    root = Run(id="r", name="root", start_ns=START_NS, status="pending", inputs={"a": 1})
    root.children = [
        Run(
            id="c",
            parent_run_id="r",
            name="n" * 50,
            start_ns=START_NS - 5_000_000,
            end_ns=START_NS,
            status="error",
            metadata={"ls_is_error_interrupt": True, "flag_ms": True, "text_ms": "x"},
            outputs={"a": 1, "usage_metadata": {"output_tokens": 3}},
            usage={"output_tokens": 3},
        )
    ]
    assert render(root) == textwrap.dedent("""\
        root                                     chain     +0.000 s       open  PENDING
        │  project default
        └─ nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…  chain     -0.005 s       5 ms  INTERRUPTED  ? → 3 tokens  {"a": 1}
        """)


def test_what_was_said_cannot_move_the_cursor():
    root = Run(id="r", name="\x1b[2Jroot", start_ns=0, end_ns=0)
    root.children = [
        Run(
            id="c",
            parent_run_id="r",
            name="child",
            end_ns=0,
            inputs={"input": "a\r\n\x1b]0;title\x07b\u202ec"},
        )
    ]
    text = render(root)
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "a ]0;title b c" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3 * 10**12, "3000.0 GB")],
)
def test_sizes(size, text):
    from voicespan.testing import Attachment

    root = Run(id="r", name="root", end_ns=0, attachments={"f": Attachment("f", "x/y", size, "")})
    assert f"attachment f: x/y, {text}\n" in render(root)


def test_all_traces_and_one(langsmith_server):
    spans = Spans()
    post(langsmith_server, spans.make("one"), spans.make("two"))
    one, two = langsmith_server.roots
    assert langsmith_server.render() == render(one) + "\n" + render(two)
    assert langsmith_server.render(two) == langsmith_server.render(two.id) == render(two)
    with pytest.raises(KeyError):
        langsmith_server.render("nobody")
