"""Usage as LangSmith prices it: detail by detail, and the rest of the total at the base price.

So no token may stand in two details, as cached audio does in OpenAI's and OpenTelemetry's counts, where it is
part of the audio as well. The span's own `gen_ai.usage.*` stay as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.delivery.encoding.langsmith_spans import get_attribute, set_attributes
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_CACHED = "cache_read"


@guarded
def separate_details(span: Span) -> None:
    """Count each token of a generation's copy in one detail only."""
    written = get_attribute(span, semconv.USAGE_METADATA)
    if not isinstance(written, str):
        return
    usage = json.loads(written)
    into, out = usage.get("input_token_details"), usage.get("output_token_details")
    if isinstance(into, dict) and into.get(_CACHED):
        usage["input_token_details"] = _without_cached(span, into)
    if isinstance(out, dict) and out.get("reasoning"):
        usage["output_token_details"] = _without_reasoning(out, usage.get("output_tokens"))
    for side in ("input", "output"):
        details, total = usage.get(f"{side}_token_details"), usage.get(f"{side}_tokens")
        if isinstance(details, dict) and isinstance(total, int) and sum(details.values()) > total:
            # The service counts what we do not know: better no details than too many.
            del usage[f"{side}_token_details"]
    set_attributes(span, {semconv.USAGE_METADATA: json.dumps(usage)})


def _without_cached(span: Span, details: dict[str, int]) -> dict[str, int]:
    """The details of an input, each modality without what of it was cached."""
    modalities = {name: tokens for name, tokens in details.items() if name != _CACHED}
    cached = {name: _cached(span, name) for name in modalities}
    present = [name for name, tokens in modalities.items() if tokens]
    if sum(cached.values()) != details[_CACHED]:
        if len(present) != 1:
            # Of which modality they were is not known, and each has a price of its own.
            return modalities
        cached = {present[0]: details[_CACHED]}
    left = {name: max(tokens - cached.get(name, 0), 0) for name, tokens in modalities.items()}
    return {**left, _CACHED: details[_CACHED]}


def _cached(span: Span, modality: str) -> int:
    tokens = get_attribute(span, f"{semconv.USAGE}{modality}.cache_read.input_tokens")
    return tokens if isinstance(tokens, int) else 0


def _without_reasoning(details: dict[str, int], total: Any) -> dict[str, int]:
    """The details of an output: where thoughts were counted as text as well, the text is what is left."""
    excess = sum(details.values()) - total if isinstance(total, int) else 0
    text = details.get("text", 0)
    return {**details, "text": text - excess} if 0 < excess <= min(text, details["reasoning"]) else details
