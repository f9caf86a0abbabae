"""The same with Pipecat 0.0.86, whose service lies elsewhere and has a context of its own kind."""

from __future__ import annotations

import asyncio
import sys

from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import EndFrame, LLMFullResponseEndFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.openai_llm_context import OpenAILLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai_realtime import OpenAIRealtimeLLMService

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
        if isinstance(frame, LLMFullResponseEndFrame):
            self.answers += 1
            if self.answers == 2:
                await self.task.queue_frame(EndFrame())


async def weather(params):
    await params.result_callback({"weather": f"foggy in {params.arguments['city']}"})


async def main(url: str) -> None:
    service = OpenAIRealtimeLLMService(api_key="sk-test", base_url=url + "/realtime")
    service.register_function("weather", weather)
    context = OpenAILLMContext(
        [{"role": "user", "content": "How is the weather in London?"}], ToolsSchema(standard_tools=[WEATHER])
    )
    aggregators, end = service.create_context_aggregator(context), End()
    end.task = PipelineTask(
        Pipeline([aggregators.user(), service, end, aggregators.assistant()]), idle_timeout_secs=30
    )
    await end.task.queue_frame(aggregators.user().get_context_frame())
    await PipelineRunner(handle_sigint=False).run(end.task)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
