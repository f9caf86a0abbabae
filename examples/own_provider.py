"""Your own tracer provider, with voicespan beside your own processors, and spans of your own in a tool.

No global provider is set or replaced. Needs voicespan[openai], OPENAI_API_KEY and LANGSMITH_API_KEY.
"""

from __future__ import annotations

import json

from openai import OpenAI
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

import voicespan
from voicespan.openai_realtime import OpenAIRealtimeInstrumentor

provider = TracerProvider(resource=Resource.create({"service.name": "order-hotline"}))
# What you have already goes on as it was: every processor sees every span.
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
provider.add_span_processor(voicespan.LangSmithSpanProcessor())
OpenAIRealtimeInstrumentor().instrument(tracer_provider=provider)

tracer = provider.get_tracer("order-hotline")

LOOK_UP_ORDER = {
    "type": "function",
    "name": "look_up_order",
    "description": "Tells where an order is.",
    "parameters": {
        "type": "object",
        "properties": {"number": {"type": "string"}},
        "required": ["number"],
    },
}


def look_up_order(number: str) -> str:
    """Your tool. The span that it opens is a child of the function call that the model made."""
    with tracer.start_as_current_span("warehouse query") as span:
        span.set_attribute("order.number", number)
        return "on its way"


def answer_calls(connection, conversation) -> None:
    """Hold the conversation until the model has said something after its function calls."""
    for event in connection:
        if event.type == "response.function_call_arguments.done":
            # Exact also with several calls open at once.
            with conversation.tool_call(event.call_id):
                result = look_up_order(**json.loads(event.arguments))
            connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": event.call_id, "output": result}
            )
        elif event.type == "response.done":
            if all(item.type != "function_call" for item in event.response.output):
                return
            connection.response.create()


with (
    voicespan.conversation(thread_id="caller-42", tags=["orders"]) as conversation,
    OpenAI().realtime.connect(model="gpt-realtime") as connection,
):
    connection.session.update(session={"type": "realtime", "tools": [LOOK_UP_ORDER]})
    connection.conversation.item.create(
        item={
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Where is order 17?"}],
        }
    )
    connection.response.create()
    answer_calls(connection, conversation)

provider.shutdown()
