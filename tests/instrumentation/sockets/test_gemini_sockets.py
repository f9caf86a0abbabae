"""Gemini Live on a socket of one's own: the URLs, the setup, resumption, audio by a byte search."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import ssl

import numpy as np
import pytest
import soundfile as sf
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode
from span_content import came
from websockets.asyncio.client import connect

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.gemini_live import GeminiLiveInstrumentor
from voicespan.gemini_live.json_protocol import JsonProtocol
from voicespan.gemini_live.sockets import ENDPOINT
from voicespan.instrumentation.sockets import WebsocketsInstrumentor
from voicespan.instrumentation.sockets.by_url import SocketRequest, load_endpoints, match
from voicespan.protocol.events import Level
from voicespan.testing.gemini_live import Answer, FunctionCall, GeminiLiveServer, Send
from voicespan.tracing import tracer

genai = pytest.importorskip("google.genai")

DEVELOPER = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX = "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent"
EPHEMERAL = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained"
SETUP = {"setup": {"model": "models/gemini-2.5-flash-native-audio", "outputAudioTranscription": {}}}


@pytest.fixture
def instrumented(tracer_provider):
    WebsocketsInstrumentor().instrument(tracer_provider=tracer_provider)
    yield
    WebsocketsInstrumentor().uninstrument()


@contextlib.asynccontextmanager
async def opened(server, path=DEVELOPER, **options):
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    base = str(server.client_options()["http_options"].base_url).replace("https", "wss")
    async with connect(f"{base}{path}", ssl=trusting, **options) as socket:
        yield socket


async def speak(socket, setup=SETUP):
    await socket.send(json.dumps(setup))
    assert "setupComplete" in json.loads(await socket.recv())
    await speak_on(socket)


async def speak_on(socket):
    turn = {"turns": [{"role": "user", "parts": [{"text": "How is the weather?"}]}], "turnComplete": True}
    await socket.send(json.dumps({"clientContent": turn}))
    async for frame in socket:
        message = json.loads(frame)
        for call in message.get("toolCall", {}).get("functionCalls", ()):
            response = {"id": call["id"], "name": call["name"], "response": {"weather": "foggy"}}
            await socket.send(json.dumps({"toolResponse": {"functionResponses": [response]}}))
        if message.get("serverContent", {}).get("turnComplete"):
            break


@pytest.mark.parametrize(
    "path",
    [DEVELOPER + "?key=a-k3y", EPHEMERAL + "?access_token=auth_tokens/a-k3y", VERTEX],
    ids=["developer", "ephemeral", "vertex"],
)
async def test_a_conversation_is_one_complete_trace(instrumented, trace, path):
    answers = [Answer(calls=[FunctionCall("weather", {"city": "London"})]), Answer(transcript="It is foggy.")]
    with GeminiLiveServer.conversational(answers) as server:
        async with opened(server, path) as socket:
            await speak(socket)
    names = [span.name for span in trace.spans]
    assert names.count("function_call: weather") == names.count("conversation") == 1
    assert "turn_complete" in names
    provider = "gcp.vertex_ai" if path == VERTEX else "gcp.gemini"
    assert trace.root.attributes["gen_ai.provider.name"] == provider
    assert trace.root.attributes["gen_ai.request.model"] == "gemini-2.5-flash-native-audio"
    assert (trace.fact("status"), trace.fact("close_code")) == ("completed", 1000)
    assert "It is foggy." in str(came(trace.root))
    assert "a-k3y" not in str([span.attributes for span in trace.spans])


async def test_the_wire_estimate_hears_both_sides(langsmith_server, tmp_path, monkeypatch):
    monkeypatch.setenv("VOICESPAN_RECORD_SOURCE", "wire")
    monkeypatch.setenv("VOICESPAN_RECORDING_FORMAT", "flac")
    provider = TracerProvider(shutdown_on_exit=False)
    destination = {"api_key": langsmith_server.api_key, "endpoint": langsmith_server.url}
    provider.add_span_processor(LangSmithSpanProcessor(**destination, spool_dir=tmp_path))
    tracer.name_provider(provider)
    WebsocketsInstrumentor().instrument(tracer_provider=provider)
    loud = base64.b64encode(b"\x00\x20" * 8_000).decode()
    try:
        with GeminiLiveServer.conversational([Answer(audio=b"\x00\x20" * 12_000, text="Hi.")]) as server:
            async with opened(server) as socket:
                audio = {"data": loud, "mimeType": "audio/pcm;rate=16000"}
                await socket.send(json.dumps(SETUP))
                await socket.recv()
                await socket.send(json.dumps({"realtimeInput": {"audio": audio}}))
                await speak_on(socket)
                # The answer's half second is played, not only received.
                await asyncio.sleep(0.6)
        assert await asyncio.to_thread(provider.force_flush, 20_000)
    finally:
        WebsocketsInstrumentor().uninstrument()
        tracer.name_provider(None)
        provider.shutdown()
    (root,) = langsmith_server.roots
    sound, rate = sf.read(io.BytesIO(root.attachments["conversation"].content), dtype="int16")
    seconds = [np.count_nonzero(np.abs(side) > 32) / rate for side in sound.T]
    assert seconds == pytest.approx([0.5, 0.5], abs=0.02)
    assert root.metadata["recording_source"] == "wire"


async def test_a_session_that_is_resumed_by_its_handle_is_one_conversation(instrumented, trace):
    handle = {"sessionResumptionUpdate": {"newHandle": "handle-1", "resumable": True}}
    done = {"setupComplete": {}}
    with GeminiLiveServer([Send(done, handle, {"goAway": {"timeLeft": "1s"}})], [Send(done)]) as server:
        async with opened(server) as socket:
            await socket.send(json.dumps(SETUP))
            for _ in range(3):
                await socket.recv()
        assert trace.roots == []
        async with opened(server) as socket:
            await socket.send(
                json.dumps({"setup": {**SETUP["setup"], "sessionResumption": {"handle": "handle-1"}}})
            )
            await socket.recv()
    assert trace.fact("connection_count") == 2


async def test_the_clients_own_socket_is_told_once(instrumented, trace, tracer_provider):
    GeminiLiveInstrumentor().instrument(tracer_provider=tracer_provider)
    try:
        with GeminiLiveServer(
            [Send({"setupComplete": {}}, {"serverContent": {"turnComplete": True}})]
        ) as server:
            client = genai.Client(**server.client_options())
            async with client.aio.live.connect(model="gemini", config={}) as session:
                async for _ in session.receive():
                    break
    finally:
        GeminiLiveInstrumentor().uninstrument()
    assert len(trace.roots) == 1
    assert trace.fact("connection_count") == 1


async def test_what_is_written_to_the_clients_private_socket_is_seen(trace, tracer_provider):
    """As pydantic-ai answers a tool with media."""
    GeminiLiveInstrumentor().instrument(tracer_provider=tracer_provider)
    call = {"toolCall": {"functionCalls": [{"id": "call-1", "name": "picture", "args": {}}]}}
    try:
        with GeminiLiveServer([Send({"setupComplete": {}}, call)]) as server:
            client = genai.Client(**server.client_options())
            async with client.aio.live.connect(model="gemini", config={}) as session:
                async for _ in session.receive():
                    break
                response = {"id": "call-1", "name": "picture", "response": {"result": "a fox"}}
                await session._ws.send(json.dumps({"toolResponse": {"functionResponses": [response]}}))
                await session.send_client_content(turns={"role": "user", "parts": [{"text": "Thanks"}]})
    finally:
        GeminiLiveInstrumentor().uninstrument()
    (span,) = [span for span in trace.spans if span.name == "function_call: picture"]
    assert "a fox" in str(came(span))
    assert span.status.status_code is not StatusCode.ERROR
    assert len([span for span in trace.spans if span.name == "clientContent"]) <= 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("wss://generativelanguage.googleapis.com" + DEVELOPER, "google-genai-live"),
        (
            "wss://generativelanguage.googleapis.com" + DEVELOPER + "Constrained?access_token=x",
            "google-genai-live",
        ),
        ("wss://us-central1-aiplatform.googleapis.com" + VERTEX, "google-genai-live"),
        ("wss://api.openai.com/v1/realtime?model=gpt-realtime", "openai-realtime"),
        ("wss://res.openai.azure.com/openai/realtime?deployment=d", "openai-realtime"),
        ("wss://res.openai.azure.com/openai/v1/realtime?model=d", "openai-realtime"),
        ("wss://res.services.ai.azure.com/voice-live/realtime?model=m", "openai-realtime"),
        ("wss://api.x.ai/v1/realtime", "openai-realtime"),
        ("ws://API.OPENAI.COM:8080/v1/realtime", "openai-realtime"),
        ("wss://api.openai.com/v1/live/sessions", "openai-live"),
        ("wss://api.openai.com/v1/live/sessions/live_1/attach?graceful_close=true", "openai-live"),
        ("wss://api.openai.com/v1/live/sessions/live_1/fork", "openai-live"),
        ("wss://res.openai.azure.com/openai/v1/live/sessions", "openai-live"),
        ("wss://api.openai.com/v1/live/sessions/live_1/content", None),
        ("wss://generativelanguage.googleapis.com/ws/other", None),
        ("wss://api.openai.com/v1/responses", None),
        ("wss://example.com/", None),
        ("not a url", None),
    ],
)
def test_whose_a_url_is(url, name):
    load_endpoints()
    found = match(SocketRequest(url))
    assert (None if found is None else found.endpoint.name) == name
    assert found is None or not found.needs_first_frame


def test_deployment_and_model_and_server_are_the_requests():
    load_endpoints()
    request = SocketRequest("wss://res.openai.azure.com:444/openai/realtime?api-version=1&deployment=ours")
    attributes = match(request).endpoint.attributes(request)
    assert attributes["gen_ai.request.model"] == "ours"
    assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert (attributes["server.address"], attributes["server.port"]) == ("res.openai.azure.com", 444)
    assert ENDPOINT.attributes(SocketRequest("wss://h" + VERTEX))["gen_ai.provider.name"] == "gcp.vertex_ai"


# Audio by a byte search.


def spoken(size, indent=None, **more):
    blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(bytes(size)).decode()}
    content = {"serverContent": {"modelTurn": {"parts": [{"inlineData": blob}]}, **more}}
    return json.dumps(content, indent=indent).encode()


@pytest.mark.parametrize("indent", [None, 2])
def test_audio_is_counted_without_being_parsed(indent):
    protocol = JsonProtocol(Level.STANDARD)
    assert not protocol.skip_server_frame(spoken(4800, indent))
    protocol.receive(spoken(4800, indent), 0)
    for size in (4800, 4801, 4802, 960):
        assert protocol.skip_server_frame(spoken(size, indent))
    assert protocol._turns.turn.audio == 4800 + 4800 + 4801 + 4802 + 960
    # What says more than that is parsed.
    assert not protocol.skip_server_frame(spoken(4800, indent, turnComplete=True))
    assert not protocol.skip_server_frame(b'{"serverContent": {"interrupted": true}}')
    assert protocol.skip_server_frame(spoken(4800, indent))


@pytest.mark.parametrize("size", [640, 641, 642])
def test_the_microphones_audio_is_counted_without_being_parsed(size):
    protocol = JsonProtocol(Level.STANDARD)
    blob = {"data": base64.b64encode(bytes(size)).decode(), "mimeType": "audio/pcm;rate=16000"}
    for frame in ({"audio": blob}, {"audio": blob}, {"media": blob}):
        assert protocol.skip_client_frame(json.dumps({"realtimeInput": frame}).encode(), 1)
    assert protocol._session.microphone.position_ms == pytest.approx(3 * size / 32)


def test_a_microphones_frames_are_not_parsed():
    protocol = JsonProtocol(Level.STANDARD)

    def heard(**given):
        return json.dumps({"realtimeInput": given}).encode()

    blob = {"data": base64.b64encode(bytes(3200)).decode(), "mimeType": "audio/pcm;rate=16000"}
    assert protocol.skip_client_frame(heard(audio=blob), 0)
    assert protocol.skip_client_frame(heard(mediaChunks=[blob]), 0)
    assert not protocol.skip_client_frame(heard(video={**blob, "mimeType": "image/jpeg"}), 0)
    assert not protocol.skip_client_frame(heard(audio=blob, activityEnd={}), 0)
    assert not protocol.skip_client_frame(b'{"clientContent": {}}', 0)
