"""An agent on Gemini Live, as an application would write it: nothing in it is about tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from google import genai
from google.genai import errors, types
from websockets.exceptions import WebSocketException

from voicespan.cli.demo import story
from voicespan.cli.demo.agent import Agent
from voicespan.gemini_live import GeminiLiveInstrumentor

if TYPE_CHECKING:
    from google.genai.live import AsyncSession

    from voicespan.cli.demo.call import Call
    from voicespan.testing import GeminiLiveServer

SERVICE = "Gemini Live"
MODEL = "gemini-2.5-flash-native-audio-preview-09-2025"
INSTRUMENTOR = GeminiLiveInstrumentor
#: What a call can fail with, where nobody has made a mistake here.
FAILURES = (errors.APIError, WebSocketException, OSError)

_CONFIG: Any = {
    "response_modalities": ["AUDIO"],
    "system_instruction": story.INSTRUCTIONS,
    "input_audio_transcription": {},
    "output_audio_transcription": {},
    "tools": [{"function_declarations": list(story.FUNCTIONS)}],
}

#: What Gemini Live hears, in Hz.
_HEARS = 16_000


def scripted_server() -> GeminiLiveServer:
    """A server on 127.0.0.1 that knows the story."""
    from voicespan.testing.gemini_live import Answer, FunctionCall, GeminiLiveServer  # noqa: PLC0415  not for --live

    return GeminiLiveServer.conversational(
        story.scripted_answers(Answer, FunctionCall),
        [line.text for line in story.CALLER],
        chunk_ms=100,
    )


async def answer(call: Call, model: str, server: GeminiLiveServer | None) -> None:
    """Take part in a call until the caller hangs up.

    Args:
        call: The call.
        model: The model's name.
        server: A server that stands for the service; None: the service itself.
    """
    client = genai.Client(**({} if server is None else server.client_options()))
    call.dialled()
    async with client.aio.live.connect(model=model, config=_CONFIG) as session:
        call.picked_up()
        await GeminiAgent(session, call).converse()


class GeminiAgent(Agent):
    """An agent on one session."""

    def __init__(self, session: AsyncSession, call: Call) -> None:
        super().__init__(call)
        self._session = session
        self._resampler = soxr.ResampleStream(story.RATE, _HEARS, 1, dtype="int16")
        self._turns = 0
        self._said = {"caller": "", "agent": ""}

    async def send(self, pcm: bytes) -> None:
        """Send what the microphone hears."""
        heard = self._resampler.resample_chunk(np.frombuffer(pcm, dtype="<i2"))
        if len(heard):
            blob = types.Blob(data=heard.tobytes(), mime_type=f"audio/pcm;rate={_HEARS}")
            await self._session.send_realtime_input(audio=blob)

    async def listen(self) -> None:
        """Take in what the service says; `receive` ends with each turn of the model."""
        while True:
            async for message in self._session.receive():
                if message.server_content is not None:
                    self._take(message.server_content)
                if message.tool_call is not None:
                    self._tell("caller")
                    self.start(self._answer_functions(message.tool_call.function_calls or []))

    def _take(self, content: types.LiveServerContent) -> None:
        for who, words in (("caller", content.input_transcription), ("agent", content.output_transcription)):
            if words is not None and words.text:
                self._said[who] += words.text
        for part in (content.model_turn and content.model_turn.parts) or ():
            if part.inline_data is not None:
                self._tell("caller")
                self.loudspeaker.play(f"turn {self._turns}", part.inline_data.data or b"")
        if content.interrupted:
            cut = self.fall_silent()
            self._tell("agent", heard_ms=None if cut is None else cut[1])
        if content.turn_complete:
            self._tell("agent")
            self._turns += 1

    def _tell(self, who: str, *, heard_ms: int | None = None) -> None:
        """What somebody said is complete."""
        words, self._said[who] = self._said[who].strip(), ""
        if words:
            self.call.say(who, words, heard_ms=heard_ms)

    async def _answer_functions(self, wanted: list[types.FunctionCall]) -> None:
        answers = []
        for one in wanted:
            result = await self.call.function(one.name or "", one.args or {})
            answers.append(types.FunctionResponse(id=one.id, name=one.name, response=result))
        await self._session.send_tool_response(function_responses=answers)
