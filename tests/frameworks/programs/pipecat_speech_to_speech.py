"""A Pipecat bot behind its WebSocket transport, with a model that hears and speaks. Its author never heard of tracing.

`pipecat_speech_to_speech.py openai|gemini URL [WHAT]`; for Gemini, `SSL_CERT_FILE` says whom to trust.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys

from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat_parts import TOOLS, aggregators_of, call, transport_on, with_functions


def openai_model(url):
    from pipecat.services.openai.realtime import events
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

    heard = events.AudioInput(transcription=events.InputAudioTranscription())
    return OpenAIRealtimeLLMService(
        api_key="sk-test",
        base_url=url + "/realtime",
        session_properties=events.SessionProperties(audio=events.AudioConfiguration(input=heard)),
    )


def gemini_model(url):
    from google.genai.types import HttpOptions
    from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService

    trusted = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    return GeminiLiveLLMService(
        api_key="test",
        model="models/gemini-2.5-flash-native-audio-preview",
        http_options=HttpOptions(base_url=url, async_client_args={"ssl": trusted}),
    )


MODELS = {"openai": openai_model, "gemini": gemini_model}


def make_task(model, url, port):
    transport = transport_on(port, detects_speech=False)
    aggregators = aggregators_of(
        LLMContext(
            [
                {"role": "system", "content": "You are kind."},
                {"role": "user", "content": "Say hello to the caller."},
            ],
            TOOLS,
        )
    )
    pipeline = Pipeline(
        [
            transport.input(),
            aggregators.user(),
            with_functions(MODELS[model](url)),
            transport.output(),
            aggregators.assistant(),
        ]
    )
    task = PipelineTask(pipeline, idle_timeout_secs=30, conversation_id="caller-42")

    @transport.event_handler("on_client_connected")
    async def greet(_transport, _client):
        await task.queue_frame(LLMRunFrame())

    return task


if __name__ == "__main__":
    chosen, address, *happens = sys.argv[1:]
    asyncio.run(call(lambda port: make_task(chosen, address, port), *happens, greets=True))
