"""A realtime model of somebody's own for LiveKit, without a socket. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import time

from livekit import rtc
from livekit.agents import llm
from livekit.agents.metrics import RealtimeModelMetrics

RATE = 24_000


class OwnModel(llm.RealtimeModel):
    """Says, or calls, what is in a script."""

    model = "parrot-1"

    def __init__(self, script: list):
        wanted = {"turn_detection": True, "user_transcription": True, "audio_output": True}
        names = [field.name for field in dataclasses.fields(llm.RealtimeCapabilities)]
        super().__init__(
            capabilities=llm.RealtimeCapabilities(**{name: wanted.get(name, False) for name in names})
        )
        self.script = script

    def session(self, **_):
        return OwnSession(self)

    async def aclose(self):
        pass


class OwnSession(llm.RealtimeSession):
    """One call of it."""

    def __init__(self, model):
        super().__init__(model)
        self._script = list(model.script)
        self._chat, self._tools = llm.ChatContext.empty(), llm.ToolContext.empty()
        self._loud = self._quiet = self._count = 0
        self._tasks = set()

    chat_ctx = property(lambda self: self._chat)
    tools = property(lambda self: self._tools)

    async def update_instructions(self, instructions):
        pass

    async def update_chat_ctx(self, chat_ctx):
        self._chat = chat_ctx

    async def update_tools(self, tools):
        self._tools = llm.ToolContext(tools)

    def update_options(self, **_):
        pass

    def push_video(self, frame):
        pass

    def commit_audio(self):
        pass

    def clear_audio(self):
        pass

    def interrupt(self):
        pass

    def truncate(self, **_):
        pass

    async def aclose(self):
        pass

    def push_audio(self, frame):
        """Hears the user: 100 ms of sound, and then 300 ms of silence."""
        if max(frame.data, default=0) > 500:
            self._loud += 1
            self._quiet = 0
            if self._loud == 5:
                self.emit("input_speech_started", llm.InputSpeechStartedEvent())
        elif self._loud >= 5:
            self._quiet += 1
            if self._quiet == 15:
                self._loud = self._quiet = 0
                self.emit(
                    "input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=True)
                )
                heard = llm.InputTranscriptionCompleted(
                    item_id=f"heard{self._count}", transcript="How is the weather in London?", is_final=True
                )
                self.emit("input_audio_transcription_completed", heard)
                self._answer(user_initiated=False)

    def generate_reply(self, **_):
        asked = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: asked.set_result(self._answer(user_initiated=True)))
        return asked

    def _answer(self, user_initiated):
        self._count += 1
        step, number, began = self._script.pop(0), self._count, time.time()
        audio, words, modalities = (
            asyncio.Queue(),
            asyncio.Queue(),
            asyncio.get_running_loop().create_future(),
        )
        modalities.set_result(["audio", "text"])
        message = {"message_id": f"said{number}", "text_stream": _all(words), "audio_stream": _all(audio)}
        if "modalities" in {field.name for field in dataclasses.fields(llm.MessageGeneration)}:
            message["modalities"] = modalities
        event = llm.GenerationCreatedEvent(
            message_stream=_these([] if "call" in step else [llm.MessageGeneration(**message)]),
            function_stream=_these(
                [
                    llm.FunctionCall(
                        call_id=f"call{number}", name=step["call"], arguments=json.dumps(step["with"])
                    )
                ]
                if "call" in step
                else []
            ),
            user_initiated=user_initiated,
        )
        self.emit("generation_created", event)
        task = asyncio.create_task(self._speak(step.get("say", ""), audio, words, began, number))
        self._tasks.add(task)
        return event

    async def _speak(self, text, audio, words, began, number):
        for word in text.split(" ") if text else []:
            words.put_nowait(word + " ")
            count = int(0.06 * RATE) * (len(word) + 1)
            samples = b"".join(
                int(9000 * math.sin(i * 0.14)).to_bytes(2, "little", signed=True) for i in range(count)
            )
            audio.put_nowait(rtc.AudioFrame(samples, RATE, 1, count))
            await asyncio.sleep(0.01)
        audio.put_nowait(None)
        words.put_nowait(None)
        details = {"text_tokens": 4, "audio_tokens": 8}
        self.emit(
            "metrics_collected",
            RealtimeModelMetrics(
                label="own",
                request_id=f"answer{number}",
                timestamp=began,
                duration=time.time() - began,
                ttft=0.01,
                cancelled=False,
                input_tokens=12,
                output_tokens=12,
                total_tokens=24,
                tokens_per_second=1.0,
                input_token_details=RealtimeModelMetrics.InputTokenDetails(
                    **details, image_tokens=0, cached_tokens=0, cached_tokens_details=None
                ),
                output_token_details=RealtimeModelMetrics.OutputTokenDetails(**details, image_tokens=0),
            ),
        )


async def _all(queue):
    while (item := await queue.get()) is not None:
        yield item


async def _these(items):
    for item in items:
        yield item
