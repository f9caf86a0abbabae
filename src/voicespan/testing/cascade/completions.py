"""Chat completions: what a request must look like, and what goes back, whole or in pieces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.testing._dialogue import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from voicespan.testing.cascade.answers import Completion

_CREATED = 1_760_000_000


def refusal(messages: object) -> str | None:
    """Why the real service would not take these messages, in its words."""
    if not isinstance(messages, list) or not messages:
        return "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
    wanted: list[str] = []
    for position, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            if message.get("tool_call_id") not in wanted:
                return (
                    f"Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    f"'tool_calls'. (messages.[{position}].role)"
                )
            wanted.remove(message["tool_call_id"])
            continue
        if wanted:
            break
        wanted = [call["id"] for call in message.get("tool_calls") or ()]
    if wanted:
        return (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(wanted)}"
        )
    return None


class CompletionAnswer:
    """One answer as it goes over the wire."""

    def __init__(self, completion: Completion, request: Mapping[str, Any], number: int) -> None:
        """`number`: of the request, from 1 on."""
        self._completion = completion
        self._head = {
            "id": f"chatcmpl-{number:04d}",
            "created": _CREATED + number,
            "model": request.get("model", "gpt-test"),
            "service_tier": "default",
        }
        self._calls = [
            {
                "id": call.call_id or f"call_{number:04d}_{index}",
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for index, call in enumerate(completion.calls)
        ]
        self._usage = _usage(completion, request.get("messages") or ())
        self._with_usage = bool((request.get("stream_options") or {}).get("include_usage"))

    @property
    def _reason(self) -> str:
        return self._completion.finish_reason or ("tool_calls" if self._calls else "stop")

    def whole(self) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self._completion.text or None,
            "refusal": None,
            "annotations": [],
        }
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage}

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """The pieces of an answer that streams, and of each whether it has output."""
        yield self._chunk({"role": "assistant", "content": "", "refusal": None}), False
        for piece in pieces(self._completion.text):
            yield self._chunk({"content": piece}), True
        for index, call in enumerate(self._calls):
            function = call["function"]
            assert isinstance(function, dict)  # noqa: S101  as built above
            head = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
            yield self._chunk({"tool_calls": [head]}), True
            half = len(function["arguments"]) // 2
            for part in (function["arguments"][:half], function["arguments"][half:]):
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}), True
        yield self._chunk({}, self._reason), False
        if self._with_usage:
            yield self._event({**self._object, "choices": [], "usage": self._usage}), False
        yield b"data: [DONE]\n\n", False

    @property
    def _object(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._with_usage else {}
        return self._event({**self._object, "choices": [choice], **usage})

    @staticmethod
    def _event(content: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def _arguments(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _usage(completion: Completion, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A token for each word, and three around each message."""
    prompt = sum(3 + len(str(message.get("content") or "").split()) for message in messages)
    said = len(completion.text.split()) + 8 * len(completion.calls) + completion.reasoning_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said,
        "total_tokens": prompt + said,
        "prompt_tokens_details": {"cached_tokens": completion.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": completion.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
