"""What a frame may cost, counted in instructions: the same number on a busy machine and on an idle one.

The limits are what was counted when this was written, with a fifth to spare. Each 100 instructions are
about 1 µs. Times are measured by `benchmarks/receive.py`.
"""

from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path

import pytest
from instruction_count import instructions

import voicespan
from voicespan.openai_realtime.connection import RealtimeConnection
from voicespan.openai_realtime.protocol import Protocol
from voicespan.tracing.conversation import Conversation

IDS = {
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
}


def encoded(kind, **fields):
    return json.dumps({"type": kind, **IDS, **fields}, separators=(",", ":")).encode()


AUDIO = encoded("response.output_audio.delta", delta=base64.b64encode(bytes(9600)).decode())
WORDS = encoded("response.output_audio_transcript.delta", delta="and so on")
QUIET = encoded("response.content_part.added", part={"type": "audio"})
SPOKEN = encoded("input_audio_buffer.speech_started", audio_start_ms=10)
#: OpenTelemetry's SDK runs as many again for a span.
OURS = str(Path(voicespan.__file__).parent)
MICROPHONE = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(960)).decode()})


@pytest.fixture
def connection(tracer_provider, unattended):
    conversation = Conversation(tracer_provider=tracer_provider)
    connection = conversation.connect(Protocol(), {}, kind=RealtimeConnection)
    for frame in (AUDIO, WORDS, AUDIO):
        connection.received(frame)
    yield connection
    conversation.end()


@pytest.mark.parametrize(
    ("frame", "most"), [(AUDIO, 80), (WORDS, 185), (QUIET, 140)], ids=["audio", "words", "quiet"]
)
def test_a_received_frame_that_tells_nothing_new(connection, frame, most):
    counted = instructions(connection.received, frame)
    assert 20 < counted <= most


def test_a_frame_that_becomes_a_span(connection):
    def read_and_write(frame):
        connection.received(frame)
        connection.conversation.flush()

    read_and_write(SPOKEN)
    read = instructions(connection.received, SPOKEN, within=OURS)
    assert 200 < read <= 660
    # A hundred more where an earlier test had the SDK's tracer wrapped, or one of a framework's.
    assert read + 500 < instructions(read_and_write, SPOKEN, within=OURS) <= 3_600


def test_a_chunk_of_the_microphone(connection):
    counted = instructions(connection.sent, MICROPHONE)
    assert 20 < counted <= 125


def kept_after(connection, rounds):
    """Bytes that are still held after so many rounds of frames."""
    tracemalloc.start()
    for _ in range(rounds):
        connection.received(AUDIO)
        connection.received(WORDS)
        connection.sent(MICROPHONE)
    # Of words the fragments are kept, as they are, until one frame tells the whole text.
    connection.protocol.scanner.transcript_is_over("item_1")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept


def test_nothing_is_kept_of_a_frame(connection):
    # What the interpreter itself keeps for the next time is the same however many there were.
    kept_after(connection, 900)
    assert kept_after(connection, 900) - kept_after(connection, 100) < 2_000


def test_of_a_text_that_never_ends_the_last_thousand_fragments_are_kept(connection):
    giant = encoded("response.output_audio_transcript.delta", delta="x" * 10_000)
    for _ in range(2_000):
        connection.received(WORDS)
        connection.received(giant)
    kept = connection.protocol.scanner.take_words()
    assert [event["delta"] for event in kept] == ["and so on"] * 1_000
    assert connection.protocol.scanner.take_words() == []
