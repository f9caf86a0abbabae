"""A Pipecat bot whose own services stream, as those on sockets do: words while the user speaks, and sound some time later.

`pipecat_streaming.py URL sentences|tokens [WHAT]`: how the voice is given its text. Its author never heard of tracing.
"""

from __future__ import annotations

import asyncio
import sys

from pipecat.frames import frames
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.utils.time import time_now_iso8601
from pipecat_parts import TOOLS, aggregators_of, call, transport_on, with_functions

from voicespan.testing.cascade import audio  # a voice

WORDS = ["How is the weather in London?", "Thanks a lot.", "Stop it."]


class Ears(STTService):
    """Is given all sound, and has the words when the user falls silent."""

    def __init__(self):
        super().__init__(settings=STTSettings(model="ears-2", language="en"))
        self._heard = iter(WORDS)

    async def run_stt(self, _audio):
        yield None

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, frames.VADUserStoppedSpeakingFrame):
            words = next(self._heard)
            await self.push_frame(frames.InterimTranscriptionFrame(words[:6], "", time_now_iso8601()))
            await asyncio.sleep(0.05)
            await self.push_frame(frames.TranscriptionFrame(words, "", time_now_iso8601()))


class Voice(TTSService):
    """Takes texts at once, and speaks when it has all of an answer."""

    def __init__(self, mode):
        super().__init__(
            text_aggregation_mode=mode,
            push_start_frame=True,
            settings=TTSSettings(model="voice-3", voice="ash"),
        )
        self._texts = {}

    def can_generate_metrics(self):
        return True

    async def run_tts(self, text, context_id):
        self._texts.setdefault(context_id, []).append(text)
        yield None

    async def flush_audio(self, context_id=None):
        self.create_task(self._speak(context_id or self.get_active_audio_context_id()))

    async def _speak(self, context_id):
        await asyncio.sleep(0.1)
        pcm = audio.hum(0.06 * len("".join(self._texts.pop(context_id, ()))), "ash")
        for at in range(0, len(pcm), 9_600):
            sound = frames.TTSAudioRawFrame(pcm[at : at + 9_600], 24_000, 1, context_id=context_id)
            await self.append_to_audio_context(context_id, sound)
        await self.append_to_audio_context(context_id, frames.TTSStoppedFrame(context_id=context_id))
        await self.remove_audio_context(context_id)


def make_task(url, mode, port):
    transport = transport_on(port)
    aggregators = aggregators_of(LLMContext([{"role": "system", "content": "Be kind."}], TOOLS))
    llm = with_functions(OpenAILLMService(model="gpt-4.1", api_key="sk-test", base_url=url))
    voice = Voice(TextAggregationMode.TOKEN if mode == "tokens" else TextAggregationMode.SENTENCE)
    parts = [
        transport.input(),
        Ears(),
        aggregators.user(),
        llm,
        voice,
        transport.output(),
        aggregators.assistant(),
    ]
    return PipelineTask(Pipeline(parts), idle_timeout_secs=30, conversation_id="caller-42")


if __name__ == "__main__":
    address, given, *happens = sys.argv[1:]
    asyncio.run(call(lambda port: make_task(address, given, port), *happens))
