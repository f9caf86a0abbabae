"""LiveKit's Gemini model opens its sessions with `client.aio.live.connect`: it is traced without more code."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip(
    "livekit.plugins.google", reason="in an environment of its own: tests/compat/run.py livekit"
)

from frameworks_trace import named, words
from livekit import rtc
from livekit.plugins import google
from span_content import came

from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.testing.gemini_live import Answer, Dialogue, FunctionCall, GeminiLiveServer
from voicespan.testing.gemini_live.certificates import authority

pytestmark = pytest.mark.filterwarnings("default")


async def test_a_realtime_session(tracer_provider, span_exporter, gemini_live_server):
    server = gemini_live_server(Dialogue([Answer("Good morning!")]))
    instrumentor = GeminiLiveInstrumentor()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        options = server.client_options()
        model = google.realtime.RealtimeModel(
            model="gemini-live", api_key=options["api_key"], http_options=options["http_options"]
        )
        session = model.session()
        generations: asyncio.Queue = asyncio.Queue()
        session.on("generation_created", generations.put_nowait)
        silence = rtc.AudioFrame(bytes(320), 16000, 1, 160)
        for _ in range(10):
            session.push_audio(silence)
        generation = await asyncio.wait_for(session.generate_reply(instructions="Greet."), 10)
        async for message in generation.message_stream:
            async for _ in message.audio_stream:
                pass
        await session.aclose()
        await model.aclose()
    finally:
        instrumentor.uninstrument()
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    said = came(spans["output_transcription"])
    assert said["messages"][0]["content"] == "Good morning!"
    assert spans["turn_complete"].attributes["gen_ai.provider.name"] == "gcp.gemini"
    assert spans["conversation"].attributes["gen_ai.request.model"] == "gemini-live"
    assert len(server.connections) == 1


@pytest.mark.parametrize("what", ["spoken", "asked by the agent"])
def test_an_agent_session(run, environ, the_trace, what):
    answers = [Answer(calls=[FunctionCall("weather", {"city": "London"})]), Answer("It is foggy in London.")]
    heard = ["How is the weather in London?"]
    server = GeminiLiveServer.conversational(answers, heard, voice_activity=True)
    with authority().file() as certificate, server:
        environ["SSL_CERT_FILE"] = certificate
        url = server.client_options()["http_options"].base_url
        run("livekit_speech_to_speech.py", "google", url, what)
    root, _ = the_trace()
    # LiveKit cancels what reads the socket, which is no failure, and gives "." where the user said nothing.
    assert (root.status, root.error) == ("success", None)
    (tool,) = named(root, "function_call: weather")
    assert [child.name for child in tool.children] == ["look up"]
    assert "foggy in London" in json.dumps(tool.outputs)
    asked = ("user", heard[0]) if what == "spoken" else ("assistant", "Tell the weather in London.")
    assert [each for each in words(root) if each[0] != "tool"] == [
        asked,
        ("assistant", "It is foggy in London."),
    ]
    assert root.metadata["ls_provider"] == "gcp.gemini"
    assert root.metadata["recording_seconds"] > 1.3
