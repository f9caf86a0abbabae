"""A conversation with Gemini Live, through the microphone and the loudspeaker. Ctrl-C ends it.

    pip install google-genai pyaudio
    GEMINI_API_KEY=... python examples/live_voice_gemini.py

Wear headphones: the model would hear itself otherwise, and interrupt itself.

Nothing in here knows of voicespan. To trace it, and to record what was said and heard:

    pip install "voicespan[gemini,devices]"
    VOICESPAN_RECORD_SOURCE=devices LANGSMITH_API_KEY=... \\
        opentelemetry-instrument python examples/live_voice_gemini.py
"""

import asyncio
import contextlib

import pyaudio
from google import genai

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
CONFIG = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
}
SPOKEN_RATE = 16_000
HEARD_RATE = 24_000
BLOCK = 1024


class LiveVoice:
    def __init__(self, session, sound):
        self._session = session
        self._sound = sound
        self._to_play = asyncio.Queue()

    async def run(self):
        await asyncio.gather(self._speak(), self._listen(), self._play())

    async def _speak(self):
        microphone = self._sound.open(
            format=pyaudio.paInt16, channels=1, rate=SPOKEN_RATE, input=True, frames_per_buffer=BLOCK
        )
        while True:
            pcm = await asyncio.to_thread(microphone.read, BLOCK, exception_on_overflow=False)
            await self._session.send_realtime_input(
                audio={"data": pcm, "mime_type": f"audio/pcm;rate={SPOKEN_RATE}"}
            )

    async def _listen(self):
        while True:
            async for message in self._session.receive():
                if message.data:
                    self._to_play.put_nowait(message.data)
                content = message.server_content
                if content and content.output_transcription and content.output_transcription.text:
                    print("agent:", content.output_transcription.text, flush=True)
                if content and content.interrupted:
                    # What has not been played is no longer meant.
                    while not self._to_play.empty():
                        self._to_play.get_nowait()

    async def _play(self):
        loudspeaker = self._sound.open(
            format=pyaudio.paInt16, channels=1, rate=HEARD_RATE, output=True, frames_per_buffer=BLOCK
        )
        while True:
            await asyncio.to_thread(loudspeaker.write, await self._to_play.get())


async def main(sound):
    client = genai.Client()
    async with client.aio.live.connect(model=MODEL, config=CONFIG) as session:
        await LiveVoice(session, sound).run()


if __name__ == "__main__":
    sound = pyaudio.PyAudio()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main(sound))
    finally:
        # Not before the threads are done that read and write.
        sound.terminate()
