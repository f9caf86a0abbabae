"""LiveKit's OpenAI realtime model. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from livekit.plugins import openai


async def main(url: str) -> None:
    model = openai.realtime.RealtimeModel(
        model="gpt-realtime", base_url=url.replace("ws://", "http://"), api_key="sk-test"
    )
    session = model.session()
    generation = await asyncio.wait_for(session.generate_reply(instructions="Greet."), 20)
    async for message in generation.message_stream:
        async for _ in message.audio_stream:
            pass
    await session.aclose()
    await model.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
