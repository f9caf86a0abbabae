"""A voice agent behind FastAPI: a browser speaks over a WebSocket, and the server passes it on.

    uvicorn fastapi_app:app

The request's span, made by the instrumentation of FastAPI, ends in your own backend as before. The
conversation is a trace of its own with a link back to that request, since LangSmith shows no trace whose
root's parent it never gets. Both sides are recorded where they pass: the caller as the browser sent it, the agent
as the browser plays it. Needs voicespan[openai], fastapi, uvicorn, opentelemetry-instrumentation-fastapi,
OPENAI_API_KEY and LANGSMITH_API_KEY.
"""

from __future__ import annotations

import asyncio
import base64

from fastapi import FastAPI, WebSocket
from openai import AsyncOpenAI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

import voicespan

RATE = 24_000  # Hz

provider = voicespan.configure()
app = FastAPI()
FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
client = AsyncOpenAI()


@app.websocket("/call/{caller}")
async def call(browser: WebSocket, caller: str) -> None:
    """One conversation for each WebSocket, grouped by who calls."""
    await browser.accept()
    with voicespan.conversation(thread_id=caller) as conversation:
        async with client.realtime.connect(model="gpt-realtime") as agent:
            speaking = asyncio.create_task(speak(agent, browser, conversation.recorder))
            try:
                async for audio in browser.iter_text():
                    # What the caller's microphone gave: 24 kHz, 16 bits, mono, as base64.
                    conversation.recorder.user(base64.b64decode(audio), RATE)
                    await agent.input_audio_buffer.append(audio=audio)
            finally:
                speaking.cancel()


async def speak(agent, browser: WebSocket, recorder: voicespan.Recorder) -> None:
    """The agent greets, and whatever it says goes to the browser, which plays it as it comes."""
    await agent.response.create()
    async for event in agent:
        if event.type == "response.output_audio.delta":
            # It is laid out in the recording as it is played, at the speed of speech.
            recorder.agent(base64.b64decode(event.delta), RATE)
            await browser.send_text(event.delta)
        elif event.type == "input_audio_buffer.speech_started":
            # The caller cuts in: what the browser has not played yet, nobody hears.
            recorder.cut_agent()
            await browser.send_text("stop")
        elif event.type == "response.done":
            await browser.send_text("done")
