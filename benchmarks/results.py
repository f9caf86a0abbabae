"""What a measurement hands over to the page: plain figures, kept as one JSON file a result.

How to add a measurement. Write a module `benchmarks/NAME.py` with

    def measure(*, quick: bool) -> Iterator[Result]:
        '''Yields each result as soon as it is there, so that one that fails later loses nothing.'''

    if __name__ == "__main__":
        run(measure)

and name the module in `MEASUREMENTS` of `benchmarks/__main__.py`. `run` reads `--quick` from the command
line, prints each result and saves it as `build/bench/RESULT.json`; `benchmarks.report` makes the page of all
the files that are there. A quick run says so in the file, and the page says so too.

A result is one table: a row for each thing that was measured and each `way` that it was done. All figures of
a row have the row's unit. A target is a bound on the row's `value`; whether it is met is never written down
but computed, so that no page can claim what its figures do not say.

    Result(
        name="loop-delay",
        title="Event loop: delay during and at the end of a conversation",
        chapter="loop",
        method="What was done, in a few sentences that stand above the table (Markdown).",
        rows=[
            Row("end of a 60-minute call", "voicespan", 4.1, "ms", spread=(3.2, 5.0), at_most=10.0),
            Row("end of a 60-minute call", "langsmith", 4210.0, "ms", spread=(4100.0, 4300.0)),
            Row("end of a 60-minute call", "other", None, "ms", note="cannot be installed: needs ..."),
        ],
        notes=["What was seen that a reader should know before believing a figure."],
    )
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).resolve().parents[1]
#: Where results are kept: ignored by git, and shared with no other checkout.
FOLDER = Path(os.environ.get("VOICESPAN_BENCH_RESULTS") or ROOT / "build" / "bench")

#: The way that is the measure of all others.
UNTRACED = "untraced"
VOICESPAN = "voicespan"
#: With `voicespan deliver` beside it, on the same cores.
DELIVERED = "voicespan deliver"


@dataclass(frozen=True)
class Row:
    """One figure."""

    #: What was measured: "audio delta, async client".
    label: str
    #: How: `UNTRACED`, `VOICESPAN`, or the peer's name with its version ("wrap_realtime").
    way: str
    #: Mostly a median. None: it could not be measured, and the note says why.
    value: float | None
    #: As it is printed after the figure: "µs", "ms", "kB", "MB", "%", "times" for a ratio.
    unit: str
    #: The first and the third quartile.
    spread: tuple[float, float] | None = None
    #: The difference of the best rounds, which a busy machine disturbs least.
    best: float | None = None
    #: The target: bounds on `value`. None: this row has no target.
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none. What was not measured is not met."""
        if self.at_most is None and self.at_least is None:
            return None
        if self.value is None:
            return False
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return above and below


@dataclass(frozen=True)
class Result:
    """One table of the page."""

    #: Also the file's name, so lower case with hyphens.
    name: str
    title: str
    #: Under which heading it stands: a key of `benchmarks.report.CHAPTERS`.
    chapter: str
    method: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    #: Packages and their versions, as they were when it was measured.
    versions: dict[str, str] = field(default_factory=dict)
    #: Lines of a plot, where a row is not enough: name of the line -> (x, y) pairs.
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    #: What the plot's axes are, with units.
    axes: tuple[str, str] = ("", "")
    quick: bool = False
    #: The load average of the minute before: what others did on the machine.
    load: float | None = None
    #: Milliseconds that a loop of a million additions took before and after: the speed that others left.
    speed: tuple[float, float] | None = None


def row(
    label: str,
    way: str,
    values: Sequence[float],
    unit: str,
    *,
    best: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """The row of several rounds: their median, and the quartiles around it."""
    middle, spread = values[0], None
    if len(values) > 1:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        spread = (low, high)
    return Row(label, way, middle, unit, spread, best, at_most, at_least, note)


def save(result: Result) -> Path:
    """Keep a result, in place of what was found for it before."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{result.name}.json"
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> Result:
    """What `save` kept."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**{**each, "spread": each["spread"] and tuple(each["spread"])}) for each in kept.pop("rows")]
    series = {name: [(x, y) for x, y in points] for name, points in kept.pop("series").items()}
    seen = kept.pop("speed", None)
    return Result(
        **{
            **kept,
            "rows": rows,
            "series": series,
            "axes": tuple(kept["axes"]),
            "speed": seen and tuple(seen),
        }
    )


def speed() -> float:
    """Milliseconds that a loop of a million additions takes: how much of a core others leave, and which core it is."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        total = 0
        for number in range(1_000_000):
            total += number
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def show(result: Result) -> None:
    """Print a result for who waits for it."""
    print(f"{result.title}{' (quick: means nothing)' if result.quick else ''}")
    for each in result.rows:
        figure = "-" if each.value is None else f"{each.value:.4g} {each.unit}"
        spread = "" if each.spread is None else f"  ({each.spread[0]:.4g} to {each.spread[1]:.4g})"
        best = "" if each.best is None else f"  best {each.best:.4g}"
        met = {None: "", True: "  met", False: "  NOT MET"}[each.met]
        print(f"  {each.label:34} {each.way:22} {figure}{spread}{best}{met}  {each.note}".rstrip())
    for note in result.notes:
        print(f"  {note}")


def run(measure: Callable[..., Iterable[Result]]) -> None:
    """The command line of a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    quick: bool = parser.parse_args().quick
    # Peers that are beta say so at every session.
    warnings.simplefilter("ignore")
    load_before, speed_before = os.getloadavg()[0], speed()
    for result in measure(quick=quick):
        # The measurement need not think of it.
        kept = replace(result, quick=quick, load=load_before, speed=(speed_before, speed()))
        save(kept)
        show(kept)
