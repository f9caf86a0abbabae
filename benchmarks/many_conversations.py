"""Hundreds of recorded conversations in one process, with a LangSmith that is slow.

    python -m benchmarks.many_conversations [--conversations 500] [--minutes 10]

First the same calls untraced, for at most two minutes, then traced and recorded for the whole time. Then it
is looked at what came of them: every trace delivered, every recording whole, nothing counted as dropped. On
two cores: one process holds the calls, another one is the servers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.call_audio import listen
from benchmarks.call_servers import KEY, CallServers
from benchmarks.results import ROOT, UNTRACED, VOICESPAN

#: How many recordings are listened to.
_SAMPLE = 40
_UNTRACED_SECONDS = 120.0
#: The lag of the event loop that is allowed, in milliseconds.
_LOOP_P99 = 20.0


def run(way: str, servers: CallServers, spool: Path, conversations: int, seconds: float) -> dict[str, Any]:
    """Hold the calls in a process of their own; what it saw."""
    longest = min(240.0, max(seconds / 2, 4.0))
    options = {
        "way": way,
        "url": servers.realtime_url,
        "conversations": conversations,
        "seconds": seconds,
        "shortest": longest / 4,
        "longest": longest,
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    held = subprocess.run(
        [sys.executable, "-m", "benchmarks.call_centre", *arguments],
        cwd=ROOT,
        env=environment(servers, spool),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(held.stdout.splitlines()[-1])


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


def deliver_the_rest(servers: CallServers, spool: Path) -> float:
    """Send what the process left, as whoever runs such a service does; seconds that it took."""
    servers.hurry()
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "voicespan", "recover"],
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
    sample = random.Random(1).sample(recorded, min(_SAMPLE, len(recorded)))
    heard = [listen(Path(each["recording"]), int(each["metadata"]["handed_over"])) for each in sample]
    return {
        "delivered": len(delivered),
        "with_recording": len(recorded),
        "as_flac": sum(each["recording"].endswith(".flac") for each in recorded),
        "dropped_bytes": sum(int(each.get("recording_dropped_bytes", 0)) for each in facts),
        "dropped_spans": sum(int(each.get("dropped_spans", 0)) for each in facts),
        "recordings_heard": len(heard),
        "recordings_whole": sum(each.whole for each in heard),
        "chunks_missing": sum(each.missing for each in heard),
        "longest_by_seconds": round(max((abs(each.longer) for each in heard), default=0.0), 3),
    }


def load(
    conversations: int, seconds: float, *, ways: tuple[str, ...] = (UNTRACED, VOICESPAN), slow: bool = True
) -> dict[str, dict[str, Any]]:
    """What was seen of each way, and under `outcome` what came of the traced conversations."""
    folder = Path(tempfile.mkdtemp(prefix="voicespan-load-"))
    spool = folder / "spool"
    found: dict[str, dict[str, Any]] = {}
    try:
        with CallServers(folder / "delivered", slow=slow) as servers:
            for way in ways:
                longest = _UNTRACED_SECONDS if way == UNTRACED else seconds
                found[way] = run(way, servers, spool, conversations, min(seconds, longest))
            before = len(servers.conversations())
            took = deliver_the_rest(servers, spool)
            outcome = examine(servers.conversations())
        left = len(list(spool.iterdir())) if spool.exists() else 0
        delivery = {"delivered_by_the_exit": before, "rest_took_seconds": took, "left_in_spool": left}
        return {**found, "outcome": {**delivery, **outcome}}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    found = load(asked.conversations, asked.minutes * 60)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
