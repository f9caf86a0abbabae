"""The figures of a call in a line, for a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def in_words(facts: Mapping[str, Any]) -> str:
    """What the root's metadata say of a call; empty where they say nothing.

    Args:
        facts: By the names of `docs/figures.md`. An application may have set what it likes under these.
    """
    known = {name: fact for name, fact in facts.items() if _is_number(fact)}
    phrases = [
        phrase(*(known[name] for name in names)) for names, phrase in _PHRASES if known.keys() >= set(names)
    ]
    return "; ".join(filter(None, phrases))


def _is_number(fact: object) -> bool:
    return isinstance(fact, (bool, int, float)) and math.isfinite(fact)


def _count(number: float, noun: str, after: str = "") -> str:
    """Nothing where there is none."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}{after}" if number else ""


#: Figures, and what is said where all of them are known.
_PHRASES: tuple[tuple[tuple[str, ...], Callable[..., str]], ...] = (
    (
        ("response_gap_p50_ms", "response_gap_max_ms"),
        lambda typical, most: f"answers after {typical / 1000:.2f} s, {most / 1000:.2f} s at most",
    ),
    (("greeting_ms",), lambda took: f"greeting after {took / 1000:.2f} s"),
    (("user_turn_count",), lambda number: _count(number, "turn")),
    (("unanswered_turn_count",), lambda number: f"{number:g} unanswered" if number else ""),
    (("barge_in_count",), lambda number: _count(number, "barge-in")),
    (("barge_in_p50_ms",), lambda took: f"silent {took:.0f} ms after that"),
    (("user_talk_share", "agent_talk_share"), lambda user, agent: f"talk {user:.0%} user, {agent:.0%} agent"),
    (("overlap_s",), lambda both: f"both at once {both:.1f} s"),
    (
        ("silence_share", "longest_silence_s"),
        lambda share, most: f"silence {share:.0%}, {most:.1f} s at most",
    ),
    (("tool_latency_p50_ms",), lambda took: f"functions {took:.0f} ms"),
    (
        ("inaudible_answer_count",),
        lambda number: _count(number, "answer", " that nobody could hear"),
    ),
    (("microphone_dead",), lambda dead: "a dead microphone" if dead else ""),
)
