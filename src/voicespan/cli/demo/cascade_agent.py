"""An agent of three models: speech to text, a language model, text to speech, called one after the other.

The client's own methods for audio are traced by themselves. What is about tracing in here is the conversation, which
nothing else could know of, and the block round the language model.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf
from openai import AsyncOpenAI, OpenAIError

from voicespan.cli.demo import story
from voicespan.cli.demo.agent import Agent
from voicespan.openai_audio import OpenAIAudioInstrumentor
from voicespan.tracing.scope import ConversationScope

if TYPE_CHECKING:
    from voicespan.cli.demo.call import Call
    from voicespan.testing import CascadeServer
    from voicespan.tracing.conversation import Conversation

SERVICE = "OpenAI transcription, chat and speech"
MODEL = "gpt-5-mini"
INSTRUMENTOR = OpenAIAudioInstrumentor
#: What is between the application and the service.
WIRE = "its HTTP requests"
#: What a call can fail with, where nobody has made a mistake here.
FAILURES = (OpenAIError, OSError)

_STT, _TTS, _VOICE = "gpt-4o-mini-transcribe", "gpt-4o-mini-tts", "marin"
_TOOLS: Any = [{"type": "function", "function": function} for function in story.FUNCTIONS]
#: -40 dBFS: what is louder is a voice.
_LOUD = 330
#: Blocks of 20 ms that begin a turn, and that end it.
_ONSET, _SILENCE = 3, 25
#: Before the onset was sure, so much had been said already.
_BEFORE = 15


def scripted_server() -> CascadeServer:
    """A server on 127.0.0.1 that knows the story."""
    from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall, Speech  # noqa: PLC0415  not for --live

    voices = {line.text: line for line in story.AGENT}
    answers = [
        Completion(calls=[FunctionCall(step.name, step.arguments)])
        if isinstance(step, story.Wish)
        else Completion(step.text)
        for step in story.ANSWERS
    ]
    return CascadeServer(
        answers,
        [line.text for line in story.CALLER],
        speech=lambda body: Speech(audio=voices[body["input"]].pcm()),
    )


async def answer(call: Call, model: str, server: CascadeServer | None) -> None:
    """Take part in a call until the caller hangs up.

    Args:
        call: The call.
        model: The language model's name.
        server: A server that stands for the service; None: the service itself.
    """
    client = AsyncOpenAI() if server is None else AsyncOpenAI(api_key="none", base_url=server.url)
    call.dialled()
    async with client, ConversationScope(name="conversation", clock=call.clock) as conversation:
        call.picked_up()
        await CascadeAgent(client, model, call, conversation).converse()


class CascadeAgent(Agent):
    """Listens for the end of a turn, and answers it."""

    def __init__(self, client: AsyncOpenAI, model: str, call: Call, conversation: Conversation) -> None:
        super().__init__(call)
        self._client = client
        self._model = model
        self._conversation = conversation
        self._history: list[Any] = [{"role": "system", "content": story.INSTRUCTIONS}]
        self._heard: list[bytes] = []
        self._loud = 0
        self._silent = 0
        self._speaks = False
        self._turns: asyncio.Queue[bytes] = asyncio.Queue()
        self._answering: asyncio.Task[None] | None = None
        self._spoken = 0

    async def send(self, pcm: bytes) -> None:
        """Hear 20 ms of the microphone: is it a voice, and is the turn over?"""
        is_loud = bool(np.abs(np.frombuffer(pcm, np.int16)).max(initial=0) > _LOUD)
        self._loud = self._loud + 1 if is_loud else 0
        self._silent = 0 if is_loud else self._silent + 1
        self._heard.append(pcm)
        if not self._speaks:
            del self._heard[:-_BEFORE]
            if self._loud >= _ONSET:
                self._speaks = True
                self._cut_off()
        elif self._silent >= _SILENCE:
            self._speaks = False
            self._turns.put_nowait(b"".join(self._heard))

    async def listen(self) -> None:
        """Answer one turn after the other."""
        while True:
            turn = await self._turns.get()
            self._answering = asyncio.create_task(self._answer(turn))
            with contextlib.suppress(asyncio.CancelledError):
                await self._answering

    def _cut_off(self) -> None:
        """The caller speaks: what is being said or thought of is not for the caller any more."""
        cut = self.fall_silent()
        if cut is not None:
            self.call.say("agent", "", heard_ms=cut[1])
        elif self._answering is not None:
            self._answering.cancel()

    async def _answer(self, turn: bytes) -> None:
        file = ("turn.wav", _wav(turn))
        heard = await self._client.audio.transcriptions.create(model=_STT, file=file, language="en")
        self.call.say("caller", heard.text)
        self._history.append({"role": "user", "content": heard.text})
        words = await self._think()
        self._history.append({"role": "assistant", "content": words})
        await self._speak(words)

    async def _think(self) -> str:
        while True:
            with self._conversation.llm(model=self._model, messages=self._history, provider="openai") as llm:
                done = await self._client.chat.completions.create(
                    model=self._model, messages=self._history, tools=_TOOLS
                )
                message = done.choices[0].message
                llm.output(message.content, tool_calls=message.tool_calls)
                if done.usage is not None:
                    llm.usage(
                        input_tokens=done.usage.prompt_tokens, output_tokens=done.usage.completion_tokens
                    )
            if not message.tool_calls:
                return message.content or ""
            self._history.append(message.model_dump(exclude_none=True))
            for wanted in message.tool_calls:
                await self._run(wanted)

    async def _run(self, wanted: Any) -> None:
        with self._conversation.tool_call(wanted.id):
            result = await self.call.function(wanted.function.name, json.loads(wanted.function.arguments))
        self._history.append({"role": "tool", "tool_call_id": wanted.id, "content": json.dumps(result)})

    async def _speak(self, words: str) -> None:
        self._spoken += 1
        asking = self._client.audio.speech.with_streaming_response.create(
            model=_TTS, voice=_VOICE, input=words, response_format="pcm"
        )
        async with asking as speech:
            rest = b""
            async for piece in speech.iter_bytes():
                whole = rest + piece
                rest = whole[len(whole) - len(whole) % 2 :]
                self.loudspeaker.play(f"answer {self._spoken}", whole[: len(whole) - len(rest)])
        self.call.say("agent", words)


def _wav(pcm: bytes) -> bytes:
    out = io.BytesIO()
    sf.write(out, np.frombuffer(pcm, np.int16), story.RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()
