"""Sessions of the real SDK with the scripted server, and what this version of the SDK can do."""

from __future__ import annotations

import contextlib
import inspect
from importlib import metadata
from typing import Any

import numpy as np
from google import genai
from google.genai import errors, live, types
from websockets.exceptions import ConnectionClosed

from voicespan.testing.gemini_live import Expect, Send

VERSION = tuple(int(part) for part in metadata.version("google-genai").split(".")[:2])
MODEL = "gemini-live"
CONFIG = {
    "response_modalities": ["AUDIO"],
    "output_audio_transcription": {},
}
if "input_audio_transcription" in types.LiveConnectConfig.model_fields:
    CONFIG["input_audio_transcription"] = {}

#: What not all versions hand on. The first ones drop the Gemini API's transcripts, and what they do not hand on
#: cannot be told.
TELLS_WORDS = VERSION >= (1, 20)
TELLS_USAGE = "usage_metadata" in types.LiveServerMessage.model_fields
TELLS_ACTIVITY = "voice_activity" in types.LiveServerMessage.model_fields
TAKES_AUDIO = "audio" in inspect.signature(live.AsyncSession.send_realtime_input).parameters
RAISES_UNKNOWN = "raise_error" in inspect.getsource(live.AsyncSession._receive)

#: How every session begins.
OPENING = (Expect("setup"), Send({"setupComplete": {"sessionId": "session-1"}}))

#: What reading a closed session raises.
CLOSED = (errors.APIError, ConnectionClosed)


def client(server, **options: Any) -> genai.Client:
    return genai.Client(**server.client_options(**options))


def connect(server, **config: Any):
    return client(server).aio.live.connect(model=MODEL, config={**CONFIG, **config})


async def say(session, text: str = "Hi", *, turn_complete: bool = True) -> None:
    await session.send_client_content(
        turns={"role": "user", "parts": [{"text": text}]}, turn_complete=turn_complete
    )


async def speak(session, pcm: bytes) -> None:
    blob = types.Blob(data=pcm, mime_type="audio/pcm;rate=16000")
    await session.send_realtime_input(**{"audio" if TAKES_AUDIO else "media": blob})


async def turn(session) -> list[Any]:
    return [message async for message in session.receive()]


async def until_closed(session) -> BaseException:
    """Read until the server closes; what that raised."""
    try:
        while True:
            await turn(session)
    except CLOSED as error:
        return error


def voice(milliseconds: int) -> bytes:
    """So much of what a detector takes for speech: noise, at 16 kHz."""
    noise = np.random.default_rng(7).normal(0, 4000, 16 * milliseconds)
    return noise.clip(-32768, 32767).astype("<i2").tobytes()


def silence(milliseconds: int) -> bytes:
    return bytes(32 * milliseconds)


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


@contextlib.asynccontextmanager
async def scripted(start, *steps: Any):
    """A server that plays these steps once it is set up, and a session with it."""
    server = start([*OPENING, *steps])
    async with connect(server) as session:
        yield session, server
