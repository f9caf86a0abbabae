"""The same on Gemini Live."""

from __future__ import annotations

import asyncio

from google import genai


async def call() -> None:
    async with genai.Client().aio.live.connect(model="gemini-live") as session:
        await session.send_client_content(turns={"role": "user", "parts": [{"text": "Hello?"}]})
        async for message in session.receive():
            if message.server_content and message.server_content.turn_complete:
                break


if __name__ == "__main__":
    asyncio.run(call())
