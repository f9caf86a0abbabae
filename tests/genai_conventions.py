"""What OpenTelemetry's GenAI conventions ask of spans, as a table: nothing is fetched.

The revision is that of `voicespan.tracing.semconv`: open-telemetry/semantic-conventions-genai as of 2026-09, and of its
pull request 394 for `user_speech`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicespan.report.call import CallSpan


class Asked(NamedTuple):
    """Of the spans of one operation."""

    required: tuple[str, ...]
    #: Known in every demo: the conventions ask for them where they are known.
    known: tuple[str, ...] = ()


_MODEL = (semconv.OPERATION, semconv.PROVIDER)
_INFERENCE = Asked(
    _MODEL,
    (
        semconv.CONVERSATION_ID,
        semconv.REQUEST_MODEL,
        semconv.FINISH_REASONS,
        semconv.OUTPUT_TYPE,
        semconv.INPUT_MESSAGES,
        semconv.OUTPUT_MESSAGES,
        f"{semconv.USAGE}input_tokens",
        f"{semconv.USAGE}output_tokens",
    ),
)
ASKED = {
    "chat": _INFERENCE,
    "realtime_inference": _INFERENCE,
    "execute_tool": Asked(
        (semconv.OPERATION, semconv.TOOL_NAME),
        (
            semconv.CONVERSATION_ID,
            semconv.TOOL_CALL_ID,
            semconv.TOOL_TYPE,
            semconv.TOOL_ARGUMENTS,
            semconv.TOOL_RESULT,
        ),
    ),
    "invoke_agent": Asked(
        (semconv.OPERATION,), (semconv.CONVERSATION_ID, semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES)
    ),
    "user_speech": Asked(_MODEL, (semconv.CONVERSATION_ID,)),
    "speech_to_text": Asked(
        _MODEL, (semconv.CONVERSATION_ID, semconv.REQUEST_MODEL, semconv.OUTPUT_MESSAGES)
    ),
    "text_to_speech": Asked(_MODEL, (semconv.CONVERSATION_ID, semconv.REQUEST_MODEL, semconv.INPUT_MESSAGES)),
}
#: What a part of each type has to have, and of which type that is.
PARTS = {
    "text": {"content": str},
    "reasoning": {"content": str},
    "tool_call": {"name": str},
    "tool_call_response": {"response": object},
}


def violations(spans: Iterable[CallSpan]) -> list[str]:
    """All that the spans do not have, or have wrong."""
    return [violation for span in spans for violation in _of(span)]


def _of(span: CallSpan) -> Iterator[str]:
    asked = ASKED.get(str(span.attributes.get(semconv.OPERATION)), Asked(()))
    for name in (*asked.required, *asked.known):
        if name not in span.attributes:
            yield f"{span.name} has no {name}"
    if semconv.PROMPT in span.attributes or semconv.COMPLETION in span.attributes:
        yield f"{span.name} has a deprecated name"
    for name in (semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES):
        for message in json.loads(span.attributes.get(name, "[]")):
            yield from (f"{span.name}: {each}" for each in _of_message(message, name))


def _of_message(message: Any, name: str) -> Iterator[str]:
    if not isinstance(message.get("role"), str) or not isinstance(message.get("parts"), list):
        yield f"no message: {message}"
        return
    if name == semconv.OUTPUT_MESSAGES and not isinstance(message.get("finish_reason"), str):
        yield f"no finish_reason: {message}"
    for part in message["parts"]:
        wanted = PARTS.get(part.get("type"))
        if wanted is None:
            yield f"an unknown part: {part}"
        elif not all(isinstance(part.get(key), kind) for key, kind in wanted.items()):
            yield f"a part without {', '.join(wanted)}: {part}"
