"""A LiveKit agent in text mode, with tools and a second agent. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
from livekit.agents import Agent, AgentSession, RunContext, function_tool, llm
from livekit.plugins import openai
from opentelemetry import trace


@function_tool
async def weather(context: RunContext, city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("shop").start_as_current_span(f"look up {city}"):
        await asyncio.sleep(0.05)
    return f"foggy in {city}"


@function_tool
async def broken(context: RunContext) -> str:
    """Never works."""
    raise ValueError("the shop is closed")


class Billing(Agent):
    def __init__(self):
        super().__init__(instructions="You are the billing department.")


class Speaker(Agent):
    """Listens and speaks by itself."""

    def __init__(self, url):
        model = openai.realtime.RealtimeModel(
            model="gpt-realtime",
            modalities=["text"],
            base_url=url.replace("ws://", "http://"),
            api_key="sk-test",
        )
        super().__init__(instructions="You are the night shift.", llm=model)

    async def on_enter(self):
        await self.session.generate_reply(instructions="Say hello.")


@function_tool
async def to_night_shift(context: RunContext):
    """Hand over to the night shift, which is another kind of model."""
    return Speaker(os.environ["REALTIME_URL"]), "One moment."


@function_tool
async def to_billing(context: RunContext):
    """Hand over to the billing department."""
    return Billing(), "Transferring you."


class Parrot(Agent):
    """Answers by itself, without a model."""

    async def llm_node(self, chat_ctx, tools, model_settings):
        yield "Pieces of "
        yield "eight!"


async def ask(session, text):
    if hasattr(session, "run"):
        await session.run(user_input=text)
    else:  # the oldest
        await session.generate_reply(user_input=text)


async def main(url, *asked):
    options = {"base_url": url, "api_key": "sk-test"}
    model = openai.LLM(model="gpt-4.1", **options)
    agent = Agent(instructions="You are kind.", tools=[weather, broken, to_billing, to_night_shift])
    if asked[0] == "with a fallback":
        dead = openai.LLM(model="gpt-dead", **options)
        model = llm.FallbackAdapter([dead, model], max_retry_per_llm=0)
    session = AgentSession(llm=model)
    await session.start(Parrot(instructions="") if asked[0] == "to a parrot" else agent)
    if asked[0] == "to a parrot":
        await session.say("Ahoy!")
    asked = asked[1:] if asked[0] in ("with a fallback", "to a parrot") else asked
    if "BESIDE_URL" in os.environ:
        # As of a transcription of the application's own.
        async with aiohttp.ClientSession() as http, http.ws_connect(os.environ["BESIDE_URL"]) as socket:
            await socket.receive()
            return await talk(session, asked)
    return await talk(session, asked)


async def talk(session, asked):
    for text in asked:
        await ask(session, text)
        await asyncio.sleep(0.2)
    await session.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
