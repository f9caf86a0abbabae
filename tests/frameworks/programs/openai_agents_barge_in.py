"""The OpenAI Agents SDK, interrupted while it speaks. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from agents import set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

set_tracing_disabled(True)
#: 100 ms at 24 kHz.
VOICE, SILENCE = b"\x00\x30\x00\xd0" * 1200, bytes(4800)


async def main(url: str) -> None:
    agent = RealtimeAgent(name="assistant", instructions="Be friendly.")
    session = await RealtimeRunner(agent).run(model_config={"api_key": "sk-test", "url": url})
    async with session:
        await session.send_message("Tell me a story.")
        spoke = False
        async for event in session:
            if event.type == "audio" and not spoke:
                spoke = True
                for chunk in [VOICE] * 6 + [SILENCE] * 12:
                    await session.send_audio(chunk)
            if event.type == "raw_model_event" and event.data.type == "raw_server_event":
                data = event.data.data
                if data["type"] == "response.done" and data["response"]["status"] == "completed":
                    break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] + "/realtime?model=gpt-4o-realtime-preview"))
