"""What a message of Gemini Live may cost, counted as in `test_receive_path_cost`."""

from __future__ import annotations

import tracemalloc

import pytest
from google.genai import types
from instruction_count import instructions
from live_call import as_sdk, speech

from voicespan.gemini_live.protocol import Protocol
from voicespan.tracing.conversation import Conversation

AUDIO = as_sdk({"serverContent": {"modelTurn": {"parts": [speech(200)]}}})
WORDS = as_sdk({"serverContent": {"outputTranscription": {"text": " and so on"}}})
MICROPHONE = {
    "realtimeInput": {"audio": types.Blob(data=bytes(640), mime_type="audio/pcm;rate=16000")},
}


@pytest.fixture
def connection(tracer_provider):
    conversation = Conversation(tracer_provider=tracer_provider)
    connection = conversation.connect(Protocol(), {})
    for message in (AUDIO, WORDS, AUDIO):
        connection.received(message)
    yield connection
    conversation.end()


@pytest.mark.parametrize(("message", "most"), [(AUDIO, 170), (WORDS, 340)], ids=["audio", "words"])
def test_a_received_message_that_tells_nothing_new(connection, message, most):
    counted = instructions(connection.received, message)
    assert 20 < counted <= most


def test_a_chunk_of_the_microphone(connection):
    counted = instructions(connection.sent, MICROPHONE)
    assert 20 < counted <= 215


def test_nothing_is_kept_of_audio(connection):
    for _ in range(10):
        connection.received(AUDIO)
        connection.sent(MICROPHONE)
    tracemalloc.start()
    for _ in range(500):
        connection.received(AUDIO)
        connection.sent(MICROPHONE)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000
