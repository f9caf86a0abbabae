"""What a conversation costs, its transcriptions included, by the prices of the package `genai-prices` (the extra `cost`).

All of this runs on the thread that writes the copies, never on the application's. Where the package is not
installed, the model is not known to it, or the service did not say which of its tokens were cached, there is
no cost: it is never a guess.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from decimal import Decimal
from importlib import metadata
from typing import TYPE_CHECKING, Any

from voicespan.delivery.encoding.langsmith_spans import get_attribute, set_attributes
from voicespan.protocol import events
from voicespan.runtime.guard import guarded
from voicespan.runtime.measurements import SHARED, CallCost
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator

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
#: What transcribes the user's speech is another model; its usage, behind `langsmith.metadata.`.
_TRANSCRIBED = {
    "usage_input_tokens": "input_tokens",
    "usage_input_audio_tokens": "input_audio_tokens",
    "usage_output_tokens": "output_tokens",
    "usage_seconds": "audio_seconds",
}
_MOST_MODELS = 20
_CACHED = {"cache_audio_read_tokens": "input_audio_tokens", "cache_image_read_tokens": "input_image_tokens"}


class ConversationCost:
    """The cost of one conversation, as far as its spans were written."""

    __slots__ = ("_is_whole", "_total", "_transcribed")

    def __init__(self) -> None:
        self._total: Decimal | None = None
        self._is_whole = True
        #: The usage of each model that transcribed.
        self._transcribed: dict[str, dict[str, float]] | None = None

    @guarded
    def add(self, span: Span) -> None:
        """Price a generation, and say so in its copy; or count what a transcription used."""
        if not is_available():
            return
        written = get_attribute(span, semconv.USAGE_METADATA)
        if isinstance(written, str):
            self._add_generation(span, written)
        else:
            self._add_transcription(span)

    def _add_generation(self, span: Span, written: str) -> None:
        price = _price(span, _tokens(span))
        if price is None:
            self._is_whole = False
            return
        if not price.total_price:
            # Billed by the hour: the root says what.
            return
        self._total = price.total_price if self._total is None else self._total + price.total_price
        costs = {
            "input_cost": float(price.input_price),
            "output_cost": float(price.output_price),
            "total_cost": float(price.total_price),
        }
        set_attributes(span, {semconv.USAGE_METADATA: json.dumps({**json.loads(written), **costs})})

    def _add_transcription(self, span: Span) -> None:
        model = get_attribute(span, semconv.METADATA + "transcription_model")
        used = {
            theirs: count
            for ours, theirs in _TRANSCRIBED.items()
            if (count := _number(span, semconv.METADATA + ours)) is not None
        }
        if not isinstance(model, str):
            return
        self._transcribed = self._transcribed or {}
        if model in self._transcribed or len(self._transcribed) < _MOST_MODELS:
            so_far = self._transcribed.get(model, {})
            self._transcribed[model] = {
                name: so_far.get(name, 0) + used.get(name, 0) for name in {**so_far, **used}
            }

    @guarded
    def add_to_root(self, root: Span) -> None:
        """Say on the root's copy what all of it cost; what is billed by time stands here alone."""
        if not is_available() or not self._is_whole:
            return
        minutes = _duration(root) / 60
        prices = [self._total, _total(_price(root, _time(root))), *self._of_transcriptions(root)]
        known = [price for price in prices if price is not None]
        if not known:
            return
        total = sum(known, Decimal(0))
        figures: dict[str, str | float] = {
            "cost": float(total),
            "cost_prices_version": metadata.version("genai-prices"),
        }
        if minutes > 0:
            figures["cost_per_minute"] = round(float(total) / minutes, 6)
        set_attributes(root, {semconv.METADATA + name: figure for name, figure in figures.items()})
        model = {name: get_attribute(root, name) for name in (semconv.PROVIDER, semconv.REQUEST_MODEL)}
        trace_id, span_id = (int.from_bytes(each, "big") for each in (root.trace_id, root.span_id))
        SHARED.put(CallCost(float(total), model, trace_id, span_id))

    def _of_transcriptions(self, root: Span) -> Iterator[Decimal | None]:
        for model, used in (self._transcribed or {}).items():
            # Sound costs more than text: how much of it there was has to be known.
            if "audio_seconds" in used or {"input_audio_tokens", "output_tokens"} <= used.keys():
                yield _total(_price(root, used, model))


def has_cost(span: Span) -> bool:
    """Whether it is one of ours that has tokens, or belongs to a transcription of the user's speech."""
    return get_attribute(span, semconv.USAGE_METADATA) is not None or (
        span.name == events.INPUT_TRANSCRIPTION and get_attribute(span, semconv.EVENT_TYPE) is not None
    )


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


def _total(price: Any) -> Decimal | None:
    """The whole of it; None: the model is not billed by what was counted."""
    return (price.total_price or None) if price is not None else None


def _price(span: Span, usage: dict[str, float] | None, model: object = None) -> Any:
    """The package's calculation. None: it does not know the model, or not enough of the usage."""
    model = model or get_attribute(span, semconv.RESPONSE_MODEL) or get_attribute(span, semconv.REQUEST_MODEL)
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
        seconds = _duration(root)
    if seconds is None:
        return None
    usage = {"audio_seconds": seconds}
    messages = _number(root, semconv.METADATA + "text_message_count")
    return usage if messages is None else {**usage, "input_text_messages": messages}


def _duration(root: Span) -> float:
    """Seconds; of a process that died, until its last sign of life."""
    duration = _number(root, semconv.METADATA + "duration_s")
    return (root.end_time_unix_nano - root.start_time_unix_nano) / 1e9 if duration is None else duration


def _provider(span: Span) -> str | None:
    name = get_attribute(span, semconv.PROVIDER)
    return _PROVIDERS.get(name, name) if isinstance(name, str) else None


def _number(span: Span, key: str) -> float | None:
    value = get_attribute(span, key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
