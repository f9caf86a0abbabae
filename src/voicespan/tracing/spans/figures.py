"""The figures of a whole conversation: how long the user waited, who spoke how much, who cut in.

What each answer, barge-in and function call says is collected here as it is written; the recording adds how both sides
shared the call. What is not known is left out, and so is a rate of fewer than `FEWEST` events.
"""

from __future__ import annotations

import math
import re
from array import array
from typing import TYPE_CHECKING, Any

from voicespan.runtime.bounded import put
from voicespan.tracing.spans.user_turns import UserTurns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicespan.protocol.events import TranscriptCompleted
    from voicespan.recording.timeline.talk import Talk

#: A rate of fewer events says nothing.
FEWEST = 10
#: The newest values that a percentile is made of: those of ten hours of talk.
_MOST_VALUES = 4_096
#: Only the last few answers can still be cut off.
_MOST_ANSWERS = 32
_NS = 1e9
#: What a figure may rest on, the best first.
_BASES = ("device", "app", "wire", "server")
#: Those that are numbers, or true and false.
SCORES = (
    "response_gap_p50_ms", "response_gap_p95_ms", "response_gap_max_ms", "response_gap_count", "greeting_ms",
    "barge_in_count", "barge_in_p50_ms", "talk_over_count", "barge_in_yield_rate",
    "user_turn_count", "unanswered_turn_count", "response_rate", "agent_interrupts_user_count",
    "overlap_s", "overlap_share", "user_talk_s", "agent_talk_s", "user_talk_share", "agent_talk_share",
    "silence_share", "longest_silence_s", "dead_air_count", "dead_air_s",
    "user_words_per_minute", "agent_words_per_minute", "inaudible_answer_count", "microphone_dead",
    "tool_latency_p50_ms",
)  # fmt: skip
#: Scripts that put no space between words. To compile it takes 2 ms: with the first words, and not with the import.
_NO_SPACES = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"


class Figures:
    """Those of one conversation. Not thread-safe: the lock of `voicespan.tracing.event_queue` is held."""

    __slots__ = ("_barge_ins", "_gaps", "_tools", "agent_words", "turns", "user_words")

    def __init__(self) -> None:
        self.turns = UserTurns()
        self.user_words = Words()
        self.agent_words = Words()
        #: Milliseconds, by the basis.
        self._gaps: dict[str, array[float]] = {}
        self._barge_ins: array[float] | None = None
        self._tools: array[float] | None = None

    def said(self, event: TranscriptCompleted) -> None:
        """The words of an utterance are there."""
        if not event.text:
            return
        if event.role == "user":
            self.turns.add("words", event.at, event.item_id, event.started_at)
            self.user_words.add(event.text)
        elif not event.out_of_band:
            # What was said out of band counts once it is known that it was heard.
            self.agent_words.add(event.text, event.response_id)

    def add_gap(self, facts: Mapping[str, Any]) -> None:
        """An answer is written; `facts`: what it says of the response gap, if anything."""
        gap, basis = facts.get("response_gap_ms"), facts.get("response_gap_basis")
        if gap is not None and basis is not None:
            self._gaps[basis] = _added(self._gaps.get(basis), gap)

    def add_barge_in(self, milliseconds: float | None) -> None:
        """A barge-in is written: how long it took, if that is known."""
        if milliseconds is not None:
            self._barge_ins = _added(self._barge_ins, milliseconds)

    def add_tool(self, nanoseconds: int) -> None:
        """A function was answered."""
        self._tools = _added(self._tools, nanoseconds / 1e6)

    def facts(self, talk: Talk | None, basis: str, opened_at: int, barge_ins: int) -> dict[str, Any]:
        """What the root says.

        Args:
            talk: What the recording knows; None: there is none.
            basis: What that rests on.
            opened_at: When the first connection opened, in monotonic nanoseconds.
            barge_ins: How many there were.
        """
        facts: dict[str, Any] = {**self._latencies(), **self._turn_facts(), "barge_in_count": barge_ins}
        if talk is not None:
            facts.update(_talk_facts(talk, basis, opened_at))
            facts.update(self._pace(talk))
        facts["figures_basis"] = "server" if talk is None else basis
        return facts

    def _latencies(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "barge_in_p50_ms": _percentile(self._barge_ins, 50),
            "tool_latency_p50_ms": _percentile(self._tools, 50),
        }
        # What is measured and what is estimated do not mix: most of them decide.
        basis = max(_BASES, key=lambda each: len(self._gaps.get(each, ())))
        gaps = self._gaps.get(basis)
        if gaps:
            facts["response_gap_p50_ms"] = _percentile(gaps, 50)
            facts["response_gap_p95_ms"] = _percentile(gaps, 95)
            facts["response_gap_max_ms"] = max(gaps)
            facts["response_gap_count"] = len(gaps)
            facts["response_gap_basis"] = basis
        return facts

    def _turn_facts(self) -> dict[str, Any]:
        turns = self.turns
        if turns.is_unknown:
            return {}
        return {
            "user_turn_count": turns.count,
            "unanswered_turn_count": turns.count - turns.answered,
            "response_rate": _rate(turns.answered, turns.count),
        }

    def _pace(self, talk: Talk) -> dict[str, Any]:
        return {
            "user_words_per_minute": self.user_words.per_minute(talk.user),
            "agent_words_per_minute": self.agent_words.per_minute(talk.agent),
        }


