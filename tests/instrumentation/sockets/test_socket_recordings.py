"""VOICESPAN_RECORD_SOURCE=wire on sockets of every library: both sides, from the frames alone."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import numpy as np
import pytest
import soundfile as sf
from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.instrumentation import sockets
from voicespan.testing.openai_realtime import Answer, OpenAIRealtimeServer
from voicespan.tracing import tracer

RATE = 24_000


def tone(seconds):
    time = np.arange(int(RATE * seconds)) / RATE
    return (8_000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes()


@pytest.fixture
def delivered(langsmith_server, tmp_path, monkeypatch):
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", "wire")
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        LangSmithSpanProcessor(
            api_key=langsmith_server.api_key, endpoint=langsmith_server.url, spool_dir=tmp_path
        )
    )
    tracer.name_provider(provider)
    yield provider
    tracer.name_provider(None)
    provider.shutdown()


async def converse(client, url):
    """Half a second of speech, an answer of which half a second is heard."""
    async with client.opened(url) as opened:

        async def send(kind, **fields):
            await opened.send(json.dumps({"type": kind, **fields}))

        async def until(kind):
            while (event := json.loads(await opened.receive()))["type"] != kind:
                pass
            return event

        await send(
            "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        )
        await send("input_audio_buffer.append", audio=base64.b64encode(tone(0.3)).decode())
        await send("input_audio_buffer.commit")
        await send("response.create")
        item = (await until("response.done"))["response"]["output"][0]["id"]
        await send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=500)
        await until("conversation.item.truncated")


async def test_both_sides_are_heard(client, delivered, langsmith_server):
    instrumentor = getattr(sockets, client.instrumentor)()
    instrumentor.instrument(tracer_provider=delivered)
    try:
        answers = [Answer(audio=tone(2.0), transcript="Good morning!")]
        with OpenAIRealtimeServer.conversational(answers) as server:
            await converse(client, server.url + "/realtime?model=gpt-realtime")
    finally:
        instrumentor.uninstrument()
    assert await asyncio.to_thread(delivered.force_flush, 20_000)
    (root,) = langsmith_server.roots
    sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
    seconds = [np.count_nonzero(np.abs(side) > 32) / rate for side in sound.T]
    assert seconds == pytest.approx([0.3, 0.5], abs=0.01)
    assert (root.metadata["recording_source"], root.metadata["recording_estimated"]) == ("wire", True)
