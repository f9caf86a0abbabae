"""Hundreds of recorded conversations in one process, with a LangSmith that is slow.

    python -m benchmarks.many_conversations [--conversations 500] [--minutes 10]

First the same calls untraced, then traced and recorded, then with `voicespan deliver` beside them, each for the whole
time. Then it is looked at what came of
them: every trace delivered, every recording whole, nothing counted as dropped. On two cores: one process holds the
calls, another one is the servers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.call_audio import listen
from benchmarks.call_servers import APPEND, DELTA, KEY, CallServers
from benchmarks.results import DELIVERED, ROOT, UNTRACED, VOICESPAN, Result, Row, save, show, speed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

#: How many recordings are listened to.
_SAMPLE = 40
#: The lag of the event loop that is allowed, in milliseconds.
_LOOP_P99 = 20.0
#: Per cent of a core that the application's process may take more than untraced where another one delivers.
_MORE_OF_A_CORE = 60.0


def run(
    way: str, servers: CallServers, spool: Path, conversations: int, seconds: float, *, longest: float
) -> dict[str, Any]:
    """Hold the calls, of which the longest lasts so many seconds, in a process of their own; what it saw."""
    options = {
        "way": way,
        "url": servers.realtime_url,
        "conversations": conversations,
        "seconds": seconds,
        "shortest": longest / 4,
        "longest": longest,
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    environ = environment(servers, spool)
    if way == DELIVERED:
        environ = {**environ, "VOICESPAN_DELIVERY": "spool"}
        del environ["LANGSMITH_API_KEY"]
    with Deliverer(servers, spool) if way == DELIVERED else contextlib.nullcontext() as deliverer:
        held = subprocess.run(
            [sys.executable, "-m", "benchmarks.call_centre", *arguments, "--lean"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found: dict[str, Any] = json.loads(held.stdout.splitlines()[-1])
        if deliverer is not None:
            found["deliverer"] = deliverer.used()
    return found


class Deliverer:
    """`voicespan deliver` beside the calls."""

    def __init__(self, servers: CallServers, spool: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "voicespan", "deliver", "--spool-dir", str(spool)],
            cwd=ROOT,
            env=environment(servers, spool),
            stdout=subprocess.DEVNULL,
        )
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def used(self) -> dict[str, float]:
        """Its share of a core until now, and the most memory that it had."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1000
        return {
            "share_of_a_core": round(spent / (time.monotonic() - self._begun), 3),
            "peak_mb": round(peak, 1),
        }


def _longest(seconds: float) -> float:
    """How long the longest call lasts; the shortest lasts a quarter of that."""
    return min(240.0, max(seconds / 2, 4.0))


def environment(servers: CallServers, spool: Path) -> dict[str, str]:
    """Where voicespan, and the langsmith package, deliver to."""
    ours = ("LANGSMITH_", "LANGCHAIN_", "VOICESPAN_", "OTEL_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "LANGSMITH_ENDPOINT": servers.langsmith_url,
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_TRACING": "true",
        "VOICESPAN_SPOOL_DIR": str(spool),
        # A minute of a call is up to 1.7 MB until it is encoded: the default would hold 500 for 2.5 minutes.
        "VOICESPAN_SPOOL_MAX_BYTES": str(64 << 30),
        **{name: value for name, value in os.environ.items() if name.startswith("VOICESPAN_BENCH")},
    }


def deliver_the_rest(servers: CallServers, spool: Path, way: str) -> float:
    """Send what the process left, as whoever runs such a service does; seconds that it took."""
    servers.hurry()
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "voicespan", *(["deliver", "--once"] if way == DELIVERED else ["recover"])],
        cwd=ROOT,
        env=environment(servers, spool),
        check=False,
        stdout=subprocess.DEVNULL,
    )
    return round(time.monotonic() - begun, 1)


