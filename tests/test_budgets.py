"""What may not grow unnoticed, counted instead of timed: what is sent for a turn, and what an import brings along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing.conversation import Conversation

#: Milliseconds each, and most processes need none of them.
HEAVY = ("asyncio", "google.genai", "langsmith", "numpy", "openai", "opentelemetry.metrics", "opentelemetry.sdk", "pydantic", "requests", "soundfile", "soxr", "websockets")  # fmt: skip


def turn(number):
    """The frames of a question that is transcribed and an answer that is spoken."""
    user, item, response = f"item_u{number}", f"item_a{number}", f"resp_{number}"
    said = {"id": item, "type": "message", "role": "assistant", "status": "completed"}
    said["content"] = [{"type": "output_audio", "transcript": "It is foggy in London, so take a coat."}]
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    usage = {"total_tokens": 9, "input_tokens": 4, "output_tokens": 5}
    done = {"id": response, "status": "completed", "output": [said], "usage": usage}
    return [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1, "item_id": user},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2, "item_id": user},
        {"type": "input_audio_buffer.committed", "item_id": user},
        {"type": "response.created", "response": {"id": response, "status": "in_progress"}},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": user,
            "content_index": 0,
            "transcript": "What is the weather in London?",
        },
        {"type": "response.output_audio_transcript.done", **ids, "transcript": "It is foggy in London."},
        {"type": "response.done", "response": done},
    ]


@pytest.fixture
def sent(tracer_provider, span_exporter):
    """The bytes of a conversation of so many turns, its root included, as OTLP encodes them."""

    def sent(turns):
        span_exporter.clear()
        conversation = Conversation(tracer_provider=tracer_provider)
        connection = conversation.connect(Protocol(), {})
        for number in range(turns):
            for frame in turn(number):
                connection.received(json.dumps(frame).encode())
        conversation.end()
        return encode_spans(span_exporter.get_finished_spans()).ByteSize()

    return sent


def test_ten_times_the_turns_are_ten_times_the_bytes(sent):
    few, many = sent(20), sent(200)
    assert 9 * few < many < 11 * few


TURNS = """
import gc, json
from opentelemetry.sdk.trace import TracerProvider
from test_budgets import turn
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing.conversation import Conversation

conversation = Conversation(tracer_provider=TracerProvider())
connection = conversation.connect(Protocol(), {})

def objects(turns):
    for number in turns:
        for frame in turn(number):
            connection.received(json.dumps(frame).encode())
    conversation.flush()
    gc.collect()
    return len(gc.get_objects())

objects(range(20))
few, many = objects(range(20, 40)), objects(range(40, 60))
print((many - few) / 20)
"""


def counted(program, **environment):
    """The number that a program of its own prints: whatever else runs in this one, its garbage is not counted."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)} | environment
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout)


def test_how_much_a_turn_adds_to_what_the_garbage_collector_looks_at():
    """It holds all threads meanwhile, which hundreds of long calls notice: a response and two messages are enough."""
    assert 1 < counted(TURNS) <= 4.4


CALLS = """
import gc, json, sys, time
from test_budgets import turn
import voicespan
from voicespan.tracing.conversation import Conversation
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol

provider = voicespan.configure()

def begun():
    conversation = Conversation(tracer_provider=provider)
    connection = conversation.connect(Protocol(), {}, kind=RealtimeConnection)
    for frame in turn(0):
        connection.received(json.dumps(frame).encode())
    conversation.recorder.user(bytes(48_000))
    conversation.recorder.agent(bytes(48_000))
    return conversation, connection

def objects():
    while any(conversation.recorder.status != "recording" for conversation, _ in calls):
        time.sleep(0.01)
    assert provider.force_flush()
    gc.collect()
    return len(gc.get_objects())

calls = [begun()]
before = objects()
calls += [begun() for _ in range(20)]
print((objects() - before) / 20)
"""


def test_how_much_a_recorded_call_adds_to_what_the_garbage_collector_looks_at(tmp_path):
    """With five hundred of them that decides how long it holds all threads, and how often."""
    added = counted(
        CALLS,
        LANGSMITH_API_KEY="lsv2_pt_test",
        LANGSMITH_ENDPOINT="http://127.0.0.1:9",
        LANGSMITH_TRACING="true",
        VOICESPAN_SPOOL_DIR=str(tmp_path),
        VOICESPAN_SHUTDOWN_TIMEOUT="0",
    )
    # Before 3.11 each object has a dict beside it.
    # Two of them are the detector of the user's speech and what holds it beside the agent's. A dozen came when the
    # conversation and OpenAI's protocol were divided: a state of their own is an object of its own. One is what the next
    # answer answers, beside the turns. One counts the audio of the microphone.
    # Seven are the figures of the call: its turns, the words of both sides, when the agent spoke, how both shared the call.
    # Two are the sessions of the service, and when the user began to speak.
    assert 50 < added <= (141 if sys.version_info >= (3, 11) else 195)


def test_what_the_import_brings_along():
    program = f"import sys, voicespan; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []


def test_how_many_modules_the_import_brings_along():
    program = (
        "import sys, opentelemetry.trace, opentelemetry.trace.propagation.tracecontext; before = set(sys.modules);"
        "import voicespan; print(len(set(sys.modules) - before))"
    )
    # Two of each framework: its package, and its instrumentor, which brings nothing along. Two are the figures of a call,
    # which what writes spans counts for: 1 ms.
    assert 10 < counted(program) <= 73
