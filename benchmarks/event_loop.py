"""The event loop: how late it is while conversations go on, and how long it is held when they end.

    python -m benchmarks.event_loop [--quick]

Each way is run in a process of its own, one after the other, against servers in another process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.call_servers import APPEND, DELTA, CallServers
from benchmarks.long_call import SPEED
from benchmarks.many_conversations import environment
from benchmarks.results import ROOT, UNTRACED, VOICESPAN, Result, Row, row, run

if TYPE_CHECKING:
    from collections.abc import Iterator

LANGSMITH = "wrap_realtime"
_WAYS = (UNTRACED, VOICESPAN, LANGSMITH)
#: Turns come so much faster than the rest of a long call, so that it has 1,080 of them in an hour.
_TURNS = 6


def measure(*, quick: bool) -> Iterator[Result]:
    """Many calls at once, then a long one."""
    yield Result(
        name="loop-delay",
        title="Event loop: delay while conversations go on, and when all of them end at once",
        chapter="loop",
        method="Real clients hold calls whose servers are another process, with microphones and answers in frames "
        f"of {APPEND:g} and {DELTA:g} seconds; they read frames as they come (`recv_bytes`) and send what was made "
        "before (`send_raw`), but for `wrap_realtime`, which sees only what is read as models. They hand 20 ms at a "
        "time to the recorder. A task wakes every 10 ms; a delay "
        "is by how much too late. The end: all calls hang up in the same half second.",
        rows=list(_many((1, 20) if quick else (1, 50, 500), seconds=6 if quick else 20)),
        notes=["What the machine itself adds stands in the rows of the untraced run."],
    )
    minutes = 2.0 if quick else 60.0
    yield Result(
        name="loop-long-call",
        title=f"Event loop: the end of a recorded call of {minutes:g} minutes",
        chapter="loop",
        method=f"One call, {SPEED:g} times as fast as people speak, with {_TURNS} times as many turns. The longest "
        "hold is the largest delay of a task that wakes every 2 ms, from the moment in which the application "
        "leaves its `async with` until three seconds after it has. The `langsmith` package keeps the first "
        "ten minutes of the audio.",
        rows=list(_long(minutes, rounds=1)),
        notes=[
            "At this speed the encoder cannot follow: the seconds afterwards are busier than in a real call."
        ],
    )


def _many(counts: tuple[int, ...], seconds: float) -> Iterator[Row]:
    for count in counts:
        for way in _WAYS:
            found = _held(
                "benchmarks.call_centre",
                way,
                "--lean",
                conversations=count,
                seconds=seconds + count / 20,
                shortest=2 * seconds,
                longest=2 * seconds,
            )
            label = f"{count} at once"
            if isinstance(found, str):
                yield Row(label, way, None, "ms", note=found)
                continue
            goal = 20.0 if way == VOICESPAN and count == max(counts) > 100 else None
            during, ending = found["loop_ms"], found["loop_at_the_end_ms"]
            yield Row(f"{label}: p50", way, during["p50"], "ms")
            yield Row(f"{label}: p99", way, during["p99"], "ms", at_most=goal)
            yield Row(f"{label}: max", way, during["max"], "ms")
            yield Row(f"{label}, the end: p99", way, ending["p99"], "ms")
            yield Row(f"{label}, the end: max", way, ending["max"], "ms")


def _long(minutes: float, rounds: int) -> Iterator[Row]:
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in _WAYS}
    for _ in range(rounds):
        for way, runs in found.items():
            held = _held("benchmarks.long_call", way, speed=SPEED * _TURNS, minutes=minutes)
            if not isinstance(held, str):
                runs.append(held)
    for way, runs in found.items():
        if not runs:
            yield Row("the end: longest hold", way, None, "ms", note="did not come to its end")
            continue
        yield row("during: p99", way, [each["during_ms"]["p99"] for each in runs], "ms")
        yield row("during: longest hold", way, [each["during_ms"]["max"] for each in runs], "ms")
        yield row("leaving the block", way, [each["closing_ms"] for each in runs], "ms")
        yield row("the end: longest hold", way, [each["ending_ms"]["max"] for each in runs], "ms")
    bare = [each["ending_ms"]["max"] for each in found[UNTRACED]]
    for way in (VOICESPAN, LANGSMITH):
        more = [each["ending_ms"]["max"] - hold for each, hold in zip(found[way], bare, strict=False)]
        if more:
            goal = 10.0 if way == VOICESPAN else None
            yield row("the end: more than untraced", way, more, "ms", at_most=goal)


def _held(module: str, way: str, *flags: str, speed: float = 1.0, **options: float) -> dict[str, Any] | str:
    """What a process saw that holds calls, or why it did not come to its end."""
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder, CallServers(Path(folder) / "sent", speed=speed) as servers:
        held = subprocess.run(
            [sys.executable, "-m", module, "--way", way, "--url", servers.realtime_url, *arguments, *flags],
            cwd=ROOT,
            env={**environment(servers, Path(folder) / "spool"), "VOICESPAN_SHUTDOWN_TIMEOUT": "2"},
            capture_output=True,
            text=True,
            check=False,
        )
    if held.returncode:
        return f"failed: {(held.stderr.strip().splitlines() or ['?'])[-1]:.100}"
    return json.loads(held.stdout.splitlines()[-1])


if __name__ == "__main__":
    run(measure)
