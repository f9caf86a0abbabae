"""Tokens and counts, as LangSmith and as OpenTelemetry name them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicespan.runtime.bounded import put
from voicespan.tracing import semconv
from voicespan.tracing.spans.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from voicespan.protocol.events import Usage
    from voicespan.tracing.spans.playback import Playback


#: Of tokens there are about twenty kinds. What a server makes up beyond must not push out what the root says.
_MOST_KINDS = 30
#: Far more than are ever counted, and what an attribute can hold.
_MOST_TOKENS = 1 << 53


class Counters:
    """What the root says in numbers."""

    def __init__(self) -> None:
        self.turns = 0
        self.interruptions = 0
        self.function_calls = 0
        self.errors = 0
        self.text_messages = 0
        self.dropped_spans = 0
        self.answers_completed = 0
        self.answers_cancelled = 0
        self.answers_failed = 0
        self.answers_incomplete = 0
        self.answers_rejected = 0
        self.answers_empty = 0
        self.figures = Figures()
        self.tokens: dict[str, int] = {}
        #: Of each session, as far as the service bills by time.
        self.seconds: dict[str, float] = {}

    def add(self, usage: Usage) -> None:
        """Add one generation's tokens."""
        for name, tokens in _token_counts(usage).items():
            if name in self.tokens or len(self.tokens) < _MOST_KINDS:
                self.tokens[name] = min(self.tokens.get(name, 0) + tokens, _MOST_TOKENS)

    def use_seconds(self, session_id: str, seconds: float) -> None:
        """A session has been billed for so many seconds by now."""
        put(self.seconds, session_id, seconds)

    def add_answer(self, outcome: str) -> None:
        """Add one answer to the user; `outcome`: see `voicespan.tracing.spans.turns.outcome_of`."""
        name = f"answers_{outcome}"
        setattr(self, name, getattr(self, name) + 1)

    def of_call(
        self, playback: Playback, opened_at: int, *, final: bool, expects_answers: bool
    ) -> dict[str, Any]:
        """The figures of the whole call. `opened_at`: when its first connection did; `final`: it is over."""
        talk = playback.talk(final=final)
        figures = self.figures.facts(talk, playback.basis, opened_at, self.interruptions)
        if not expects_answers:
            # A session that only transcribes.
            figures["unanswered_turn_count"] = figures["response_rate"] = None
        return figures

    def attributes(self) -> dict[str, AttributeValue]:
        """As metadata of the root. Not as usage: LangSmith would count every token twice."""
        numbers: dict[str, float | None] = {
            "turn_count": self.turns,
            "interruption_count": self.interruptions,
            "function_call_count": self.function_calls,
            "error_count": self.errors,
            "text_message_count": self.text_messages or None,
            "dropped_spans": self.dropped_spans or None,
            "answers_completed": self.answers_completed or None,
            "answers_cancelled": self.answers_cancelled or None,
            "answers_failed": self.answers_failed or None,
            "answers_incomplete": self.answers_incomplete or None,
            "answers_rejected": self.answers_rejected or None,
            "answers_empty": self.answers_empty or None,
            **self.tokens,
        }
        if self.seconds:
            numbers["usage_seconds"] = round(sum(self.seconds.values()), 3)
        return {semconv.METADATA + name: number for name, number in numbers.items() if number is not None}


def usage_attributes(usage: Usage) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    langsmith: dict[str, Any] = {}
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        tokens = getattr(usage, name)
        if tokens is not None:
            attributes[semconv.USAGE + name] = langsmith[name] = tokens
    for side, details in (("input", usage.input_details), ("output", usage.output_details)):
        for name, tokens in details.items():
            attributes[semconv.USAGE + _OTEL_DETAILS.get((side, name), f"{name}.{side}_tokens")] = tokens
        priced = _disjoint(details, langsmith.get(f"{side}_tokens"))
        if priced:
            langsmith[f"{side}_token_details"] = priced
        if priced.get("audio"):
            attributes[semconv.PRICED_AUDIO[side]] = priced["audio"]
    if langsmith:
        attributes[semconv.USAGE_METADATA] = json.dumps(langsmith)
    return attributes


def _disjoint(details: Mapping[str, int], total: int | None) -> dict[str, int]:
    """Each token in one detail alone, and no more of them than `total`: LangSmith prices detail by detail.

    Services count what was cached or thought in its modality as well. What is known to be there is taken out of
    that; of what is left over the text goes first, for thoughts and what is cached without a split are mostly text.
    """
    priced = {name: tokens for name, tokens in details.items() if not name.startswith(_CACHED_PARTS)}
    for name, tokens in details.items():
        modality = name.removeprefix(_CACHED_PARTS)
        if modality != name and "cache_read" in priced and modality in priced:
            priced[modality] = max(priced[modality] - tokens, 0)
    over = 0 if total is None else sum(priced.values()) - total
    whole = [name for name in priced if name not in _PARTS]
    for name in [*sorted(whole, key=lambda name: name != "text"), *_PARTS]:
        taken = min(over, priced.get(name, 0))
        if taken > 0:
            priced[name] -= taken
            over -= taken
    return priced


def _token_counts(usage: Usage) -> dict[str, int]:
    totals = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    counts = {name: tokens for name, tokens in totals.items() if tokens is not None}
    counts.update((f"input_{name}_tokens", tokens) for name, tokens in usage.input_details.items())
    counts.update((f"output_{name}_tokens", tokens) for name, tokens in usage.output_details.items())
    return counts


_CACHED_PARTS = "cache_read_"
#: Details that say what else tokens are, beside their modality. Of too many these are the last to be left out.
_PARTS = ("reasoning", "cache_creation", "cache_read")
#: LangSmith's names for the details of a usage, and OpenTelemetry's.
_OTEL_DETAILS = {
    ("input", "cache_read"): "cache_read.input_tokens",
    ("input", "cache_creation"): "cache_write.input_tokens",
    ("input", "cache_read_text"): "text.cache_read.input_tokens",
    ("input", "cache_read_audio"): "audio.cache_read.input_tokens",
    ("input", "cache_read_image"): "image.cache_read.input_tokens",
    ("output", "reasoning"): "reasoning.output_tokens",
}
