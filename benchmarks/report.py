"""Makes docs/performance.md and its plots of what the measurements left.

    python -m benchmarks.report

The prose is here; every figure is from the files. What is not met is shown as not met.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.plots import number
from benchmarks.results import FOLDER, ROOT, UNTRACED, VOICESPAN, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Result, Row

_PAGE = ROOT / "docs" / "performance.md"
_PLOTS = ROOT / "docs" / "performance"

#: The headings of the page, in their order.
CHAPTERS = {
    "receive": "The receive path",
    "send": "The send path",
    "loop": "The event loop",
    "load": "Hundreds of recorded conversations at once",
    "memory": "Memory",
    "recorder": "The recorder",
    "export": "Export",
    "start-up": "Import, start and exit",
    "frameworks": "Agents of LiveKit and Pipecat",
    "page": "A call as one file",
}

_INTRODUCTION = """\
What voicespan costs, measured beside the same client untraced, and beside what others offer for the same. All
of it is made by one command, each table in one run and on the same frames; the hundreds of recorded conversations
by another one (`python -m benchmarks.many_conversations`):

```console
$ make bench                  # everything, in 45 minutes at most
$ make bench ONLY=receive     # one measurement, and this page again
```

This page is written by that command. {machine}

## How it is measured

What a frame costs is less than what a shared machine's figures move from one second to the next. So

- the ways are run in turn, in short blocks and in an order that rotates, and what is compared is a block with
  the untraced block beside it;
- it is the thread's own processor time that counts, not the clock on the wall;
- the garbage collector is off in the blocks and run between them, for all alike;
- shown are the median of many rounds and their quartiles (in brackets). Best is the difference between the
  quickest block of each way: where a neighbour disturbs the median, the two differ.

Compare what is in one row group. An absolute time says as much about the machine as about the code. Below each table
stands how long a loop of a million additions took before and after it: figures of two machines, or of two days, compare
by that.

"µs more" and "ms more" are what a way adds to the untraced figure above it. A row like "voicespan / wrap_realtime"
is the ratio of what the two add, paired as well.

`wrap_realtime` and `wrap_gemini_live` are the `langsmith` package's wrappers, configured to record no audio. They
and voicespan deliver to a LangSmith server on the same machine, in another process. The other peers run in
environments of their own, on the same frames, beside an untraced run in the same process.
"""

_ABSENT = """\
## Who is not in the tables

