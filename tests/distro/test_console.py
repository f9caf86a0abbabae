"""The conversation as it happens, on a terminal of 80 columns or in a file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.distro.console import ConsoleSpanProcessor, is_wanted, line
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing import semconv


@pytest.fixture
def written():
    return []


@pytest.fixture
def provider(written):
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(ConsoleSpanProcessor(written.append))
    yield made
    made.shutdown()


def say(conversation, transcript):
    frame = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "item_1",
        "content_index": 0,
        "transcript": transcript,
    }
    conversation.connect(Protocol(), {}).received(json.dumps(frame).encode())


def test_who_said_what_and_how_it_ended(provider, written):
    conversation = voicespan.Conversation(tracer_provider=provider)
    say(conversation, "Is a table free tonight?")
    conversation.end()
    provider.force_flush()
    said, over, call = written
    assert said.split(maxsplit=2)[1:] == ["user", "Is a table free tonight?\n"]
    assert over.split()[1] == "over"
    assert call.split(maxsplit=2)[1:] == ["call", "1 turn; 1 unanswered\n"]


@pytest.mark.parametrize("generation", ["turn_complete", "realtime_inference gpt-realtime"])
def test_tools_gaps_and_barge_ins(provider, written, generation):
    conversation = voicespan.Conversation(tracer_provider=provider)
    tracer = provider.get_tracer("voicespan")
    with conversation.use():
        for name, attributes in (
            (
                "function_call: find",
                {semconv.TOOL_ARGUMENTS: '{"people":4}', semconv.TOOL_RESULT: '{"free":[]}'},
            ),
            ("interrupted", {"langsmith.metadata.cause": "truncate", "langsmith.metadata.heard_ms": 900}),
            (
                generation,
                {"langsmith.metadata.response_gap_ms": 712.4, "langsmith.metadata.model_ms": 300.2},
            ),
        ):
            tracer.start_span(name, attributes=attributes).end()
    conversation.end()
    provider.force_flush()
    everything = "".join(written)
    for part in ('find {"people":4} -> {"free":[]}', "truncate, 900 ms heard", "712 ms: model 300"):
        assert part in everything


def test_what_was_said_never_reaches_the_terminal_as_a_command():
    shown = line(61.0, "user", "\x1b[2J\x07 hello\nyou \u202e" + "word " * 40)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert "\\x1b[2J" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.startswith("  1:01.0  user    ")


def test_nobody_waits_for_a_terminal_that_takes_nothing(provider, monkeypatch, written):
    from voicespan.runtime.background import Loop

    monkeypatch.setattr(Loop, "wake", lambda self, *, urgent=False: None)
    tracer = provider.get_tracer("voicespan")
    conversation = voicespan.Conversation(tracer_provider=provider)
    with conversation.use():
        for _ in range(1_500):
            tracer.start_span("interrupted").end()
    conversation.end()
    provider.force_flush()
    assert len(written) == 1_001
    assert written[-1] == "voicespan: 501 lines were not written in time\n"


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_who_asks_for_it(value, wanted):
    assert is_wanted({"VOICESPAN_CONSOLE": value}) is wanted


def test_configured_it_writes_to_standard_error(environ, tmp_path):
    program = (
        "import voicespan; voicespan.configure(folder='calls')\n"
        "with voicespan.conversation() as conversation: pass\n"
        "print('done')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environ | {"VOICESPAN_CONSOLE": "1"},
    )
    assert ran.stdout == "done\n"
    assert [each.split()[1] for each in ran.stderr.splitlines()] == ["over"]
