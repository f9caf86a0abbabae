"""A LiveKit agent on a headset: a cascade of OpenAI plugins. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from livekit.agents import Agent, AgentSession, RunContext, function_tool
from livekit.plugins import openai
from livekit_headset import EnergyDetector, Loudspeaker, Microphone
from opentelemetry import trace


@function_tool
async def weather(context: RunContext, city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("shop").start_as_current_span("look up"):
        await asyncio.sleep(0.05)
    return f"foggy in {city}"


def make_session(url: str):
    options = {"base_url": url, "api_key": "sk-test"}
    more = {}
    try:
        AgentSession(aec_warmup_duration=None)
        more["aec_warmup_duration"] = None
    except TypeError:
        pass
    return AgentSession(
        vad=EnergyDetector(),
        stt=openai.STT(model="gpt-4o-transcribe", language="en", **options),
        llm=openai.LLM(model="gpt-4.1", **options),
        tts=openai.TTS(model="gpt-4o-mini-tts", voice="ash", **options),
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


async def call(url: str, *, barge_in: bool = False):
    microphone, loudspeaker = Microphone(), Loudspeaker()
    session = make_session(url)
    session.input.audio, session.output.audio = microphone, loudspeaker
    await session.start(Agent(instructions="You are kind.", tools=[weather]))
    await asyncio.sleep(0.2)
    microphone.say(0.6)
    if barge_in:
        while session.agent_state != "speaking":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        microphone.say(0.6)
    await answered(session, 2 if barge_in else 1)
    if not barge_in:
        microphone.say(0.4)
        await answered(session, 2)
    await session.aclose()
    print("heard", loudspeaker.heard)


if __name__ == "__main__":
    asyncio.run(call(sys.argv[1], barge_in="barge-in" in sys.argv))
