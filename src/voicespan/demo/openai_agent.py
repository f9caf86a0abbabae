"""An agent on the OpenAI Realtime API, as an application would write it.

Nothing in `Agent` is there for the sake of tracing but what it tells the recorder.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI, OpenAIError
from websockets.exceptions import WebSocketException

from voicespan.demo import story
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection

    from voicespan.demo.call import Call
    from voicespan.testing import OpenAIRealtimeServer

SERVICE = "OpenAI Realtime"
INSTRUMENTOR = OpenAIRealtimeInstrumentor
#: What a call can fail with, where nobody has made a mistake here.
FAILURES = (OpenAIError, WebSocketException, OSError)

_MODEL = "gpt-realtime"
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

#: How much faster than speech the scripted server speaks: like the real one, it is ahead of the playback.
_SPEED = 1.3


def scripted_server() -> OpenAIRealtimeServer:
    """A server on 127.0.0.1 that knows the story."""
    from voicespan.testing.openai_realtime import Answer, FunctionCall, OpenAIRealtimeServer  # noqa: PLC0415  not for --live

    def speak(line: story.Line) -> Answer:
        return Answer(transcript=line.text, audio=line.pcm(), speed=_SPEED)

    booking = {"people": 5, "time": "20:30", "place": "window"}
    return OpenAIRealtimeServer.conversational(
        [
            Answer(calls=[FunctionCall("find_tables", {"people": 4, "time": "20:00"})]),
            speak(story.OFFER),
            Answer(calls=[FunctionCall("book_table", booking)]),
            speak(story.CONFIRMATION),
            speak(story.FAREWELL),
        ],
        [line.text for line in story.CALLER],
        chunk_ms=100,
        rate_limits=False,
    )


async def answer(call: Call, server: OpenAIRealtimeServer | None) -> None:
    """Take part in a call until the caller hangs up.

    Args:
        call: The call.
        server: A server that stands for the service; None: the service itself.
    """
    client = AsyncOpenAI() if server is None else AsyncOpenAI(api_key="none", websocket_base_url=server.url)
    connecting = client.realtime.connect(model=_MODEL)
    call.dialled()
    async with client, connecting as connection:
        call.picked_up()
        await connection.session.update(session=_SESSION)
        await Agent(connection, call).converse()
    await call.hung_up()


class Agent:
    """Moves sound between the telephone and the service, and calls the functions that the model wants."""

    def __init__(self, connection: AsyncRealtimeConnection, call: Call) -> None:
        self._connection = connection
        self._call = call
        self._loudspeaker = call.telephone.loudspeaker
        self._cut: dict[str, int] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def converse(self) -> None:
        """Until the caller hangs up."""
        talking = asyncio.create_task(self._talk())
        try:
            async for event in self._connection:
                await self._take(event)
            await asyncio.gather(talking, *self._working)
        finally:
            for task in (talking, *self._working):
                task.cancel()

    async def _talk(self) -> None:
        """Send what the microphone hears."""

        async def send(pcm: bytes) -> None:
            await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

        try:
            await self._call.telephone.talk(send, self._call.recorder)
        finally:
            await self._connection.close()

    async def _take(self, event: Any) -> None:
        """What the service says."""
        kind = event.type
        if kind == "response.output_audio.delta":
            # What was still on its way when the caller cut in is not for the caller any more.
            if event.item_id not in self._cut:
                self._loudspeaker.play(event.item_id, base64.b64decode(event.delta))
        elif kind == "input_audio_buffer.speech_started":
            await self._fall_silent()
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._call.say("caller", event.transcript)
        elif kind == "response.output_audio_transcript.done":
            self._call.say("agent", event.transcript, heard_ms=self._cut.get(event.item_id))
        elif kind == "response.done":
            wanted = [item for item in event.response.output or () if item.type == "function_call"]
            if wanted:
                # Not here: the caller is listened to while a function works.
                self._start(self._answer_functions(wanted))
        elif kind == "error":
            self._call.say("error", event.error.message)

    async def _fall_silent(self) -> None:
        """The caller speaks: stop the playback and tell the service how much of its answer was heard."""
        cut = self._loudspeaker.cut()
        if cut is None:
            return
        item_id, heard_ms = cut
        self._cut[item_id] = heard_ms
        self._call.recorder.cut_agent(played_ms=heard_ms)
        await self._connection.conversation.item.truncate(
            item_id=item_id, content_index=0, audio_end_ms=heard_ms
        )

    async def _answer_functions(self, wanted: list[Any]) -> None:
        for item in wanted:
            result = await self._call.function(item.name, item.arguments)
            await self._connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": item.call_id, "output": json.dumps(result)}
            )
        await self._connection.response.create()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
