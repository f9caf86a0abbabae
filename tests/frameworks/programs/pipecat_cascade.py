"""A Pipecat bot behind its WebSocket transport: a cascade of OpenAI services. Its author never heard of tracing.

`pipecat_cascade.py URL [WHAT] [traced] [recorded=FILE]`: WHAT happens in the call; its own tracing is enabled; its own
`AudioBufferProcessor` writes what it recorded.
"""

from __future__ import annotations

import asyncio
import sys
import wave

from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat_parts import TOOLS, aggregators_of, call, transport_on, with_functions


def make_task(url, port, *, metrics=False, recording=None, **options):
    service = {"api_key": "sk-test", "base_url": url}
    transport = transport_on(port)
    aggregators = aggregators_of(LLMContext([{"role": "system", "content": "You are kind."}], TOOLS))
    return PipelineTask(
        Pipeline(
            [
                transport.input(),
                OpenAISTTService(model="gpt-4o-transcribe", **service),
                aggregators.user(),
                with_functions(OpenAILLMService(model="gpt-4.1", **service)),
                OpenAITTSService(voice="ash", model="gpt-4o-mini-tts", **service),
                transport.output(),
                *([] if recording is None else [written(recording, transport)]),
                aggregators.assistant(),
            ]
        ),
        params=PipelineParams(allow_interruptions=True, enable_metrics=metrics, enable_usage_metrics=metrics),
        idle_timeout_secs=30,
        **options,
    )


def written(path, transport):
    """Both sides of a call as Pipecat itself records them, as a WAV file."""
    recorder = AudioBufferProcessor(num_channels=2)

    @transport.event_handler("on_client_connected")
    async def begin(_transport, _client):
        await recorder.start_recording()

    @recorder.event_handler("on_audio_data")
    async def write(_recorder, audio, sample_rate, num_channels):
        with wave.open(path, "wb") as file:
            file.setnchannels(num_channels)
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes(audio)

    return recorder


async def main(url, *what):
    options = {"conversation_id": "caller-42", "enable_tracing": "traced" in what}
    named = dict(each.split("=") for each in what if "=" in each)
    options["recording"] = named.get("recorded")
    happens = next((each for each in what if "=" not in each and each != "traced"), "")
    await asyncio.gather(
        *(
            call(lambda port: make_task(url, port, **options), happens)
            for _ in range(2 if happens == "two" else 1)
        )
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
