"""Two agents of the OpenAI Agents SDK: a tool, a handoff, a guardrail, and a player that says what it has played.

`openai_agents_reception.py URL [ms|zeros]`: it says only for how long, or gives as many zeros. Its author traces what the tool does, with OpenTelemetry, and never heard of voicespan.
"""

from __future__ import annotations

import asyncio
import sys

from agents import GuardrailFunctionOutput, OutputGuardrail, function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimePlaybackTracker, RealtimeRunner, realtime_handoff
from opentelemetry import trace

set_tracing_disabled(True)
#: 100 ms at 24 kHz.
VOICE = b"\x00\x30\x00\xd0" * 1200


@function_tool
async def weather(city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("reception").start_as_current_span("look_out_of_the_window"):
        await asyncio.sleep(0)
    return f"foggy in {city}"


def no_fog(_context, _agent, output):
    return GuardrailFunctionOutput(output_info={"fog": "fog" in output}, tripwire_triggered="fog" in output)


async def main(url: str, counts: str = "") -> None:
    billing = RealtimeAgent(name="billing", instructions="Be exact.")
    agent = RealtimeAgent(
        name="reception",
        instructions="Be friendly.",
        tools=[weather],
        handoffs=[realtime_handoff(billing)],
    )
    guard = OutputGuardrail(guardrail_function=no_fog, name="no_fog")
    tracker = RealtimePlaybackTracker()
    runner = RealtimeRunner(
        agent,
        config={"output_guardrails": [guard], "guardrails_settings": {"debounce_text_length": 1}},
    )
    config = {"api_key": "sk-test", "url": url, "playback_tracker": tracker}
    config["initial_model_settings"] = {"turn_detection": None, "tracing": {"group_id": "caller-42"}}
    session = await runner.run(model_config=config)
    async with session:
        for _ in range(3):
            await asyncio.sleep(0.1)
            await session.send_audio(VOICE)
        await session.send_message("How is the weather in London, and then billing, please?")
        done = 0
        async for event in session:
            if event.type == "audio" and done == 2:
                await asyncio.sleep(len(event.audio.data) / 48_000)
                place, pcm = (event.item_id, event.content_index), event.audio.data
                if counts == "ms":
                    tracker.on_play_ms(*place, len(pcm) / 48)
                else:
                    tracker.on_play_bytes(*place, bytes(len(pcm)) if counts == "zeros" else pcm)
            if event.type == "raw_model_event" and event.data.type == "raw_server_event":
                done += event.data.data["type"] == "response.done"
                if done == 3:
                    break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] + "/realtime?model=gpt-realtime", *sys.argv[2:]))