def examine(delivered: list[dict[str, Any]]) -> dict[str, Any]:
    """What of the conversations is not as it should be."""
    facts = [each["metadata"] for each in delivered]
    recorded = [each for each in delivered if each["recording"]]
    silent = [each["metadata"] for each in delivered if not each["recording"]]
    sample = random.Random(1).sample(recorded, min(_SAMPLE, len(recorded)))
    heard = [listen(Path(each["recording"]), int(each["metadata"]["handed_over"])) for each in sample]
    explained = [int(each["metadata"].get("recording_dropped_bytes", 0)) > 0 for each in sample]
    return {
        "delivered": len(delivered),
        "with_recording": len(recorded),
        "without": dict(Counter(each.get("ls_audio_attach_status", "no status") for each in silent)),
        "as_flac": sum(each["recording"].endswith(".flac") for each in recorded),
        "dropped_bytes": sum(int(each.get("recording_dropped_bytes", 0)) for each in facts),
        "dropped_spans": sum(int(each.get("dropped_spans", 0)) for each in facts),
        "recordings_heard": len(heard),
        "recordings_whole": sum(each.whole for each in heard),
        "recordings_unexplained": sum(
            not each.whole and not counted for each, counted in zip(heard, explained, strict=True)
        ),
        "chunks_missing": sum(each.missing for each in heard),
        "longest_by_seconds": round(max((abs(each.longer) for each in heard), default=0.0), 3),
    }


def load(
    conversations: int, seconds: float, *, ways: tuple[str, ...] = (UNTRACED, VOICESPAN), slow: bool = True
) -> dict[str, dict[str, Any]]:
    """What was seen of each way, and under `outcome` what came of the traced conversations, which are the last way's."""
    folder = Path(tempfile.mkdtemp(prefix="voicespan-load-"))
    spool = folder / "spool"
    found: dict[str, dict[str, Any]] = {}
    try:
        with CallServers(folder / "delivered", slow=slow) as servers:
            for way in ways:
                found[way] = run(way, servers, spool, conversations, seconds, longest=_longest(seconds))
            before = len(servers.conversations())
            took = deliver_the_rest(servers, spool, ways[-1])
            outcome = examine(servers.conversations())
        left = len(list(spool.iterdir())) if spool.exists() else 0
        calls = found[ways[-1]]["calls"]
        delivery = {
            "calls": calls,
            "delivered_by_the_exit": before,
            "rest_took_seconds": took,
            "left_in_spool": left,
        }
        return {**found, "outcome": {**delivery, **outcome}}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def result(conversations: int, minutes: float, found: dict[str, dict[str, Any]]) -> Result:
    """The page's table of it."""
    return Result(
        name=f"load-{conversations}",
        title=f"{conversations} recorded conversations at once, for {minutes:g} minutes, LangSmith slow",
        chapter="load",
        method=f"One process holds the calls with real clients; each lasts {_longest(minutes * 60) / 4:g} to "
        f"{_longest(minutes * 60):g} seconds, and another one follows it. "
        f"Microphones send every {APPEND:g} s, answers come every {DELTA:g} s: 500 calls with 20 ms in a frame are "
        "more than one process can hold, traced or not. For the same reason the application reads frames as they "
        "come (`recv_bytes`) and sends what was made before (`send_raw`). Both sides are handed to the recorder "
        "20 ms at a time. LangSmith thinks two to five seconds about each request and reads 2 MB a second. "
        "Servers are another process on the same two cores. A frame is late by the time from its sending in "
        "that process to its arrival in the application.",
        rows=[
            *_rows(found),
            *_outcome(found["outcome"], VOICESPAN),
            *_outcome(found["outcome_delivered"], DELIVERED),
        ],
        notes=_notes(found),
        series={
            name: [(each["seconds"] / 60, each[key]) for each in found[VOICESPAN]["samples"]]
            for name, key in (("resident memory, MB", "resident_mb"), ("loop p99, ms", "loop_p99_ms"))
        },
        axes=("minutes", "MB, ms"),
    )


