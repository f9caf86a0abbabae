"""Pairs of runs on a machine that does other things as well.

Everything here is measured in the processor time of the thread that does it (`time.thread_time`), because
another process that takes the processor away must not count. What it cannot keep from counting is that a
neighbour warms or cools the caches and the clock frequency. That changes over seconds, and is the same for
two runs that follow each other within milliseconds; so the ways are run in turn, in short blocks, the order
rotated from round to round, and what is compared is always a block with the untraced one beside it.

The garbage collector is off inside a block and run between the rounds, for all ways alike.
"""

from __future__ import annotations

import gc
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.results import UNTRACED, VOICESPAN, Row, row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    #: Runs one block and returns its seconds of processor time.
    Block = Callable[[], Awaitable[float]]


@dataclass
class Paired:
    """Microseconds per frame: for each way its blocks, grouped by round."""

    rounds: dict[str, list[list[float]]]
    #: How many runs LangSmith has of each turn, where whole sessions were delivered.
    runs: dict[str, float] = field(default_factory=dict)

    def absolute(self, way: str) -> list[float]:
        """What one frame cost, round by round."""
        return [statistics.median(blocks) for blocks in self.rounds[way]]

    def added(self, way: str) -> list[float]:
        """What the way added to the untraced block beside it: the median of each round."""
        together = zip(self.rounds[way], self.rounds[UNTRACED], strict=True)
        return [
            statistics.median(with_ - without for with_, without in zip(*pair, strict=True))
            for pair in together
        ]

    def best(self, way: str) -> float:
        """The difference of the best blocks of all."""
        return min(min(blocks) for blocks in self.rounds[way]) - min(
            min(blocks) for blocks in self.rounds[UNTRACED]
        )


async def interleaved(blocks: Mapping[str, Block], *, frames: int, rounds: int, each: int = 1) -> Paired:
    """Run `rounds` rounds of `each` blocks of `frames` frames of every way, after one round to warm up."""
    ways = list(blocks)
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    turn = 0
    for round_ in range(rounds + 1):
        gc.collect()
        gc.disable()
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(each):
            turn += 1
            for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                times[way].append(await blocks[way]() / frames * 1e6)
        gc.enable()
        if round_:
            for way in ways:
                found[way].append(times[way])
    return Paired(found)


def together(found: list[Paired]) -> Paired:
    """The rounds of several processes."""
    return Paired({way: [round_ for each in found for round_ in each.rounds[way]] for way in found[0].rounds})


def rows(
    label: str,
    found: Paired,
    *,
    at_most: float | None = None,
    ratio_at_most: float | None = None,
    ratio: bool = True,
) -> list[Row]:
    """The rows of one comparison: the untraced frame, what each way adds, and voicespan against each peer.

    Args:
        label: What a frame is.
        found: What was measured.
        at_most: The target for what voicespan adds, in microseconds.
        ratio_at_most: The target for that as a part of what a peer adds.
        ratio: Whether the two do the same, so that they can be compared.
    """
    table = [row(label, UNTRACED, found.absolute(UNTRACED), "µs")]
    peers = [way for way in found.rounds if way not in (UNTRACED, VOICESPAN)]
    for way in found.rounds:
        if way != UNTRACED:
            limit = at_most if way == VOICESPAN else None
            runs = found.runs.get(way)
            note = f"{runs:.1f} runs a turn" if runs else ""
            added = row(
                label, way, found.added(way), "µs more", best=found.best(way), at_most=limit, note=note
            )
            table.append(added)
    if ratio and VOICESPAN in found.rounds:
        table += [_against(label, found, peer, ratio_at_most) for peer in peers]
    return table


def _against(label: str, found: Paired, peer: str, at_most: float | None) -> Row:
    """What voicespan adds as a part of what a peer adds: the ratio of the medians, and the rounds' quartiles."""
    ours, theirs = found.added(VOICESPAN), found.added(peer)
    way, divisor = f"{VOICESPAN} / {peer}", statistics.median(theirs)
    if divisor <= 0:
        return Row(label, way, None, "times", note="what the peer adds is below the noise")
    # Divided by the peer's median: a round in which it added next to nothing would tell only of noise.
    return row(label, way, [mine / divisor for mine in ours], "times", at_most=at_most)
