"""What the Pipecat bots here share: their functions, their WebSocket transport, and the caller at its other end."""

from __future__ import annotations

import array
import asyncio
import math
import socket
import time
import warnings

from opentelemetry import trace
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.runner import PipelineRunner
from pipecat.processors.aggregators import llm_response_universal
from pipecat.serializers import base_serializer
from pipecat.transports.websocket.server import WebsocketServerParams, WebsocketServerTransport
from websockets.asyncio.client import connect

warnings.simplefilter("ignore")
RATE = 16_000
#: Of the calls of `slow`: each that has begun.
BEGUN: list = []
WEATHER = FunctionSchema(
    name="weather",
    description="The weather in a city.",
    properties={"city": {"type": "string"}},
    required=["city"],
)
SLOW = FunctionSchema(name="slow", description="Takes long.", properties={}, required=[])
TOOLS = ToolsSchema(standard_tools=[WEATHER, SLOW])


async def weather(params):
    with trace.get_tracer("shop").start_as_current_span("look up"):
        await asyncio.sleep(0.05)
    await params.result_callback({"weather": f"foggy in {params.arguments['city']}"})


async def slow(params):
    with trace.get_tracer("shop").start_as_current_span("look up"):
        BEGUN.append(params)
        await asyncio.sleep(5)
    await params.result_callback({"done": True})


def with_functions(llm):
    llm.register_function("weather", weather)
    llm.register_function("slow", slow)
    return llm


class Raw(base_serializer.FrameSerializer):
    """Samples, and nothing round them."""

    @property
    def type(self):
        return base_serializer.FrameSerializerType.BINARY

    async def serialize(self, frame):
        return frame.audio if isinstance(frame, OutputAudioRawFrame) else None

    async def deserialize(self, data):
        return InputAudioRawFrame(data, RATE, 1)


class Loud(VADAnalyzer):
    """Speech is what is loud."""

    def __init__(self):
        super().__init__(
            sample_rate=RATE, params=VADParams(confidence=0.5, start_secs=0.1, stop_secs=0.3, min_volume=0.0)
        )

    def num_frames_required(self):
        return 320

    def voice_confidence(self, buffer):
        return float(max(array.array("h", bytes(buffer)), default=0) > 500)


def transport_on(port, *, detects_speech=True):
    """The server's side of a call."""
    detector = detects_speech and "vad_analyzer" in WebsocketServerParams.model_fields
    return WebsocketServerTransport(
        WebsocketServerParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_in_sample_rate=RATE,
            audio_out_sample_rate=24_000,
            serializer=Raw(),
            **({"vad_analyzer": Loud()} if detector else {}),
        ),
        host="127.0.0.1",
        port=port,
    )


def aggregators_of(context):
    """Those that hear the user begin and end; the oldest detect speech in the transport."""
    params = getattr(llm_response_universal, "LLMUserAggregatorParams", None)
    try:
        return llm_response_universal.LLMContextAggregatorPair(
            context, user_params=params(vad_analyzer=Loud())
        )
    except TypeError:
        return llm_response_universal.LLMContextAggregatorPair(context)


class Caller:
    """Speaks and listens on the socket, in real time."""

    def __init__(self):
        self._frames: list[bytes] = []
        self.heard = 0.0
        self.heard_last = 0.0
        #: When the caller, and the bot, began to speak.
        self.starts: list[float] = []

    def say(self, seconds):
        samples = array.array("h", [int(9000 * math.sin(i * 0.21)) for i in range(int(seconds * RATE))])
        self._frames += [samples[at : at + 320].tobytes() for at in range(0, len(samples) - 319, 320)]

    async def speak(self, ws):
        begin, spoke = time.monotonic(), False
        for count in range(100_000):
            await asyncio.sleep(max(begin + count * 0.02 - time.monotonic(), 0))
            frame = self._frames.pop(0) if self._frames else bytes(640)
            if any(frame) and not spoke:
                self.starts.append(time.monotonic())
            spoke = any(frame)
            await ws.send(frame)

    async def listen(self, ws):
        async for data in ws:
            if isinstance(data, bytes) and any(data):
                now = time.monotonic()
                if now - self.heard_last > 0.6:
                    self.starts.append(now)
                self.heard += len(data) / 2 / 24_000
                self.heard_last = now

    async def answered(self, before):
        """Wait until the bot has spoken and is silent."""
        for _ in range(600):
            if self.heard > before and time.monotonic() - self.heard_last > 0.6:
                return
            await asyncio.sleep(0.05)
        raise TimeoutError


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def call(make_task, what="", *, greets=False):
    """Run the bot that `make_task` makes for a port, and call it. `what` happens meanwhile; `greets`: it speaks first."""
    port = free_port()
    task = make_task(port)
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    caller = Caller()
    for _ in range(200):
        try:
            ws = await connect(f"ws://127.0.0.1:{port}")
            break
        except OSError:
            await asyncio.sleep(0.1)
    parts = [asyncio.create_task(caller.speak(ws)), asyncio.create_task(caller.listen(ws))]
    if greets:
        await caller.answered(0.0)
    before = caller.heard
    caller.say(0.6)
    await happens(what, task, caller, before)
    await task.stop_when_done()
    await asyncio.wait_for(running, 20)
    for part in parts:
        part.cancel()
    await ws.close()
    print("starts", *(round(at, 2) for at in caller.starts))
    print("heard", round(caller.heard, 2))


async def happens(what, task, caller, before):
    """What is to happen in a call; `before`: how much of the bot the caller has heard."""
    if what == "barge-in":
        while caller.heard < before + 0.5:
            await asyncio.sleep(0.02)
        caller.say(0.6)
        await asyncio.sleep(1)
        await caller.answered(caller.heard)
    elif what == "unanswered":
        await asyncio.sleep(5)
    elif what == "hang-up":
        while not BEGUN:
            await asyncio.sleep(0.05)
        await task.cancel()
    else:
        await caller.answered(before)
        if what != "two":
            before = caller.heard
            caller.say(0.4)
            await caller.answered(before)
