"""A client of the OpenAI Live server for its tests: the real SDK, frames as they came, tones to say."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import struct

from openai import OpenAI

from voicespan.testing.openai_live import OpenAILiveServer

KEY = "sk-secret"
MODEL = "gpt-live-1"
_CLIENT = OpenAI(api_key=KEY)


def client(server: OpenAILiveServer) -> OpenAI:
    return _CLIENT.with_options(websocket_base_url=server.url, base_url=server.url.replace("ws", "http", 1))


def speech(ms: int, rate: int = 24_000) -> bytes:
    """A tone as loud as a voice, PCM16."""
    samples = [round(8000 * math.sin(2400 * n / rate)) for n in range(rate * ms // 1000)]
    return struct.pack(f"<{len(samples)}h", *samples)


def silence(ms: int, rate: int = 24_000) -> bytes:
    return bytes(rate * ms // 1000 * 2)


def say(connection, audio: bytes, size: int = 4_800) -> None:
    for start in range(0, len(audio), size):
        piece = base64.b64encode(audio[start : start + size]).decode()
        connection.session.input_audio.append(audio=piece)


@contextlib.contextmanager
def started(server: OpenAILiveServer, **session):
    """A primary connection whose `session.started` was read."""
    with client(server).live.connect() as connection:
        connection.session.start(session={"model": MODEL, **session})
        assert frame(connection)["type"] == "session.started"
        yield connection


@contextlib.contextmanager
def conversing(*replies, transcripts=(), session=None, **options):
    with (
        OpenAILiveServer.conversational(replies, transcripts, **options) as server,
        started(server, **(session or {})) as connection,
    ):
        yield server, connection


def frame(connection) -> dict:
    return json.loads(connection.recv_bytes())


def until(connection, kind: str, count: int = 1) -> list[dict]:
    """All frames up to the `count`-th of a kind."""
    frames = []
    while count:
        frames.append(frame(connection))
        count -= frames[-1]["type"] == kind
    return frames


def close(connection) -> list[dict]:
    connection.session.close()
    return until(connection, "session.closed")


def of(frames, kind: str) -> list[dict]:
    return [each for each in frames if each["type"] == kind]


def nested(frames) -> list[dict]:
    return [each["event"] for each in of(frames, "response.event")]


def words(frames, side: str) -> str:
    return "".join(each["delta"] for each in of(frames, f"session.{side}_transcript.delta"))
