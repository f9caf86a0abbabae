"""A Pipecat pipeline beside OpenTelemetry's instrumentation of its client: the tokens of a call stand once."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "pipecat.pipeline.task", reason="in an environment of its own: tests/compat/run.py pipecat"
)
from pipecat.frames.frames import EndFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.openai.llm import OpenAILLMService

from voicespan.pipecat import PipecatInstrumentor
from voicespan.testing.cascade import CascadeServer

# What Pipecat warns of while it is used is its own.
pytestmark = pytest.mark.filterwarnings("default")


async def test_a_span_of_the_client_nests_in_the_llm_and_counts_its_tokens(tracer_provider, span_exporter):
    reason = "in an environment of its own: tests/compat/run.py pipecat-genai"
    genai = pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason=reason)
    instrumentors = (PipecatInstrumentor(), genai.OpenAIInstrumentor())
    for each in instrumentors:
        each.instrument(tracer_provider=tracer_provider)
    try:
        with CascadeServer(["It is."]) as server:
            llm = OpenAILLMService(model="gpt-4.1", base_url=server.url, api_key="none")
            aggregators = LLMContextAggregatorPair(LLMContext([{"role": "user", "content": "Open?"}]))
            task = PipelineTask(Pipeline([aggregators.user(), llm, aggregators.assistant()]))
            await task.queue_frames([LLMRunFrame(), EndFrame()])
            await PipelineRunner(handle_sigint=False).run(task)
            await llm._client.close()
    finally:
        for each in instrumentors:
            each.uninstrument()
    spans = {span.name: span for span in span_exporter.get_finished_spans()}
    root, call, inside = spans["conversation"], spans["llm"], spans["chat gpt-4.1"]
    assert inside.parent.span_id == call.context.span_id
    assert inside.attributes["gen_ai.usage.input_tokens"] > 0
    assert not any("usage" in name for name in call.attributes)
    meta = "langsmith.metadata."
    assert root.attributes[meta + "input_tokens"] == inside.attributes["gen_ai.usage.input_tokens"]
    assert root.attributes[meta + "turn_count"] == 1
