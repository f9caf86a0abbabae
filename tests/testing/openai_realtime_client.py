"""A client of the OpenAI Realtime server for its tests: the real SDK, frames as they came, tones to say."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import struct
from itertools import groupby

from openai import OpenAI

from voicespan.testing.openai_realtime import OpenAIRealtimeServer

MODEL = "gpt-realtime"
KEY = "sk-secret"

# Made once: most of a client's cost is its TLS context.
_CLIENT = OpenAI(api_key=KEY)


def speech(ms: int) -> bytes:
    """A tone as loud as a voice: PCM16, 24 kHz."""
    samples = [round(8000 * math.sin(0.1 * n)) for n in range(24 * ms)]
    return struct.pack(f"<{len(samples)}h", *samples)


def silence(ms: int) -> bytes:
    return bytes(48 * ms)


SECOND = speech(1000)


def client(server: OpenAIRealtimeServer) -> OpenAI:
    return _CLIENT.with_options(websocket_base_url=server.url)


@contextlib.contextmanager
def connected(server: OpenAIRealtimeServer, **options):
    """A GA connection whose `session.created` was read."""
    with client(server).realtime.connect(**({"model": MODEL} | options)) as connection:
        assert next_frame(connection)["type"] == "session.created"
        yield connection


@contextlib.contextmanager
def conversing(answers=None, transcripts=(), **options):
    """A server that converses and a GA connection to it."""
    with (
        OpenAIRealtimeServer.conversational(answers, transcripts, **options) as server,
        connected(server) as connection,
    ):
        yield server, connection


@contextlib.contextmanager
def joined(answers=None, **options):
    """A server that converses and a connection that joined a call on it."""
    with (
        OpenAIRealtimeServer.conversational(answers, **options) as server,
        client(server).realtime.connect(call_id="rtc_1") as connection,
    ):
        yield server, connection


def next_frame(connection) -> dict:
    return json.loads(connection.recv_bytes())


def read(connection, until: str, count: int = 1) -> list[dict]:
    """Frames up to the `count`th of this type."""
    frames = []
    while count:
        frames.append(next_frame(connection))
        count -= frames[-1]["type"] == until
    return frames


def say(connection, audio: bytes, chunk_ms: int = 100) -> None:
    step = 48 * chunk_ms
    for start in range(0, len(audio), step):
        connection.input_audio_buffer.append(audio=base64.b64encode(audio[start : start + step]).decode())


def update(connection, **fields) -> dict:
    """Change the session and read the answer."""
    connection.session.update(session={"type": "realtime", **fields})
    return read(connection, "session.updated")[-1]["session"]


def transcribe(connection, model: str = "whisper-1") -> dict:
    return update(connection, audio={"input": {"transcription": {"model": model}}})


def types(frames: list[dict]) -> list[str]:
    return [frame["type"] for frame in frames]


def order(frames: list[dict]) -> list[str]:
    """Types, each run of one type as one."""
    return [name for name, _ in groupby(types(frames))]


def only(frames: list[dict], kind: str) -> dict:
    (found,) = [frame for frame in frames if frame["type"] == kind]
    return found


def user_says(text: str) -> dict:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
