"""pydantic-ai's OpenAI realtime model with a tool. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import RealtimeTurnCompleteEvent
from pydantic_ai.realtime.openai import OpenAIRealtimeModel

agent = Agent(instructions="Be friendly.")


@agent.tool_plain
def weather(city: str) -> str:
    """The weather in a city."""
    return f"foggy in {city}"


async def main(url: str) -> None:
    provider = OpenAIProvider(base_url=url.replace("ws://", "http://"), api_key="sk-test")
    async with agent.realtime(OpenAIRealtimeModel("gpt-realtime", provider=provider)).session() as session:
        await session.send("How is the weather in London?")
        async for event in session:
            if isinstance(event, RealtimeTurnCompleteEvent):
                break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
