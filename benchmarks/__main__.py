"""Runs every measurement in a process of its own, one after the other, and makes the page.

python -m benchmarks [NAME ...] [--quick]

What fails, or takes too long, is told and stops nothing; its results of an earlier run stay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks import report
from benchmarks.results import ROOT

#: The modules that measure, and after how many seconds each counts as stuck.
MEASUREMENTS = {
    "receive": 600,
    "send": 240,
    "event_loop": 600,
    "memory": 420,
    "recorder": 300,
    "export": 240,
    "start_up": 240,
}


def main() -> int:
    """The number of measurements that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(MEASUREMENTS)}; all without")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    options = parser.parse_args()
    unknown = set(options.names) - MEASUREMENTS.keys()
    if unknown:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    failed = [name for name in options.names or MEASUREMENTS if not _run(name, quick=options.quick)]
    report.make()
    if failed:
        print(f"not measured: {', '.join(failed)}")
    return len(failed)


def _run(name: str, *, quick: bool) -> bool:
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    try:
        status = subprocess.run(command, cwd=ROOT, timeout=MEASUREMENTS[name], check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"{name} was not done after {MEASUREMENTS[name]} s")
        return False
    print(f"== {name}: {time.monotonic() - begun:.0f} s", flush=True)
    return status == 0


if __name__ == "__main__":
    sys.exit(main())
