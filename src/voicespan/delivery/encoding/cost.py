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
from typing import TYPE_CHECKING

from voicespan.delivery.encoding.langsmith_spans import get_attributes, set_attributes
from voicespan.delivery.encoding.prices import PACKAGE, price
from voicespan.protocol import events
from voicespan.runtime.guard import guarded
from voicespan.runtime.measurements import SHARED, CallCost
from voicespan.tracing import semconv

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from typing import TypeAlias

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from voicespan.delivery.encoding.prices import Price

    #: Of a span's copy.
    _Attributes: TypeAlias = Mapping[str, str | bool | float | None]

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
        attributes = get_attributes(span)
        written = attributes.get(semconv.USAGE_METADATA)
        if isinstance(written, str):
            self._add_generation(span, attributes, written)
        else:
            self._add_transcription(attributes)

    def _add_generation(self, span: Span, attributes: _Attributes, written: str) -> None:
        priced = _price(attributes, _tokens(attributes))
        if priced is None:
            self._is_whole = False
            return
        if not priced.total_price:
            # Billed by the hour: the root says what.
            return
        self._total = priced.total_price if self._total is None else self._total + priced.total_price
        costs = {
            "input_cost": float(priced.input_price),
            "output_cost": float(priced.output_price),
            "total_cost": float(priced.total_price),
        }
        set_attributes(span, {semconv.USAGE_METADATA: json.dumps({**json.loads(written), **costs})})

    def _add_transcription(self, attributes: _Attributes) -> None:
        model = attributes.get(semconv.METADATA + "transcription_model")
        used = {
            theirs: count
            for ours, theirs in _TRANSCRIBED.items()
            if (count := _number(attributes, semconv.METADATA + ours)) is not None
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
        attributes = get_attributes(root)
        minutes = _duration(root, attributes) / 60
        prices = [
            self._total,
            _total(_price(attributes, _time(root, attributes))),
            *self._of_transcriptions(attributes),
        ]
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
        model = {name: attributes.get(name) for name in (semconv.PROVIDER, semconv.REQUEST_MODEL)}
        trace_id, span_id = (int.from_bytes(each, "big") for each in (root.trace_id, root.span_id))
        SHARED.put(CallCost(float(total), model, trace_id, span_id))

    def _of_transcriptions(self, root: _Attributes) -> Iterator[Decimal | None]:
        for model, used in (self._transcribed or {}).items():
            # Sound costs more than text: how much of it there was has to be known.
            if "audio_seconds" in used or {"input_audio_tokens", "output_tokens"} <= used.keys():
                yield _total(_price(root, used, model))


def has_cost(name: str, attributes: Container[str]) -> bool:
    """Whether a span of this name is one of ours that has tokens, or belongs to a transcription of the user's speech."""
    return semconv.USAGE_METADATA in attributes or (
        name == events.INPUT_TRANSCRIPTION and semconv.EVENT_TYPE in attributes
    )


@functools.cache
def is_available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def load() -> None:
    """Import the package, which takes a third of a second: with the rest that is imported before the first call.

    Not on a thread: it makes dataclasses, which runs code from text, and by that Python forgets that Ctrl-C is why the
    process ends.
    """
    if is_available():
        importlib.import_module(PACKAGE)


def _total(priced: Price | None) -> Decimal | None:
    """The whole of it; None: the model is not billed by what was counted."""
    return (priced.total_price or None) if priced is not None else None


def _price(attributes: _Attributes, usage: Mapping[str, float] | None, model: object = None) -> Price | None:
    """None: there is no price for the model, or not enough is known of the usage."""
    model = model or attributes.get(semconv.RESPONSE_MODEL) or attributes.get(semconv.REQUEST_MODEL)
    provider = _provider(attributes)
    if usage is None or provider is None or not isinstance(model, str):
        return None
    return price(provider, model, usage)


def _tokens(attributes: _Attributes) -> dict[str, float] | None:
    """A generation's tokens, as the package names them. None: the service did not count them."""
    counts: dict[str, float] = {}
    for ours, theirs in _TOKENS.items():
        count = _number(attributes, semconv.USAGE + ours)
        if count is not None:
            counts[theirs] = count
    for cached, whole in _CACHED.items():
        # The package asks for them, where their price is another; where there were none it need not ask.
        if "cache_read_tokens" in counts and not (counts["cache_read_tokens"] and counts.get(whole)):
            counts.setdefault(cached, 0)
    return counts if "input_tokens" in counts and "output_tokens" in counts else None


def _time(root: Span, attributes: _Attributes) -> dict[str, float] | None:
    """What of a conversation may be billed by time and by message."""
    seconds = _number(attributes, semconv.METADATA + "usage_seconds")
    if seconds is None and _provider(attributes) in _BILLS_CONNECTION:
        seconds = _duration(root, attributes)
    if seconds is None:
        return None
    usage = {"audio_seconds": seconds}
    messages = _number(attributes, semconv.METADATA + "text_message_count")
    return usage if messages is None else {**usage, "input_text_messages": messages}


def _duration(root: Span, attributes: _Attributes) -> float:
    """Seconds; of a process that died, until its last sign of life."""
    duration = _number(attributes, semconv.METADATA + "duration_s")
    return (root.end_time_unix_nano - root.start_time_unix_nano) / 1e9 if duration is None else duration


def _provider(attributes: _Attributes) -> str | None:
    name = attributes.get(semconv.PROVIDER)
    return _PROVIDERS.get(name, name) if isinstance(name, str) else None


def _number(attributes: _Attributes, key: str) -> float | None:
    value = attributes.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
