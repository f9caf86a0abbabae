"""The figures of a call in a line, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def in_words(facts: Mapping[str, Any]) -> str:
    """What the root's metadata say of a call; empty where they say nothing.

    Args:
        facts: By the names of `docs/figures.md`.
    """
    return "; ".join(_parts({name: fact for name, fact in facts.items() if fact is not None}))


def _parts(facts: Mapping[str, Any]) -> Iterator[str]:
    if "response_gap_p50_ms" in facts:
        typical, longest = facts["response_gap_p50_ms"] / 1000, facts["response_gap_max_ms"] / 1000
        yield f"answers after {typical:.2f} s, {longest:.2f} s at most"
    if "greeting_ms" in facts:
        yield f"greeting after {facts['greeting_ms'] / 1000:.2f} s"
    if facts.get("user_turn_count"):
        unanswered = facts["unanswered_turn_count"]
        yield _count(facts["user_turn_count"], "turn") + (f", {unanswered} unanswered" if unanswered else "")
    if facts.get("barge_in_count"):
        silent = f", silent after {facts['barge_in_p50_ms']:.0f} ms" if "barge_in_p50_ms" in facts else ""
        yield _count(facts["barge_in_count"], "barge-in") + silent
    if "user_talk_share" in facts:
        yield f"talk {facts['user_talk_share']:.0%} user, {facts['agent_talk_share']:.0%} agent"
        yield f"both at once {facts['overlap_s']:.1f} s"
        yield f"silence {facts['silence_share']:.0%}, {facts['longest_silence_s']:.1f} s at most"
    if "tool_latency_p50_ms" in facts:
        yield f"functions {facts['tool_latency_p50_ms']:.0f} ms"
    if facts.get("inaudible_answer_count"):
        yield _count(facts["inaudible_answer_count"], "answer") + " that nobody could hear"
    if facts.get("microphone_dead"):
        yield "a dead microphone"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
