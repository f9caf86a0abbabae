"""A voice agent behind FastAPI: a browser speaks over a WebSocket, and the server passes it on.

    uvicorn fastapi_app:app

The request's span, made by the instrumentation of FastAPI, ends in your own backend as before. The
conversation is a trace of its own with a link back to that request, since LangSmith shows no trace whose
root's parent it never gets. Needs voicespan[openai], fastapi, uvicorn, opentelemetry-instrumentation-fastapi,
OPENAI_API_KEY and LANGSMITH_API_KEY.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, WebSocket
from openai import AsyncOpenAI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

import voicespan

provider = voicespan.configure()
app = FastAPI()
FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
client = AsyncOpenAI()


@app.websocket("/call/{caller}")
async def call(browser: WebSocket, caller: str) -> None:
    """One conversation for each WebSocket, grouped by who calls."""
    await browser.accept()
    with voicespan.conversation(thread_id=caller):
        async with client.realtime.connect(model="gpt-realtime") as agent:
            speaking = asyncio.create_task(speak(agent, browser))
            try:
                async for audio in browser.iter_text():
                    await agent.input_audio_buffer.append(audio=audio)
            finally:
                speaking.cancel()


async def speak(agent, browser: WebSocket) -> None:
    """The agent greets, and whatever it says goes to the browser."""
    await agent.response.create()
    async for event in agent:
        if event.type == "response.output_audio.delta":
            await browser.send_text(event.delta)
        elif event.type == "response.done":
            await browser.send_text("done")
