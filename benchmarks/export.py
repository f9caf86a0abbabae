"""Export: what is sent for a conversation, and what it costs the process to send it.

python -m benchmarks.export [--quick]
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import frames_openai, peers, sessions, ways
from benchmarks.results import UNTRACED, VOICESPAN, Result, Row, row, run
from benchmarks.ways import WRAP_REALTIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.sessions import Opening
    from benchmarks.ways import Way

_METHOD = """\
Whole conversations of 10, 100 and 1000 turns, without a recording, against a LangSmith server in another
process. Bytes are those of the requests' bodies as they cross the wire, in whichever encoding each way sends
them. CPU is what all threads of the process use from the opening of the session until everything has been
delivered, less what the untraced session beside it uses."""
_NOTE = """\
Requests of the `langsmith` package are compressed (zstd), voicespan's are not, so what is sent cannot be compared
between the two, only how it grows. Content is what has been told in the end, whatever the encoding: the JSON of
the inputs, outputs and metadata of all runs that the server has."""


@dataclass
class Exported:
    """One conversation."""

    cpu_ms: float
    kilobytes: float
    content: float
    runs: int


async def one(opening: Opening, way: Way, frames: list[bytes]) -> Exported:
    """Hold it and wait until it is delivered."""
    gc.collect()
    ways.forget()
    begun = time.process_time()
    async with opening(way) as session:
        session.transport.fill(frames)
        with way.at_work():
            await session.read(len(frames))
    way.flush()
    cpu = time.process_time() - begun
    got = ways.received()
    return Exported(cpu * 1000, got["bytes"] / 1000, got["content"] / 1000, got["runs"])


def conversations(turns: int, names: list[str], rounds: int) -> dict[str, list[Exported]]:
    """So many conversations of `turns` turns in each way, in turn."""
    frames = frames_openai.turns(turns, audio=False)
    found: dict[str, list[Exported]] = {name: [] for name in names}
    with sessions.opening("openai") as opening:
        for round_ in range(rounds):
            made = ways.made(names)
            for way in made[round_ % len(made) :] + made[: round_ % len(made)]:
                found[way.name].append(asyncio.run(one(opening, way, frames)))
    return found


def measure(*, quick: bool) -> Iterator[Result]:
    """One table, and how the bytes grow as lines."""
    names = [UNTRACED, VOICESPAN, WRAP_REALTIME]
    conversations(3, names, 1)  # warms everything up
    plan = ((10, 2), (100, 1)) if quick else ((10, 5), (100, 5), (1000, 1))
    rows: list[Row] = []
    sent: dict[str, dict[int, float]] = {name: {} for name in names[1:]}
    told: dict[str, dict[int, float]] = {name: {} for name in names[1:]}
    for turns, rounds in plan:
        found = conversations(turns, names, rounds)
        costs: list[Row] = []
        sends: list[Row] = []
        contents: list[Row] = []
        for way in names[1:]:
            label = f"a conversation of {turns} turns"
            pairs = zip(found[way], found[UNTRACED], strict=True)
            costs.append(
                row(f"{label}: CPU", way, [mine.cpu_ms - bare.cpu_ms for mine, bare in pairs], "ms more")
            )
            sends.append(row(f"{label}: sent", way, [each.kilobytes for each in found[way]], "kB"))
            content = row(f"{label}: content", way, [each.content for each in found[way]], "kB")
            contents.append(replace(content, note=f"{found[way][-1].runs} runs"))
            sent[way][turns], told[way][turns] = sends[-1].value or 0.0, content.value or 0.0
        rows += costs + sends + contents
    yield Result(
        name="export",
        title="Bytes and CPU of a conversation",
        chapter="export",
        method=_METHOD,
        rows=_growth("bytes", sent) + _growth("content", told) + rows,
        notes=[_NOTE],
        versions=peers.versions(),
        series={way: [(float(turns), size) for turns, size in sizes.items()] for way, sizes in told.items()},
        axes=("turns", "kB of content"),
    )


def _growth(what: str, kilobytes: dict[str, dict[int, float]]) -> list[Row]:
    rows = []
    for way, sizes in kilobytes.items():
        ours = way == VOICESPAN
        for few, many in zip(list(sizes), list(sizes)[1:], strict=False):
            if sizes[few]:
                rows.append(
                    Row(
                        f"{what} of {many} turns against {few}",
                        way,
                        sizes[many] / sizes[few],
                        "times",
                        at_least=9.0 if ours else None,
                        at_most=11.0 if ours else None,
                    )
                )
    return rows


if __name__ == "__main__":
    run(measure)
