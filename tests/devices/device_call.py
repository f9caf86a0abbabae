"""An agent that hears a real microphone and speaks through a real loudspeaker: nothing in it is about tracing.

    device_call.py PROVIDER SECONDS

It is the demo's agent, with sound devices instead of the demo's telephone.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading

import sounddevice as sd

from voicespan.cli.demo import story
from voicespan.cli.demo.telephone import Loudspeaker
from voicespan.recording import Recorder

_BLOCK = story.RATE // 50
_DEVICE = {"samplerate": story.RATE, "channels": 1, "dtype": "int16", "blocksize": _BLOCK}


SERVERS = {
    "openai": ("voicespan.testing.openai_realtime", "OpenAIRealtimeServer"),
    "gemini": ("voicespan.testing.gemini_live", "GeminiLiveServer"),
}


class DeviceLoudspeaker(Loudspeaker):
    """Is asked for audio by the device's own thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def play(self, answer: str, pcm: bytes) -> None:
        with self._lock:
            super().play(answer, pcm)

    def cut(self) -> tuple[str, int] | None:
        with self._lock:
            return super().cut()

    def fill(self, out, *_) -> None:
        with self._lock:
            out[:] = self.block().ljust(len(out), b"\0")


class DeviceTelephone:
    """A microphone and a loudspeaker."""

    def __init__(self, seconds: float) -> None:
        self.loudspeaker = DeviceLoudspeaker()
        self._seconds = seconds

    async def talk(self, send, _recorder) -> None:
        """Send what the microphone hears, until the call is over."""
        loop, heard = asyncio.get_running_loop(), asyncio.Queue()

        def hear(block, *_) -> None:
            loop.call_soon_threadsafe(heard.put_nowait, bytes(block))

        with sd.RawOutputStream(**_DEVICE, callback=self.loudspeaker.fill):
            with sd.RawInputStream(**_DEVICE, callback=hear):
                sys.stdout.write("listening\n")
                sys.stdout.flush()
                until = loop.time() + self._seconds
                while loop.time() < until:
                    await send(await heard.get())


class DeviceCall:
    """What the demo's agents ask of a call."""

    def __init__(self, seconds: float) -> None:
        self.telephone = DeviceTelephone(seconds)
        self.recorder = Recorder(None)  # the devices say what is heard

    def dialled(self) -> None:
        """See `voicespan.cli.demo.call.Call`."""

    def picked_up(self) -> None:
        """The same."""

    def say(self, *_, **__) -> None:
        """The same."""


def answers(kind):
    return [
        kind(transcript=line.text, audio=line.pcm(), speed=story.SPEED)
        for line in (story.OFFER, story.CONFIRMATION)
    ]


def main(provider: str, seconds: float) -> None:
    agent = importlib.import_module(f"voicespan.cli.demo.{provider}_agent")
    room, server_of = SERVERS[provider]
    testing = importlib.import_module(room)
    words = [line.text for line in (story.OPENING, story.CHOICE)]
    with getattr(testing, server_of).conversational(answers(testing.Answer), words, chunk_ms=100) as server:
        asyncio.run(agent.answer(DeviceCall(seconds), agent.MODEL, server))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
