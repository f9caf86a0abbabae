"""What other instrumentations see inside a tool nests under the function call that the model made.

Needs voicespan[openai], opentelemetry-instrumentation-httpx, OPENAI_API_KEY, LANGSMITH_API_KEY and, for the
tool, SHOP_URL.
"""

from __future__ import annotations

import asyncio
import json
import os

import httpx
from openai import AsyncOpenAI
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

import voicespan

provider = voicespan.configure()
HTTPXClientInstrumentor().instrument(tracer_provider=provider)


async def opening_hours(day: str) -> str:
    """Your tool, which asks another service; its span is made by the instrumentation of httpx."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{os.environ['SHOP_URL']}/hours", params={"day": day})).text


async def main() -> None:
    async with AsyncOpenAI().realtime.connect(model="gpt-realtime") as connection:
        tool = {
            "type": "function",
            "name": "opening_hours",
            "parameters": {"type": "object", "properties": {}},
        }
        await connection.session.update(session={"type": "realtime", "tools": [tool]})
        await connection.response.create()
        async for event in connection:
            if event.type == "response.function_call_arguments.done":
                # One call is open: what starts now nests under it by itself.
                hours = await opening_hours(**json.loads(event.arguments))
                await connection.conversation.item.create(
                    item={"type": "function_call_output", "call_id": event.call_id, "output": hours}
                )
            elif event.type == "response.done":
                if all(item.type != "function_call" for item in event.response.output):
                    return
                await connection.response.create()


asyncio.run(main())
