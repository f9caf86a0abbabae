"""Plays frames (`{"dir": "server" | "client", "event": {...}}`) through a real client, with a server that sends them."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from google import genai
from google.genai import types
from openai import AsyncOpenAI

from voicespan.testing.gemini_live import Expect as GeminiExpect
from voicespan.testing.gemini_live import GeminiLiveServer
from voicespan.testing.gemini_live import Send as GeminiSend
from voicespan.testing.openai_realtime import Expect, OpenAIRealtimeServer, Send

if TYPE_CHECKING:
    from pathlib import Path

Frames = list[dict[str, Any]]


def read(path: Path) -> Frames:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def play_openai(frames: Frames) -> None:
    steps = [
        Send(frame["event"]) if frame["dir"] == "server" else Expect(frame["event"]["type"])
        for frame in frames
    ]
    with OpenAIRealtimeServer(steps) as server:
        client = AsyncOpenAI(api_key="test", websocket_base_url=server.url)
        async with client.realtime.connect(model="gpt-realtime") as connection:
            for frame in frames:
                if frame["dir"] == "server":
                    await connection.recv()
                else:
                    await connection.send(frame["event"])


async def play_gemini(frames: Frames) -> None:
    """The SDK itself sends the setup and reads the answer; a recording that lacks them gets some."""
    setup: dict[str, Any] = {"model": "models/gemini-live"}
    if "setup" in frames[0]["event"]:
        setup, frames = frames[0]["event"]["setup"], frames[2:]
    steps: list[Any] = [GeminiExpect("setup"), GeminiSend({"setupComplete": {}})]
    for frame in frames:
        event = frame["event"]
        steps.append(
            GeminiSend(event) if frame["dir"] == "server" else GeminiExpect(_snake(next(iter(event))))
        )
    with GeminiLiveServer(steps) as server:
        client = genai.Client(**server.client_options())
        async with client.aio.live.connect(model=setup["model"], config=_config(setup)) as session:
            for frame in frames:
                if frame["dir"] == "server":
                    await session._receive()
                else:
                    await _send(session, frame["event"])


def _snake(key: str) -> str:
    return re.sub("([A-Z])", r"_\1", key).lower()


def _config(setup: dict[str, Any]) -> dict[str, Any]:
    generation = setup.get("generationConfig", {})
    beside = {key: value for key, value in setup.items() if key not in ("model", "generationConfig")}
    return types.LiveConnectConfig.model_validate({**generation, **beside}).model_dump(exclude_none=True)


async def _send(session: Any, event: dict[str, Any]) -> None:
    ((key, given),) = event.items()
    if _snake(key) == "tool_response":
        answers = given.get("functionResponses") or given.get("function_responses")
        await session.send_tool_response(
            function_responses=[types.FunctionResponse.model_validate(each) for each in answers]
        )
    elif _snake(key) == "client_content":
        complete = given.get("turnComplete", given.get("turn_complete", True))
        await session.send_client_content(turns=given["turns"], turn_complete=complete)
    elif "audio" in given:
        pcm = base64.urlsafe_b64decode(given["audio"]["data"] + "==")
        blob = types.Blob(data=pcm, mime_type=given["audio"]["mimeType"])
        await session.send_realtime_input(audio=blob)
    else:
        await session.send_realtime_input(text=given["text"])
