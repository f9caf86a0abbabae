"""Applications for gunicorn (`wsgi`) and uvicorn (`asgi`) whose requests are conversations."""

from __future__ import annotations

import json
import os

from opentelemetry.sdk.trace import TracerProvider

from voicespan.delivery import LangSmithSpanProcessor
from voicespan.tracing.conversation import Conversation
from voicespan.tracing.scope import conversation

provider = TracerProvider()
provider.add_span_processor(LangSmithSpanProcessor())
tracer = provider.get_tracer("voicespan")
held = []


def wsgi(environ, start_response):
    """`/call` is a whole conversation, `/open` one that stays open."""
    call = Conversation(tracer_provider=provider)
    with call.use():
        tracer.start_span("turn_complete").end()
    if environ["PATH_INFO"] == "/call":
        call.end()
    else:
        held.append(call)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"run": call.run_id, "process": os.getpid()}).encode()]


async def asgi(scope, receive, send):
    """A conversation for each WebSocket, as long as that is open."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    with conversation() as call:
        with call.use():
            tracer.start_span("turn_complete").end()
        await send({"type": "websocket.send", "text": call.run_id})
        while (await receive())["type"] != "websocket.disconnect":
            pass


def traced_asgi():
    from voicespan.tracing import tracer

    tracer.name_provider(provider)
    return asgi