def _rows(found: dict[str, dict[str, Any]]) -> Iterator[Row]:
    for way in (UNTRACED, VOICESPAN, DELIVERED):
        seen = found[way]
        goal = _LOOP_P99 if way != UNTRACED else None
        for quantile, late in seen["loop_ms"].items():
            yield Row(f"event loop: {quantile}", way, late, "ms", at_most=goal if quantile == "p99" else None)
        yield Row("event loop, all hang up: p99", way, seen["loop_at_the_end_ms"]["p99"], "ms")
        yield Row(
            "calls that could not connect in time",
            way,
            seen["calls_failed"],
            "calls",
            note=f"of {seen['calls']}",
        )
        for quantile, late in seen["frames_late_ms"].items():
            yield Row(f"frames late: {quantile}", way, late, "ms")
        for least, frames in seen["frames_later_than_ms"].items():
            yield Row(
                f"frames late by more than {least} ms",
                way,
                100 * frames / max(seen["frames"], 1),
                "%",
                note=f"{frames} of {seen['frames']}",
            )
        for thread, share in sorted(seen["share_of_a_core"].items()):
            goal = 100 * found[UNTRACED]["share_of_a_core"]["all"] + _MORE_OF_A_CORE
            bound = goal if (way, thread) == (DELIVERED, "all") else None
            yield Row(f"processor: {thread}", way, share * 100, "% of a core", at_most=bound)
        if "deliverer" in seen:
            used = seen["deliverer"]
            yield Row("processor: the deliverer", way, used["share_of_a_core"] * 100, "% of a core")
            yield Row("memory: the deliverer, at most", way, used["peak_mb"], "MB")
        memory = [each["resident_mb"] for each in seen["samples"]] if way != UNTRACED else []
        half = memory[len(memory) // 2 :]
        if half:
            yield Row(
                "memory: grew in the second half", way, half[-1] - half[0], "MB", note=f"of {half[-1]:.0f}"
            )


def _outcome(outcome: dict[str, Any], way: str) -> Iterator[Row]:
    heard = outcome["recordings_heard"]
    whole = 100 * outcome["recordings_whole"] / max(1, heard)
    yield Row("audio dropped", way, outcome["dropped_bytes"], "bytes", at_most=0)
    yield Row("spans dropped", way, outcome["dropped_spans"], "spans", at_most=0)
    yield Row("recordings that are whole", way, whole, "%", at_least=100, note=f"of {heard} that were heard")
    without = ", ".join(f"{count} without: {status}" for status, count in sorted(outcome["without"].items()))
    yield Row("delivered with recording", way, outcome["with_recording"], "conversations", note=without)
    yield Row(
        "not delivered in the end",
        way,
        outcome["calls"] - outcome["delivered"],
        "conversations",
        at_most=0,
    )


def _notes(found: dict[str, dict[str, Any]]) -> list[str]:
    outcome, traced = found["outcome"], found[VOICESPAN]
    spool = max((each.get("spool_mb", 0) for each in traced["samples"]), default=0)
    encoding = (
        f"What gives way first is the encoding to Opus: {outcome['as_flac']} of {outcome['with_recording']} "
        "recordings went as FLAC, for one core encodes some 60 calls as they go on, and the event loop and the "
        "writer come first."
    )
    disk = (
        f"Next would be the spool, which grew to {spool:.0f} MB: a minute of a call is up to 1.7 MB until it is "
        "encoded or sent, so that VOICESPAN_SPOOL_MAX_BYTES, 2 GiB by default, was raised for this run."
    )
    delivery = (
        f"At the end {outcome['delivered_by_the_exit']} of {outcome['calls']} conversations had been delivered; the "
        f"exit took {traced['exit_seconds']} s, and `voicespan recover`, with a LangSmith that is not slow, "
        f"{outcome['rest_took_seconds']} s for the rest."
    )
    collector = (
        "What makes some frames late all the same, traced or not, is mostly Python's garbage collector: see "
        "[Under load](reliability.md#under-load)."
    )
    return [encoding, disk, delivery, collector]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    before = speed()
    seconds = asked.minutes * 60
    found = load(asked.conversations, seconds)
    delivered = load(asked.conversations, seconds, ways=(DELIVERED,))
    found |= {DELIVERED: delivered[DELIVERED], "outcome_delivered": delivered["outcome"]}
    told = replace(result(asked.conversations, asked.minutes, found), speed=(before, speed()))
    kept = save(told)
    # Beside the folder of the results, where each file is one.
    kept.parent.with_name(kept.name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(told)


if __name__ == "__main__":
    main()
