"""What an application is handed is what it is handed untraced, whatever the library makes of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import threading

import pytest
from socket_clients import EndedError

from voicespan.instrumentation import sockets

MESSAGES = [json.dumps({"type": "session.created", "event_id": f"event_{number}"}) for number in range(3)]
CLOSE_1000 = b"\x88\x02\x03\xe8"


@contextlib.contextmanager
def all_in_one_segment(ends_with: bytes):
    """A server whose messages and end arrive together; yields the URL."""
    sends = b"".join(bytes([0x81, len(text)]) + text.encode() for text in MESSAGES) + ends_with

    def serve(listening):
        connection, _ = listening.accept()
        with connection:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += connection.recv(4096)
            lines = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:-2])
            key = next(value for name, value in lines.items() if name.lower() == "sec-websocket-key")
            # RFC 6455, section 1.3.
            digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            connection.recv(4096)
            connection.sendall(sends)
            if ends_with:
                with contextlib.suppress(OSError):
                    connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}/v1/realtime"
        thread.join()


async def handed_over(client, ends_with):
    found = []
    with all_in_one_segment(ends_with) as url:
        async with client.opened(url) as opened:
            await opened.send("{}")
            # So that all has arrived, and been read by a library that has a thread or task for it.
            await asyncio.sleep(0.05)
            with pytest.raises(EndedError) as ended:
                while True:
                    found.append(await opened.receive())
    return found, type(ended.value.__cause__)


@pytest.mark.parametrize("ends_with", [CLOSE_1000, b""], ids=["closed", "dropped"])
async def test_messages_and_the_end_in_one_segment(client, tracer_provider, trace, monkeypatch, ends_with):
    monkeypatch.setenv("VOICESPAN_SOCKETS", "127.0.0.1/v1=openai-realtime")
    untraced = await handed_over(client, ends_with)
    instrumentor = getattr(sockets, client.instrumentor)()
    instrumentor.instrument(tracer_provider=tracer_provider)
    try:
        traced = await handed_over(client, ends_with)
    finally:
        instrumentor.uninstrument()
    if client.loses_the_end:
        # Which ones differs from run to run, untraced as well.
        assert traced[0] == MESSAGES[: len(traced[0])]
        assert traced[1] == untraced[1]
    else:
        assert traced == untraced
        # The asyncio client before 15 discards them as well, and always all.
        assert traced[0] in (MESSAGES, [] if client.discards_the_unread else MESSAGES)
    # What is told is what was handed over, and the one that was sent.
    assert trace.fact("event_count") == len(traced[0]) + 1
