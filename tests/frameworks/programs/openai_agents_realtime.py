"""The OpenAI Agents SDK with a tool. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

set_tracing_disabled(True)


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"foggy in {city}"


async def main(url: str) -> None:
    agent = RealtimeAgent(name="assistant", instructions="Be friendly.", tools=[weather])
    session = await RealtimeRunner(agent).run(model_config={"api_key": "sk-test", "url": url})
    async with session:
        await session.send_message("How is the weather in London?")
        answers = 0
        async for event in session:
            if event.type == "agent_end":
                answers += 1
                if answers == 2:
                    break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] + "/realtime?model=gpt-4o-realtime-preview"))
