"""What a frame costs through a socket's patches, counted in instructions; about 100 are 1 µs."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from instruction_count import instructions
from socket_clients import AsyncioWebsockets

from voicespan.instrumentation.sockets import WebsocketsInstrumentor
from voicespan.instrumentation.sockets.traced_socket import traced_socket
from voicespan.testing.openai_realtime import OpenAIRealtimeServer, Send

IDS = {
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
}
AUDIO = json.dumps(
    {"type": "response.output_audio.delta", **IDS, "delta": base64.b64encode(bytes(9600)).decode()}
)
MICROPHONE = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(960)).decode()})
CREATED = {"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "id": "sess_1"}}


@pytest.fixture
def opened(tracer_provider):
    """Instruments, opens a socket and hands it to a function."""

    async def opened(path, look):
        with OpenAIRealtimeServer([Send(CREATED)]) as server:
            async with AsyncioWebsockets.opened(server.url + path) as socket:
                await socket.receive()
                return look(socket.socket)

    WebsocketsInstrumentor().instrument(tracer_provider=tracer_provider)
    yield lambda path, look: asyncio.run(opened(path, look))
    WebsocketsInstrumentor().uninstrument()


def test_a_traced_frame_costs_less_than_a_microsecond_more_than_through_the_clients_own_patch(
    opened, unattended
):
    def look(websocket):
        socket = traced_socket(websocket)
        for _ in range(3):
            socket.received(AUDIO)
        for through, directly, frame in (
            (socket.received, socket.connection.received, AUDIO),
            (socket.sent, socket.connection.sent, MICROPHONE),
        ):
            assert instructions(through, frame) <= instructions(directly, frame.encode()) + 60

    opened("/realtime", look)


def test_a_foreign_sockets_frames_run_no_code_of_ours(opened):
    def look(websocket):
        # All that the library calls for a frame is its own, so there is nothing that could run.
        for part in (websocket, websocket.protocol, websocket.recv_messages):
            for name in ("recv", "send", "close", "get", "get_iter", "send_text", "send_binary"):
                method = getattr(part, name, None)
                if method is not None:
                    assert "voicespan" not in method.__func__.__code__.co_filename

    opened("/other", look)


def test_a_foreign_socket_pays_one_look_at_its_url(opened):
    looks = []

    instrumentor = WebsocketsInstrumentor()
    original = instrumentor._opens
    instrumentor._opens = lambda request: looks.append(instructions(original, request, within="voicespan"))
    try:
        WebsocketsInstrumentor().uninstrument()
        WebsocketsInstrumentor().instrument()
        opened("/other", lambda _: None)
    finally:
        del instrumentor._opens
    assert len(looks) == 1
    assert looks[0] <= 500
