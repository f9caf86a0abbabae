"""A telephone bridge behind FastAPI that knows nothing of tracing: `opentelemetry-instrument` sets all up."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from openai import AsyncOpenAI
from opentelemetry import trace
from span_lines import write_spans_of

write_spans_of(trace.get_tracer_provider())
app = FastAPI()


@app.websocket("/media")
async def media(telephone: WebSocket) -> None:
    await telephone.accept()
    async with AsyncOpenAI().realtime.connect(model="gpt-realtime") as agent:
        async for audio in telephone.iter_text():
            if audio == "stop":
                break
            await agent.input_audio_buffer.append(audio=audio)
            await telephone.send_text("mark")
        with trace.get_tracer("app").start_as_current_span("look at the order"):
            pass
    await telephone.close()
