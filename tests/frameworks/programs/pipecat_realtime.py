"""Pipecat's OpenAI realtime service in a pipeline without sound, with a tool. Its author never heard of tracing."""

from __future__ import annotations

import asyncio
import sys

from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames import frames
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameProcessor

try:
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
except ImportError:  # 0.0.86: the service lies elsewhere and has a context of its own kind
    from pipecat.processors.aggregators.openai_llm_context import OpenAILLMContext as LLMContext
    from pipecat.services.openai_realtime import OpenAIRealtimeLLMService

    LLMContextAggregatorPair = None

WEATHER = FunctionSchema(
    name="weather",
    description="The weather in a city.",
    properties={"city": {"type": "string"}},
    required=["city"],
)


class End(FrameProcessor):
    """Ends the pipeline after the second answer: the first one is the tool's call."""

    task = None
    answers = 0

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, frames.LLMFullResponseEndFrame):
            self.answers += 1
            if self.answers == 2:
                await self.task.queue_frame(frames.EndFrame())


async def weather(params):
    await params.result_callback({"weather": f"foggy in {params.arguments['city']}"})


async def main(url: str) -> None:
    service = OpenAIRealtimeLLMService(api_key="sk-test", base_url=url + "/realtime")
    service.register_function("weather", weather)
    context = LLMContext(
        [{"role": "user", "content": "How is the weather in London?"}], ToolsSchema(standard_tools=[WEATHER])
    )
    if LLMContextAggregatorPair is None:
        aggregators = service.create_context_aggregator(context)
        first = aggregators.user().get_context_frame()
    else:
        aggregators, first = LLMContextAggregatorPair(context), frames.LLMRunFrame()
    end = End()
    end.task = PipelineTask(
        Pipeline([aggregators.user(), service, end, aggregators.assistant()]), idle_timeout_secs=30
    )
    await end.task.queue_frame(first)
    await PipelineRunner(handle_sigint=False).run(end.task)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
