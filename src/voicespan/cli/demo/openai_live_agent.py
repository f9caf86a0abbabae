"""An agent on OpenAI Live, as an application would write it: nothing in it is about tracing."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI, OpenAIError
from websockets.exceptions import WebSocketException

from voicespan.cli.demo import story
from voicespan.cli.demo.agent import Agent
from voicespan.openai_live import OpenAILiveInstrumentor

if TYPE_CHECKING:
    from openai.resources.live.live import AsyncLiveConnection

    from voicespan.cli.demo.call import Call
    from voicespan.testing import OpenAILiveServer

SERVICE = "OpenAI Live"
MODEL = "gpt-live-1"
INSTRUMENTOR = OpenAILiveInstrumentor
#: What a call can fail with, where nobody has made a mistake here.
FAILURES = (OpenAIError, WebSocketException, OSError)

#: So many silent pieces of the track are the end of what is said.
_PAUSE = 5
_TOOLS: list[Any] = [{"type": "function", **function} for function in story.FUNCTIONS]
_SESSION: dict[str, Any] = {
    "instructions": "Hand over whatever the caller wants of the restaurant, and say what comes back.",
    "audio": {"format": {"type": "audio/pcm", "rate": story.RATE}},
    "delegation": {
        "type": "responses",
        "responses": {"model": "gpt-5", "instructions": story.INSTRUCTIONS, "tools": _TOOLS},
    },
}


def scripted_server() -> OpenAILiveServer:
    """A server on 127.0.0.1 that knows the story."""
    from voicespan.testing.openai_live import FunctionCall, OpenAILiveServer, Reply  # noqa: PLC0415  not for --live

    replies, calls = [], []
    for step in story.ANSWERS:
        if isinstance(step, story.Wish):
            calls.append(FunctionCall(step.name, step.arguments))
        elif calls:
            replies.append(Reply(audio=step.pcm(), delegates=True, calls=tuple(calls), result=step.text))
            calls = []
        else:
            replies.append(Reply(step.text, step.pcm()))
    return OpenAILiveServer.conversational(replies, [line.text for line in story.CALLER])


async def answer(call: Call, model: str, server: OpenAILiveServer | None) -> None:
    """Take part in a call until the caller hangs up.

    Args:
        call: The call.
        model: The model's name.
        server: A server that stands for the service; None: the service itself.
    """
    client = AsyncOpenAI() if server is None else AsyncOpenAI(api_key="none", websocket_base_url=server.url)
    call.dialled()
    async with client, client.live.connect() as connection:
        call.picked_up()
        session: Any = {"model": model, **_SESSION}
        await connection.session.start(session=session)
        agent = LiveAgent(connection, call)
        await agent.converse()
        await agent.hang_up()


class LiveAgent(Agent):
    """An agent on one connection."""

    def __init__(self, connection: AsyncLiveConnection, call: Call) -> None:
        super().__init__(call)
        self._connection = connection
        self._speeches = 0
        self._silent = 0
        self._said = {"caller": "", "agent": ""}

    async def send(self, pcm: bytes) -> None:
        """Send what the microphone hears."""
        await self._connection.session.input_audio.append(audio=base64.b64encode(pcm).decode())

    async def listen(self) -> None:
        """Take in what the service says."""
        async for event in self._connection:
            self._take(event)

    async def hang_up(self) -> None:
        """End the session, and wait until the service has."""
        if self._tasks:
            # Who has been told to stop reading must have stopped.
            await asyncio.wait(self._tasks)
        await self._connection.session.close()
        async for event in self._connection:
            if event.type == "session.closed":
                break
        self._show("caller")
        self._show("agent")

    def _take(self, event: Any) -> None:
        kind = event.type
        if kind == "session.output_audio.delta":
            self._play(base64.b64decode(event.delta))
        elif kind == "session.input_transcript.delta":
            self._show("agent")
            self._said["caller"] += event.delta
        elif kind == "session.output_transcript.delta":
            self._show("caller")
            self._said["agent"] += event.delta
        elif kind == "response.event":
            item = event.event.get("item") or {}
            if event.event["type"] == "response.output_item.done" and item.get("type") == "function_call":
                self._show("caller")
                self.start(self._answer_function(item))
        elif kind == "error":
            self.call.say("error", event.error.message)

    def _play(self, pcm: bytes) -> None:
        """The track never ends: what is silent is not played, so that it is known when the agent speaks."""
        if pcm.strip(b"\0"):
            self._speeches += self._silent >= _PAUSE
            self._silent = 0
            self.loudspeaker.play(f"speech {self._speeches}", pcm)
        else:
            self._silent += 1

    def _show(self, who: str) -> None:
        """The other side speaks, so what somebody said is complete."""
        words, self._said[who] = self._said[who].strip(), ""
        if words:
            self.call.say(who, words)

    async def _answer_function(self, wanted: Any) -> None:
        result = await self.call.function(wanted["name"], json.loads(wanted["arguments"]))
        output: Any = {
            "type": "function_call_output",
            "call_id": wanted["call_id"],
            "output": json.dumps(result),
        }
        await self._connection.response.item.create(item=output)
        await self._connection.response.create()
