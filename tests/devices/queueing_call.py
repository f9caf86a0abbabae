"""An agent whose player queues what it receives behind what it still plays; the caller speaks twice.

    queueing_call.py SECONDS

What the caller says is made here: the microphone has no part in it.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import threading

import numpy as np
import sounddevice as sd
from openai import AsyncOpenAI

RATE = 24_000


class Player:
    """Plays one thing after the other."""

    def __init__(self) -> None:
        self._queue = bytearray()
        self._lock = threading.Lock()

    def put(self, pcm: bytes) -> None:
        with self._lock:
            self._queue += pcm

    def __call__(self, out: np.ndarray, frames: int, _time: object, _status: object) -> None:
        with self._lock:
            pcm = bytes(self._queue[: 2 * frames])
            del self._queue[: len(pcm)]
        out[:, 0] = np.frombuffer(pcm.ljust(2 * frames, b"\0"), "<i2")


async def speak(connection) -> None:
    """Half a second of voice, and as much quiet as ends the turn; twice."""
    voice = (8_000 * np.sin(np.arange(RATE // 2) * 0.08)).astype("<i2").tobytes()
    for _ in range(2):
        said = voice + bytes(2 * RATE * 8 // 10)
        for first in range(0, len(said), 960):
            await connection.input_audio_buffer.append(
                audio=base64.b64encode(said[first : first + 960]).decode()
            )
            await asyncio.sleep(0.02)
    await asyncio.sleep(float(sys.argv[1]))
    await connection.close()


async def call() -> None:
    player = Player()
    async with AsyncOpenAI().realtime.connect(model="gpt-realtime") as connection:
        with sd.OutputStream(channels=1, samplerate=RATE, dtype="int16", callback=player, blocksize=1_200):
            speaking = asyncio.create_task(speak(connection))
            async for event in connection:
                if event.type == "response.output_audio.delta":
                    player.put(base64.b64decode(event.delta))
            await speaking


asyncio.run(call())
