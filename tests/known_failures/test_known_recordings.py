"""What recordings are known to lose or to misplace, where they are estimated from the connection."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile as sf
from opentelemetry.sdk.trace import TracerProvider
from wire import CREATED, connect, frame

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor
from voicespan.testing.openai_realtime import Expect, OpenAIRealtimeServer, Send
from voicespan.tracing import tracer

RATE = 24_000


def noise(seconds, seed):
    random = np.random.default_rng(seed)
    return random.integers(-8_000, 8_000, int(RATE * seconds)).astype("<i2")


def base64_of(samples):
    return base64.b64encode(samples.tobytes()).decode()


@pytest.fixture
def recorded(langsmith_server, tmp_path, monkeypatch):
    """What both sides of the only call sound like in LangSmith, called when it is over."""
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", "wire")
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        LangSmithSpanProcessor(
            api_key=langsmith_server.api_key, endpoint=langsmith_server.url, spool_dir=tmp_path
        )
    )
    tracer.name_provider(provider)
    instrumentor = OpenAIRealtimeInstrumentor()
    instrumentor.instrument(tracer_provider=provider)

    def listen():
        assert provider.force_flush(20_000)
        (root,) = langsmith_server.roots
        sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
        assert rate == RATE
        return sound.T

    yield listen
    instrumentor.uninstrument()
    tracer.name_provider(None)
    provider.shutdown()


def found(side, samples):
    """Whether these very samples stand somewhere in a side of the recording, without a gap."""
    starts = np.flatnonzero(side == samples[0])
    return any(np.array_equal(side[start : start + len(samples)], samples) for start in starts)


def test_the_microphone_is_recorded_before_the_server_says_anything(recorded):
    said = noise(0.3, 1)
    steps = [Expect("input_audio_buffer.append"), Send(CREATED)]
    with OpenAIRealtimeServer(steps) as server, connect(server) as connection:
        connection.input_audio_buffer.append(audio=base64_of(said))
        connection.recv()
    user, _ = recorded()
    assert found(user, said)


def test_a_buffer_that_is_cleared_moves_nothing_that_is_said_afterwards(recorded):
    before, after = noise(0.3, 1), noise(0.2, 2)
    steps = [Send(CREATED), Expect("input_audio_buffer.clear"), Send(frame("input_audio_buffer.cleared"))]
    with OpenAIRealtimeServer(steps) as server, connect(server) as connection:
        connection.recv()
        connection.input_audio_buffer.append(audio=base64_of(before))
        connection.input_audio_buffer.clear()
        connection.recv()
        connection.input_audio_buffer.append(audio=base64_of(after))
    user, _ = recorded()
    # It was said, whatever the model was to make of it.
    assert found(user, before)
    assert found(user, after)


def test_audio_that_splits_its_samples_stays_in_step(recorded):
    """Chunks of odd length: each ends, or begins, in the middle of a sample."""
    said = noise(0.3, 3)
    pcm = said.tobytes()
    deltas = [
        frame(
            "response.output_audio.delta",
            response_id="r1",
            item_id="a1",
            delta=base64.b64encode(pcm[at : at + 1_001]).decode(),
        )
        for at in range(0, len(pcm), 1_001)
    ]
    with OpenAIRealtimeServer([Send(CREATED, *deltas)]) as server, connect(server) as connection:
        for _ in range(len(deltas) + 1):
            connection.recv()
    _, agent = recorded()
    assert found(agent, said)
