"""An agent on the OpenAI Realtime API, as an application would write it: nothing in it is about tracing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI, OpenAIError
from websockets.exceptions import WebSocketException

from voicespan.cli.demo import story
from voicespan.cli.demo.agent import Agent
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection

    from voicespan.cli.demo.call import Call
    from voicespan.testing import OpenAIRealtimeServer

SERVICE = "OpenAI Realtime"
MODEL = "gpt-realtime"
INSTRUMENTOR = OpenAIRealtimeInstrumentor
#: What a call can fail with, where nobody has made a mistake here.
FAILURES = (OpenAIError, WebSocketException, OSError)

_FORMAT = {"type": "audio/pcm", "rate": story.RATE}
_SESSION: Any = {
    "type": "realtime",
    "instructions": story.INSTRUCTIONS,
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": _FORMAT,
            "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
        },
        "output": {"format": _FORMAT, "voice": "marin"},
    },
    "tools": [{"type": "function", **function} for function in story.FUNCTIONS],
}


def scripted_server() -> OpenAIRealtimeServer:
    """A server on 127.0.0.1 that knows the story."""
    from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer  # noqa: PLC0415  not for --live

    return OpenAIRealtimeServer.conversational(
        story.scripted_answers(Answer, FunctionCall),
        [line.text for line in story.CALLER],
        chunk_ms=100,
        rate_limits=False,
    )


async def answer(call: Call, model: str, server: OpenAIRealtimeServer | None) -> None:
    """Take part in a call until the caller hangs up.

    Args:
        call: The call.
        model: The model's name.
        server: A server that stands for the service; None: the service itself.
    """
    client = AsyncOpenAI() if server is None else AsyncOpenAI(api_key="none", websocket_base_url=server.url)
    connecting = client.realtime.connect(model=model)
    call.dialled()
    async with client, connecting as connection:
        call.picked_up()
        await connection.session.update(session=_SESSION)
        await OpenAIAgent(connection, call).converse()


class OpenAIAgent(Agent):
    """An agent on one connection."""

    def __init__(self, connection: AsyncRealtimeConnection, call: Call) -> None:
        super().__init__(call)
        self._connection = connection
        self._heard_ms: dict[str, int] = {}

    async def send(self, pcm: bytes) -> None:
        """Send what the microphone hears."""
        await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def listen(self) -> None:
        """Take in what the service says."""
        async for event in self._connection:
            await self._take(event)

    async def _take(self, event: Any) -> None:
        kind = event.type
        if kind == "response.output_audio.delta":
            # What was still on its way when the caller cut in is not for the caller any more.
            if event.item_id not in self._heard_ms:
                self.loudspeaker.play(event.item_id, base64.b64decode(event.delta))
        elif kind == "input_audio_buffer.speech_started":
            await self._cut_off()
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.call.say("caller", event.transcript)
        elif kind == "response.output_audio_transcript.done":
            self.call.say("agent", event.transcript, heard_ms=self._heard_ms.get(event.item_id))
        elif kind == "response.done":
            wanted = [item for item in event.response.output or () if item.type == "function_call"]
            if wanted:
                self.start(self._answer_functions(wanted))
        elif kind == "error":
            self.call.say("error", event.error.message)

    async def _cut_off(self) -> None:
        """The caller speaks: tell the service how much of its answer was heard."""
        cut = self.fall_silent()
        if cut is None:
            return
        item_id, heard_ms = cut
        self._heard_ms[item_id] = heard_ms
        await self._connection.conversation.item.truncate(
            item_id=item_id, content_index=0, audio_end_ms=heard_ms
        )

    async def _answer_functions(self, wanted: list[Any]) -> None:
        for one in wanted:
            result = await self.call.function(one.name, json.loads(one.arguments))
            await self._connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": one.call_id, "output": json.dumps(result)}
            )
        await self._connection.response.create()
