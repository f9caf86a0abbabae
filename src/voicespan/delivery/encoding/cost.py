"""What a conversation costs, by the prices of the package `genai-prices` (the extra `cost`).

All of this runs on the thread that writes the copies, never on the application's. Where the package is not
installed, the model is not known to it, or the service did not say which of its tokens were cached, there is
no cost: it is never a guess.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from importlib import metadata
from typing import TYPE_CHECKING, Any

from voicespan.delivery.encoding.langsmith_spans import get_attribute, set_attributes
from voicespan.runtime.guard import guarded
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from decimal import Decimal

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_PACKAGE = "genai_prices"
#: Our providers, by the names that the package has for them.
_PROVIDERS = {
    "openai": "openai",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
#: Services that bill the time of a connection, and do not report it.
_BILLS_CONNECTION = frozenset({"x-ai"})
#: The package's names for tokens, by ours behind `gen_ai.usage.`.
_TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "audio.input_tokens": "input_audio_tokens",
    "image.input_tokens": "input_image_tokens",
    "video.input_tokens": "input_video_tokens",
    "audio.output_tokens": "output_audio_tokens",
    "cache_read.input_tokens": "cache_read_tokens",
    "audio.cache_read.input_tokens": "cache_audio_read_tokens",
    "image.cache_read.input_tokens": "cache_image_read_tokens",
}
_CACHED = {"cache_audio_read_tokens": "input_audio_tokens", "cache_image_read_tokens": "input_image_tokens"}


class ConversationCost:
    """The cost of one conversation, as far as its spans were written."""

    __slots__ = ("_is_whole", "_total")

    def __init__(self) -> None:
        self._total: Decimal | None = None
        self._is_whole = True

    @guarded
    def add(self, span: Span) -> None:
        """Price a generation, and say so in its copy."""
        written = get_attribute(span, semconv.USAGE_METADATA)
        if not isinstance(written, str) or not is_available():
            return
        price = _price(span, _tokens(span))
        if price is None:
            self._is_whole = False
            return
        self._total = price.total_price if self._total is None else self._total + price.total_price
        costs = {
            "input_cost": float(price.input_price),
            "output_cost": float(price.output_price),
            "total_cost": float(price.total_price),
        }
        set_attributes(span, {semconv.USAGE_METADATA: json.dumps({**json.loads(written), **costs})})

    @guarded
    def add_to_root(self, root: Span) -> None:
        """Say on the root's copy what all of it cost; what is billed by time stands here alone."""
        if not is_available():
            return
        minutes = (_number(root, semconv.METADATA + "duration_s") or 0) / 60
        by_time = _price(root, _time(root))
        total = self._total if self._is_whole else None
        if by_time is not None and by_time.total_price:
            total = by_time.total_price + (self._total or 0)
        if total is None:
            return
        figures: dict[str, str | float] = {
            "cost": float(total),
            "cost_prices_version": metadata.version("genai-prices"),
        }
        if minutes > 0:
            figures["cost_per_minute"] = round(float(total) / minutes, 6)
        set_attributes(root, {semconv.METADATA + name: figure for name, figure in figures.items()})


def is_generation(span: Span) -> bool:
    """Whether it is one of ours that has tokens."""
    return get_attribute(span, semconv.USAGE_METADATA) is not None


@functools.cache
def is_available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(_PACKAGE) is not None


def load() -> None:
    """Import the package, which takes a third of a second: with the rest that is imported before the first call.

    Not on a thread: it makes dataclasses, which runs code from text, and by that Python forgets that Ctrl-C is why the
    process ends.
    """
    if is_available():
        importlib.import_module(_PACKAGE)


def _price(span: Span, usage: dict[str, float] | None) -> Any:
    """The package's calculation. None: it does not know the model, or not enough of the usage."""
    model = get_attribute(span, semconv.RESPONSE_MODEL) or get_attribute(span, semconv.REQUEST_MODEL)
    provider = _provider(span)
    if usage is None or provider is None or not isinstance(model, str):
        return None
    prices = importlib.import_module(_PACKAGE)
    try:
        return prices.calc_price(prices.Usage(**usage), model, provider_id=provider)
    except (LookupError, ValueError):
        return None


def _tokens(span: Span) -> dict[str, float] | None:
    """A generation's tokens, as the package names them. None: the service did not count them."""
    counts: dict[str, float] = {}
    for ours, theirs in _TOKENS.items():
        count = _number(span, semconv.USAGE + ours)
        if count is not None:
            counts[theirs] = count
    for cached, whole in _CACHED.items():
        # The package asks for them, where their price is another; where there were none it need not ask.
        if "cache_read_tokens" in counts and not (counts["cache_read_tokens"] and counts.get(whole)):
            counts.setdefault(cached, 0)
    return counts if "input_tokens" in counts and "output_tokens" in counts else None


def _time(root: Span) -> dict[str, float] | None:
    """What of a conversation may be billed by time and by message."""
    seconds = _number(root, semconv.METADATA + "usage_seconds")
    if seconds is None and _provider(root) in _BILLS_CONNECTION:
        seconds = _number(root, semconv.METADATA + "duration_s")
    if seconds is None:
        return None
    usage = {"audio_seconds": seconds}
    messages = _number(root, semconv.METADATA + "text_message_count")
    return usage if messages is None else {**usage, "input_text_messages": messages}


def _provider(span: Span) -> str | None:
    name = get_attribute(span, semconv.PROVIDER)
    return _PROVIDERS.get(name, name) if isinstance(name, str) else None


def _number(span: Span, key: str) -> float | None:
    value = get_attribute(span, key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
