"""One scripted call of a framework's agent, run in an environment that has the framework; see `frameworks`.

python framework_call.py livekit|pipecat untraced|voicespan|langsmith TURNS SERVICES LANGSMITH

Prints the milliseconds of processor time and the longest that the event loop was held, both after a first call.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import time
import warnings


def trace(framework: str, way: str, endpoint: str) -> None:
    if way == "voicespan":
        import voicespan

        voicespan.configure(endpoint=endpoint, record=False)
    elif way == "langsmith" and framework == "livekit":
        from langsmith.integrations.livekit import configure_livekit

        configure_livekit(endpoint=f"{endpoint}/otel/v1/traces")
    elif way == "langsmith":
        from langsmith.integrations.pipecat import configure_pipecat

        configure_pipecat(endpoint=f"{endpoint}/otel/v1/traces")


async def livekit_call(turns: int, url: str, _: bool) -> None:
    from livekit.agents import Agent, AgentSession, function_tool
    from livekit.plugins import openai

    @function_tool
    async def weather(city: str) -> str:
        """The weather in a city."""
        return f"foggy in {city}"

    session = AgentSession(llm=openai.LLM(model="gpt-4.1", base_url=url, api_key="none"))
    await session.start(Agent(instructions="You are kind.", tools=[weather]))
    for number in range(turns):
        await session.run(user_input=f"How is the weather in London? ({number})")
    await session.aclose()


async def pipecat_call(turns: int, url: str, traces_itself: bool) -> None:
    from pipecat.adapters.schemas.function_schema import FunctionSchema
    from pipecat.adapters.schemas.tools_schema import ToolsSchema
    from pipecat.frames.frames import EndFrame, LLMFullResponseEndFrame, LLMMessagesAppendFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineTask
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.services.openai.llm import OpenAILLMService

    class Asks(FrameProcessor):
        """Asks the next question after every second answer: the first one is the tool's call."""

        task = None
        answers = 0

        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            await self.push_frame(frame, direction)
            if isinstance(frame, LLMFullResponseEndFrame):
                self.answers += 1
                if self.answers % 2 == 0:
                    await self.task.queue_frame(next_question(self.answers // 2))

    def next_question(number):
        if number >= turns:
            return EndFrame()
        question = {"role": "user", "content": f"How is the weather in London? ({number})"}
        return LLMMessagesAppendFrame([question], run_llm=True)

    async def weather(params):
        await params.result_callback({"weather": f"foggy in {params.arguments['city']}"})

    city = {"city": {"type": "string"}}
    schema = FunctionSchema(name="weather", description="The weather.", properties=city, required=["city"])
    llm = OpenAILLMService(model="gpt-4.1", base_url=url, api_key="none")
    llm.register_function("weather", weather)
    aggregators = LLMContextAggregatorPair(LLMContext([], ToolsSchema(standard_tools=[schema])))
    asks = Asks()
    asks.task = PipelineTask(
        Pipeline([aggregators.user(), llm, asks, aggregators.assistant()]),
        enable_tracing=traces_itself,
        idle_timeout_secs=60,
    )
    await asks.task.queue_frame(next_question(0))
    await PipelineRunner(handle_sigint=False).run(asks.task)


async def main(framework: str, way: str, turns: int, url: str) -> None:
    call = {"livekit": livekit_call, "pipecat": pipecat_call}[framework]
    traces_itself = way == "langsmith"
    held = 0.0

    async def watch() -> None:
        nonlocal held
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            held = max(held, time.perf_counter() - before - 0.001)

    await call(2, url, traces_itself)
    # Whether a collection of all that has been imported falls into the second call is chance, and it takes as long as
    # ten turns.
    gc.collect()
    gc.freeze()
    watching = asyncio.create_task(watch())
    before = time.process_time()
    await call(turns, url, traces_itself)
    watching.cancel()
    used = time.process_time() - before
    # What is left to deliver is part of it.
    time.sleep(3)  # noqa: ASYNC251  nothing of the call runs any more
    later = time.process_time() - before - used
    sys.stdout.write(json.dumps({"ms": 1000 * (used + later) / turns, "held_ms": 1000 * held}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ["LOGURU_LEVEL"] = "CRITICAL"
    trace(sys.argv[1], sys.argv[2], sys.argv[5])
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    os._exit(0)
