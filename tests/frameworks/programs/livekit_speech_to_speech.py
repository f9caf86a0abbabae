"""A LiveKit agent on a headset whose model listens and speaks by itself. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from livekit.agents import Agent, AgentSession, RunContext, function_tool
from livekit.plugins import openai
from livekit_headset import Loudspeaker, Microphone
from opentelemetry import trace


@function_tool
async def weather(context: RunContext, city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("shop").start_as_current_span("look up"):
        await asyncio.sleep(0.05)
    return f"foggy in {city}"


async def main(url: str) -> None:
    model = openai.realtime.RealtimeModel(
        model="gpt-realtime", base_url=url.replace("ws://", "http://"), api_key="sk-test"
    )
    microphone, loudspeaker = Microphone(), Loudspeaker()
    session = AgentSession(llm=model)
    session.input.audio, session.output.audio = microphone, loudspeaker
    await session.start(Agent(instructions="You are kind.", tools=[weather]))
    session.generate_reply(instructions="Tell the weather in London.")
    for _ in range(400):
        if loudspeaker.heard:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    await session.aclose()
    print("heard", loudspeaker.heard)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
