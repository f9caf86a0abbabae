"""Runs every measurement in a process of its own, one after the other, and makes the page.

python -m benchmarks [NAME ...] [--quick] [--minutes 45]

What fails, or takes too long, is told and stops nothing; its results of an earlier run stay.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

from benchmarks import report
from benchmarks.results import ROOT

#: The modules that measure, and after how many seconds each counts as stuck.
MEASUREMENTS = {
    "receive": 480,
    "all_threads": 600,
    "sockets": 240,
    "send": 360,
    "export": 180,
    "start_up": 240,
    "event_loop": 720,
    "memory": 900,
    "recorder": 600,
    "frameworks": 900,
    "page": 240,
}


def main() -> int:
    """The number of measurements that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(MEASUREMENTS)}; all without")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--minutes", type=float, default=45.0, help="after which nothing more is begun")
    options = parser.parse_args()
    unknown = set(options.names) - MEASUREMENTS.keys()
    if unknown:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    ends = time.monotonic() + options.minutes * 60
    failed = [name for name in options.names or MEASUREMENTS if not _run(name, ends, quick=options.quick)]
    report.make()
    if failed:
        print(f"not measured, or not all of it: {', '.join(failed)}")
    return len(failed)


def _run(name: str, ends: float, *, quick: bool) -> bool:
    begun = time.monotonic()
    seconds = min(MEASUREMENTS[name], ends - begun)
    if seconds <= 0:
        return False
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    # A session of its own, so that it can be ended with all that it has started.
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"{name} was not done after {seconds:.0f} s")
            status = -1
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    print(f"== {name}: {time.monotonic() - begun:.0f} s", flush=True)
    return status == 0


if __name__ == "__main__":
    sys.exit(main())