| Package | Why |
|---|---|
| `opentelemetry-instrumentation-openai` (OpenLLMetry) | replaces methods of the beta client only; it sees no frame of the clients that are measured here |
| `weave` | replaces `websockets.connect`, which the `openai` package does not call |
| `openinference-instrumentation-openai-agents` | traces the session class of the Agents SDK, which is another client |
| `langfuse-voice`, `earshot-observability` | hook nothing: the application feeds each event to them |
| `logfire`, `mlflow`, `openlit`, `agentops` | do not trace WebSocket sessions |
"""


def make() -> None:
    """Write the page and its plots."""
    results = [load(path) for path in sorted(FOLDER.glob("*.json"))]
    _PLOTS.mkdir(parents=True, exist_ok=True)
    for old in _PLOTS.glob("*.svg"):
        old.unlink()
    _PAGE.write_text("\n".join(_page(results)).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {_PAGE.relative_to(ROOT)}: {len(results)} results")


def _page(results: list[Result]) -> Iterator[str]:
    yield "# Performance\n"
    yield _INTRODUCTION.format(machine=_machine(results))
    yield "## Targets\n"
    yield from _targets(results)
    chapters = dict.fromkeys([*CHAPTERS, *(result.chapter for result in results)])
    for chapter in chapters:
        inside = [result for result in results if result.chapter == chapter]
        if inside:
            yield f"## {CHAPTERS.get(chapter, chapter.capitalize())}\n"
            for result in inside:
                yield from _result(result)
    yield _ABSENT
    yield "## Versions\n"
    yield from _versions(results)


def _machine(results: list[Result]) -> str:
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    told = (
        f"It was last written on {today:%Y-%m-%d}, on a machine of {os.cpu_count()} cores "
        f"({platform.machine()}) that others used as well, with Python {platform.python_version()}."
    )
    loads = [result.load for result in results if result.load is not None]
    if loads:
        told += (
            f" Before the measurements began, between {min(loads):.1f} and {max(loads):.1f} processes were "
            "waiting for a core (the load average of a minute)."
        )
    quick = [result.title for result in results if result.quick]
    if quick:
        told += f"\n\n**Of a quick run, whose figures mean nothing:** {'; '.join(quick)}."
    return told


def _targets(results: list[Result]) -> Iterator[str]:
    bounded = [row for result in _in_order(results) for row in result.rows if row.met is not None]
    missed = sum(row.met is False for row in bounded)
    yield f"{len(bounded)} targets, {len(bounded) - missed} of them met.\n"
    yield "| What | Measured | Target | |"
    yield "|---|--:|--:|---|"
    for row in bounded:
        what = row.label if row.way == VOICESPAN else f"{row.label}: {row.way}"
        yield f"| {what} | {_figure(row)} | {_bound(row)} | {'met' if row.met else '**not met**'} |"
    yield ""


def _in_order(results: list[Result]) -> list[Result]:
    chapters = list(CHAPTERS)
    return sorted(
        results, key=lambda each: chapters.index(each.chapter) if each.chapter in chapters else len(chapters)
    )


def _result(result: Result) -> Iterator[str]:
    yield f"### {result.title}\n"
    yield f"{result.method.strip()}\n"
    best = any(row.best is not None for row in result.rows)
    yield f"| What | Way | Median (quartiles) |{' Best |' if best else ''} Target |"
    yield f"|---|---|--:|{'--:|' if best else ''}---|"
    label = ""
    for row in result.rows:
        what, label = ("" if row.label == label else row.label), row.label
        cells = [what, row.way, f"{_figure(row)}{_quartiles(row)}"]
        if best:
            cells.append("" if row.best is None else f"{number(row.best)}")
        verdict = {None: "", True: "met", False: "**not met**"}[row.met]
        cells.append(f"{_bound(row)}: {verdict}" if verdict else "")
        yield f"| {' | '.join(cells)} |"
    yield ""
    plot = _plot(result)
    if plot is not None:
        (_PLOTS / f"{result.name}.svg").write_text(plot, encoding="utf-8")
        yield f"![{result.title}](performance/{result.name}.svg)\n"
    for note in result.notes:
        yield f"{note.strip()}\n"
    if result.speed is not None:
        yield "A loop of a million additions took {:.0f} ms before, and {:.0f} ms after.\n".format(
            *result.speed
        )


def _plot(result: Result) -> str | None:
    if result.series:
        return plots.lines(result.series, result.axes, ours=VOICESPAN)
    comparable = [row for row in result.rows if row.way != UNTRACED and row.unit != "times" and row.value]
    rows = [row for row in comparable if row.unit == comparable[0].unit]
    return plots.bars(rows, ours=VOICESPAN) if len(rows) > 1 else None


def _versions(results: list[Result]) -> Iterator[str]:
    found: dict[str, str] = {}
    for result in results:
        found.update(result.versions)
    yield "| Package | Version |"
    yield "|---|---|"
    for package, version in sorted(found.items()):
        yield f"| `{package}` | {version} |"


def _figure(row: Row) -> str:
    return f"none: {row.note}" if row.value is None else f"{number(row.value)} {row.unit}".strip()


def _quartiles(row: Row) -> str:
    spread = "" if row.spread is None else f" ({number(row.spread[0])} to {number(row.spread[1])})"
    note = f"; {row.note}" if row.note and row.value is not None else ""
    return spread + note


def _bound(row: Row) -> str:
    if row.at_most is not None and row.at_least is not None:
        return f"{number(row.at_least)} to {number(row.at_most)} {row.unit}"
    if row.at_most is not None:
        return f"at most {number(row.at_most)} {row.unit}"
    return "" if row.at_least is None else f"at least {number(row.at_least)} {row.unit}"


if __name__ == "__main__":
    make()
