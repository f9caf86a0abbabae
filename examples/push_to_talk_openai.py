"""Push to talk with OpenAI Realtime: press Enter, say something, press Enter again, listen.

    pip install "openai[realtime]" sounddevice numpy
    OPENAI_API_KEY=... python examples/push_to_talk_openai.py

Nothing in here knows of voicespan. To trace it, and to record what was said and heard:

    pip install "voicespan[openai,devices]"
    VOICESPAN_RECORD_SOURCE=devices LANGSMITH_API_KEY=... \\
        opentelemetry-instrument python examples/push_to_talk_openai.py
"""

import asyncio
import base64
import contextlib
import sys
import threading

import numpy as np
import sounddevice as sd
from openai import AsyncOpenAI

RATE = 24_000


class Loudspeaker:
    """Plays what it is given, one answer after another; a callback takes it from a queue."""

    def __init__(self):
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._stream = sd.OutputStream(
            samplerate=RATE, channels=1, dtype="int16", blocksize=1200, callback=self._fill
        )
        self._stream.start()

    def play(self, pcm):
        with self._lock:
            self._waiting += pcm
        if not self._stream.active:
            self._stream.start()

    def fall_silent(self):
        with self._lock:
            self._waiting.clear()
        self._stream.stop()

    @property
    def sounding(self):
        return self._stream.active and bool(self._waiting)

    def close(self):
        self._stream.close()

    def _fill(self, block, frames, _time, _status):
        with self._lock:
            pcm = bytes(self._waiting[: frames * 2])
            del self._waiting[: frames * 2]
        samples = np.frombuffer(pcm, dtype=np.int16)
        block[: len(samples), 0] = samples
        block[len(samples) :] = 0


class PushToTalk:
    def __init__(self, connection):
        self._connection = connection
        self._loudspeaker = Loudspeaker()
        self._talking = asyncio.Event()
        self._answering = False

    async def run(self):
        await self._connection.session.update(
            session={
                "type": "realtime",
                "audio": {
                    "input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}
                },
            }
        )
        tasks = [asyncio.create_task(each) for each in (self._listen(), self._microphone())]
        try:
            await self._keys()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._loudspeaker.close()

    async def _keys(self):
        print("Enter: talk, and Enter again: done. q and Enter: leave.", flush=True)
        while (line := await asyncio.to_thread(sys.stdin.readline)) and line.strip() != "q":
            if not self._talking.is_set():
                self._talking.set()
                if self._loudspeaker.sounding:
                    self._loudspeaker.fall_silent()
                if self._answering:
                    await self._connection.response.cancel()
            else:
                self._talking.clear()
                await self._connection.input_audio_buffer.commit()
                await self._connection.response.create()

    async def _microphone(self):
        size = int(RATE * 0.02)
        stream = sd.InputStream(samplerate=RATE, channels=1, dtype="int16")
        stream.start()
        try:
            while True:
                if stream.read_available < size:
                    await asyncio.sleep(0.005)
                    continue
                samples, _ = stream.read(size)
                if self._talking.is_set():
                    audio = base64.b64encode(samples.tobytes()).decode()
                    await self._connection.input_audio_buffer.append(audio=audio)
        finally:
            stream.stop()
            stream.close()

    async def _listen(self):
        async for event in self._connection:
            if event.type in ("response.created", "response.done"):
                self._answering = event.type == "response.created"
            elif event.type == "response.output_audio.delta":
                self._loudspeaker.play(base64.b64decode(event.delta))
            elif event.type == "response.output_audio_transcript.done":
                print("agent:", event.transcript, flush=True)
            elif event.type == "conversation.item.input_audio_transcription.completed":
                print("you:", event.transcript, flush=True)
            elif event.type == "error":
                print("error:", event.error.message, flush=True)


async def main():
    async with AsyncOpenAI() as client, client.realtime.connect(model="gpt-realtime") as connection:
        await PushToTalk(connection).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
