"""A LiveKit agent on a headset: a cascade of OpenAI plugins. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import inspect
import sys

from livekit.agents import Agent, AgentSession, RunContext, function_tool
from livekit.plugins import openai
from livekit_headset import EnergyDetector, Loudspeaker, Microphone
from opentelemetry import trace

BEGUN: list = []


@function_tool
async def weather(context: RunContext, city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("shop").start_as_current_span("look up"):
        await asyncio.sleep(0.05)
    return f"foggy in {city}"


@function_tool
async def slow(context: RunContext) -> str:
    """Takes long."""
    with trace.get_tracer("shop").start_as_current_span("look up"):
        BEGUN.append(context)
        await asyncio.sleep(1)
    return "done"


def make_session(url: str):
    options = {"base_url": url, "api_key": "sk-test"}
    known = inspect.signature(AgentSession).parameters
    newer = {"aec_warmup_duration": None, "false_interruption_timeout": 0.4}
    more = {name: value for name, value in newer.items() if name in known}
    return AgentSession(
        vad=EnergyDetector(),
        stt=openai.STT(model="gpt-4o-transcribe", language="en", **options),
        llm=openai.LLM(model="gpt-4.1", **options),
        tts=openai.TTS(model="gpt-4o-mini-tts", voice="ash", response_format="pcm", **options),
        turn_detection="vad",
        min_endpointing_delay=0.1,
        min_interruption_duration=0.1,
        **more,
    )


async def answered(session, count: int) -> None:
    """Wait until the agent has said so much."""
    for _ in range(400):
        said = [item for item in session.history.items if getattr(item, "role", None) == "assistant"]
        if len(said) >= count and session.agent_state == "listening":
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def call(url: str, what: str):
    microphone, loudspeaker = Microphone(), Loudspeaker()
    session = make_session(url)
    session.input.audio, session.output.audio = microphone, loudspeaker
    await session.start(Agent(instructions="You are kind.", tools=[weather, slow]))
    await asyncio.sleep(0.2)
    microphone.say(0.6)
    if what == "barge-in":
        while session.agent_state != "speaking":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        microphone.say(0.6)
        await answered(session, 2)
    elif what == "cough":
        while session.agent_state != "speaking":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        microphone.say(0.2)
        await answered(session, 1)
    elif what == "two":
        await answered(session, 1)
    elif what == "hang-up":
        while not BEGUN:
            await asyncio.sleep(0.05)
    elif what == "unanswered":
        await asyncio.sleep(10)
    else:
        await answered(session, 1)
        microphone.say(0.4)
        await answered(session, 2)
    await session.aclose()
    print("heard", loudspeaker.heard)
    print("paused", loudspeaker.pauses)


async def main(url: str, what: str = "") -> None:
    await asyncio.gather(*(call(url, what) for _ in range(2 if what == "two" else 1)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
