"""What a span of a GenAI instrumentation says of the call of a language model, in whose words ever.

OpenTelemetry's and OpenLLMetry's follow the GenAI conventions, OpenInference's have conventions of their own. Whether
they have the messages is a setting of theirs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.protocol.events import Usage
from voicespan.protocol.json_values import safe_str

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What such a span counts its tokens by: of the input, and of the output.
_COUNTS = (
    ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ("llm.token_count.prompt", "llm.token_count.completion"),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
)
#: And what it has the messages in.
_MESSAGES = (
    "gen_ai.input.messages",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "input.value",
    "llm.input_messages.0.message.content",
)
#: The operations of the conventions in which a language model answers.
_ANSWERS = frozenset({"chat", "generate_content", "text_completion"})
_REQUESTED = ("gen_ai.request.model", "llm.model_name")
_ANSWERED = ("gen_ai.response.model", "llm.model_name")
_PROVIDERS = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_OUTPUT = "gen_ai.output.messages"
_CALL = "llm.output_messages.0.message.tool_calls.{}.tool_call.{}"
#: Functions of one answer.
_MOST_CALLS = 128
#: Characters.
_LONGEST = 1_000_000


def is_call(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a span that has just begun is the call of a language model."""
    operation = attributes.get("gen_ai.operation.name")
    kind = attributes.get("openinference.span.kind")
    if operation is None and kind is None:
        # Some say so only when it ends, but all of these name it so: `chat gpt-5`.
        operation, _, model = name.partition(" ")
        return operation in _ANSWERS and bool(model)
    return operation in _ANSWERS or kind == "LLM"


def usage_of(attributes: Mapping[str, Any]) -> Usage | None:
    """The tokens that it counts; None: it counts none."""
    for given, written in _COUNTS:
        counts = attributes.get(given), attributes.get(written)
        if isinstance(counts[0], int) or isinstance(counts[1], int):
            known = [count if isinstance(count, int) else 0 for count in counts]
            return Usage(known[0], known[1], sum(known))
    return None


def has_messages(attributes: Mapping[str, Any]) -> bool:
    """Whether it has what the model was given."""
    return any(name in attributes for name in _MESSAGES)


def model_of(attributes: Mapping[str, Any], *, answered: bool = False) -> str | None:
    """Which model was asked for, or which one has `answered`."""
    return _first(attributes, _ANSWERED if answered else _REQUESTED)


def provider_of(attributes: Mapping[str, Any]) -> str | None:
    """Who offers the model."""
    return _first(attributes, _PROVIDERS)


def function_calls_of(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The functions that the model asks for, where the span has them."""
    output = attributes.get(_OUTPUT)
    if not isinstance(output, str):
        return _listed_calls(attributes)
    try:
        messages = json.loads(output) if len(output) <= _LONGEST else None
    except ValueError:
        return []
    parts = (
        part
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and isinstance(message.get("parts"), list)
        for part in message["parts"]
    )
    calls = [part for part in parts if isinstance(part, dict) and part.get("type") == "tool_call"]
    return calls[:_MOST_CALLS]


def _listed_calls(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As OpenInference has them, each member an attribute."""
    calls: list[dict[str, Any]] = []
    while len(calls) < _MOST_CALLS:
        name = attributes.get(_CALL.format(len(calls), "function.name"))
        if name is None:
            break
        arguments = attributes.get(_CALL.format(len(calls), "function.arguments"), "")
        calls.append(
            {"id": attributes.get(_CALL.format(len(calls), "id")), "name": name, "arguments": arguments}
        )
    return calls


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((safe_str(attributes[name]) for name in names if isinstance(attributes.get(name), str)), None)
