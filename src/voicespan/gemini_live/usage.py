"""Tokens, as the server counted them."""

from __future__ import annotations

from typing import Any

from voicespan.gemini_live import values
from voicespan.protocol.events import Usage

#: Far more than any session has, so that no number leaves what an attribute can hold.
_MOST_TOKENS = 1 << 53
#: Of the modalities there are five; beside them what is cached, of each modality.
_MOST_MODALITIES = 6
_MOST_DETAILS = 2 * _MOST_MODALITIES + 2


def usage(counts: Any) -> Usage | None:
    """`usageMetadata` in our names.

    The service counts the prompts of tools beside the prompt and thoughts beside the response, and leaves them
    out of the total in some models. Here they are part of the input, the output and the total.
    """
    if not isinstance(counts, dict) or not counts:
        return None
    # Vertex AI and `generate_content` call the response's tokens by another name.
    response = _count(counts.get("responseTokenCount"))
    response = _count(counts.get("candidatesTokenCount")) if response is None else response
    thoughts = _count(counts.get("thoughtsTokenCount"))
    tools = _count(counts.get("toolUsePromptTokenCount"))
    into = _details(counts.get("promptTokensDetails"))
    tool_details = _details(counts.get("toolUsePromptTokensDetails"))
    unknown = (tools or 0) - sum(tool_details.values())
    into = _sums(into, tool_details) if unknown <= 0 else _sums(into, {**tool_details, "tool_use": unknown})
    cached = {f"cache_read_{name}": n for name, n in _details(counts.get("cacheTokensDetails")).items()}
    out = _details(counts.get("responseTokensDetails") or counts.get("candidatesTokensDetails"))
    details = {"cache_read": _count(counts.get("cachedContentTokenCount"))}, {"reasoning": thoughts}
    input_tokens = _sum(_count(counts.get("promptTokenCount")), tools)
    output_tokens = _sum(response, thoughts)
    return Usage(
        input_tokens,
        output_tokens,
        _total(_count(counts.get("totalTokenCount")), input_tokens, output_tokens),
        {**into, **_known(details[0]), **cached},
        {**out, **_known(details[1])},
    )


def _total(total: int | None, input_tokens: int | None, output_tokens: int | None) -> int | None:
    parts = _sum(input_tokens, output_tokens)
    return parts if total is None else max(total, parts or 0)


def _known(counts: dict[str, int | None]) -> dict[str, int]:
    return {name: tokens for name, tokens in counts.items() if tokens is not None}


def facts(counts: Any) -> dict[str, Any]:
    """What else stands in `usageMetadata`."""
    if not isinstance(counts, dict):
        return {}
    return {
        "tool_use_prompt_tokens": _count(counts.get("toolUsePromptTokenCount")),
        "traffic_type": values.name(counts.get("trafficType")),
        "service_tier": values.name(counts.get("serviceTier")),
    }


def together(first: Usage | None, second: Usage | None) -> Usage | None:
    """The tokens of two reports within one turn; each counts a generation of its own."""
    if first is None or second is None:
        return first or second
    return Usage(
        _sum(first.input_tokens, second.input_tokens),
        _sum(first.output_tokens, second.output_tokens),
        _sum(first.total_tokens, second.total_tokens),
        _sums(first.input_details, second.input_details),
        _sums(first.output_details, second.output_details),
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return first if second is None else second if first is None else min(first + second, _MOST_TOKENS)


def _sums(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    names = [*first, *(name for name in second if name not in first)][:_MOST_DETAILS]
    return {name: min(first.get(name, 0) + second.get(name, 0), _MOST_TOKENS) for name in names}


def _details(listed: Any) -> dict[str, int]:
    """`[{"modality": "AUDIO", "tokenCount": 3}, …]` as `{"audio": 3, …}`."""
    counts: dict[str, int] = {}
    for each in values.as_objects(listed)[:_MOST_MODALITIES]:
        modality, tokens = values.name(each.get("modality")), _count(each.get("tokenCount"))
        if modality is not None and tokens is not None:
            counts[modality.lower()] = counts.get(modality.lower(), 0) + tokens
    return counts


def _count(value: Any) -> int | None:
    count = values.integer(value)
    return count if count is not None and count >= 0 else None
