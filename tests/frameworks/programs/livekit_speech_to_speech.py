"""A LiveKit agent on a headset whose model listens and speaks by itself. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from livekit.agents import Agent, AgentSession, RunContext, function_tool
from livekit_headset import Loudspeaker, Microphone
from opentelemetry import trace


@function_tool
async def weather(context: RunContext, city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("shop").start_as_current_span("look up"):
        await asyncio.sleep(0.05)
    return f"foggy in {city}"


def of_openai(url, **more):
    from livekit.plugins import openai

    url = url.replace("ws://", "http://")
    return openai.realtime.RealtimeModel(model="gpt-realtime", base_url=url, api_key="sk-test", **more)


def of_google(url):
    import ssl

    from google.genai.types import HttpOptions
    from livekit.plugins import google

    trusted = {"ssl": ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])}
    options = HttpOptions(base_url=url, async_client_args=trusted)
    return google.realtime.RealtimeModel(model="gemini-live", api_key="test", http_options=options)


def make_session(kind, url, services_url):
    if kind == "google":
        return AgentSession(llm=of_google(url))
    if kind == "own":
        from livekit_own_model import OwnModel

        return AgentSession(llm=OwnModel(json.loads(url)))
    if kind == "half":
        from livekit.plugins import openai

        tts = openai.TTS(
            model="gpt-4o-mini-tts",
            voice="ash",
            response_format="pcm",
            base_url=services_url,
            api_key="sk-test",
        )
        return AgentSession(llm=of_openai(url, modalities=["text"]), tts=tts)
    more = {"max_session_duration": 1.0} if kind == "short" else {}
    return AgentSession(llm=of_openai(url, **more))


async def heard(loudspeaker, count):
    for _ in range(400):
        if len(loudspeaker.heard) >= count:
            return
        await asyncio.sleep(0.05)


async def main(kind: str, url: str, what: str = "", services_url: str = "") -> None:
    microphone, loudspeaker = Microphone(), Loudspeaker()
    session = make_session(kind, url, services_url)
    session.input.audio, session.output.audio = microphone, loudspeaker
    await session.start(Agent(instructions="You are kind.", tools=[weather]))
    if what == "spoken":
        await asyncio.sleep(0.3)
        microphone.say(0.8)
    else:
        session.generate_reply(instructions="Tell the weather in London.")
    await heard(loudspeaker, 1)
    await asyncio.sleep(0.3)
    if kind == "short":
        await asyncio.sleep(1.5)
        session.generate_reply(instructions="Say good bye.")
        await heard(loudspeaker, 2)
    await session.aclose()
    print("heard", loudspeaker.heard)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