class Words:
    """How many words one side said, in answers that were heard to their end."""

    __slots__ = (
        "_by_answer", "_count", "_cut", "_heard_ms", "_is_unknown", "_lacks_length", "_lengths", "_whole_ms",
    )  # fmt: skip

    def __init__(self) -> None:
        self._count = 0
        #: Of the newest answers, which may still be cut off: their words, and how long they are.
        self._by_answer: dict[str, int] = {}
        self._lengths: dict[str, float] = {}
        #: Those that were cut off: how many of their words were heard nobody knows, only for how long they were.
        self._cut: dict[str, None] = {}
        self._heard_ms = 0.0
        self._whole_ms = 0.0
        self._lacks_length = self._is_unknown = False

    def add(self, text: str | None, answer: str | None = None) -> None:
        """These words were said; `answer`: the response that they are of."""
        if not text or answer in self._cut:
            return
        if re.search(_NO_SPACES, text):
            self._is_unknown = True
            return
        count = len(text.split())
        self._count += count
        if answer is not None:
            put(self._by_answer, answer, self._by_answer.get(answer, 0) + count, _MOST_ANSWERS)

    def heard(self, answer: str, generated_ms: float | None) -> None:
        """An answer, or a part of it, was heard; how long that is. Whether it is cut off may be known later."""
        if answer in self._cut:
            return
        self._lacks_length |= generated_ms is None
        self._whole_ms += generated_ms or 0
        put(self._lengths, answer, self._lengths.get(answer, 0) + (generated_ms or 0), _MOST_ANSWERS)

    def cut(self, answer: str, heard_ms: float | None) -> None:
        """An answer was cut off."""
        if answer in self._cut:
            return
        put(self._cut, answer, None, _MOST_ANSWERS)
        self._count -= self._by_answer.pop(answer, 0)
        self._whole_ms -= self._lengths.pop(answer, 0)
        self._is_unknown |= heard_ms is None
        self._heard_ms += heard_ms or 0

    def per_minute(self, spoken: int) -> float | None:
        """Words a minute of speech; None: not known, or too few to say. `spoken`: nanoseconds."""
        if self._is_unknown or self._count < FEWEST or not spoken:
            return None
        seconds = spoken / _NS
        if self._heard_ms:
            # Of the speech, the part that is of whole answers.
            if self._lacks_length or not self._whole_ms:
                return None
            seconds *= self._whole_ms / (self._whole_ms + self._heard_ms)
        return round(self._count / seconds * 60, 1)


def _talk_facts(talk: Talk, basis: str, opened_at: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "user_talk_s": _seconds(talk.user) if talk.hears_user else None,
        "agent_talk_s": _seconds(talk.agent) if talk.hears_agent else None,
        "microphone_dead": talk.microphone_dead,
        # A device plays what it plays: whose answer a silence is cannot be seen there.
        "inaudible_answer_count": talk.inaudible_answers if talk.hears_agent and basis != "device" else None,
    }
    audible_at, spoke_at = talk.agent_audible_at, talk.user_spoke_at
    if audible_at is not None and audible_at >= opened_at and (spoke_at is None or audible_at < spoke_at):
        facts["greeting_ms"] = round((audible_at - opened_at) / 1e6, 3)
    if not (talk.hears_user and talk.hears_agent and talk.spoken):
        return facts
    both = talk.user + talk.agent
    return {
        **facts,
        "user_talk_share": _share(talk.user, both),
        "agent_talk_share": _share(talk.agent, both),
        "overlap_s": _seconds(talk.overlap),
        "overlap_share": _share(talk.overlap, talk.spoken),
        "silence_share": _share(talk.silence, talk.spoken),
        "longest_silence_s": _seconds(talk.longest_silence),
        "dead_air_count": talk.dead_air_count,
        "dead_air_s": _seconds(talk.dead_air),
        "agent_interrupts_user_count": talk.agent_interrupts,
        "talk_over_count": talk.talk_overs,
        "barge_in_yield_rate": _rate(talk.yields, talk.talk_overs),
    }


def _added(values: array[float] | None, value: float) -> array[float]:
    values = array("d") if values is None else values
    values.append(value)
    if len(values) > _MOST_VALUES:
        del values[0]
    return values


def _percentile(values: array[float] | None, percent: int) -> float | None:
    """Between two values in proportion, as numpy does it."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)


def _rate(some: int, whole: int) -> float | None:
    return _share(some, whole) if whole >= FEWEST else None


def _share(some: int, whole: int) -> float | None:
    return round(some / whole, 4) if whole else None


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / _NS, 3)
