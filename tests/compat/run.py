"""Runs tests with other versions of the libraries than those of `make test`, each in an environment of its own.

    python tests/compat/run.py            all of them, as many at once as there are processors
    python tests/compat/run.py openai-2   those whose names begin so
    python tests/compat/run.py --list

Which they are is the table in `runs.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from environments import ROOT, VOICESPAN, environment, interpreter
from runs import RUNS, Run


def main(arguments: list[str]) -> int:
    """Run them; 1 if any failed."""
    chosen = [run for run in RUNS if not arguments or run.name.startswith(tuple(arguments))]
    if arguments == ["--list"] or not chosen:
        for run in RUNS:
            print(f"{run.name:26} {' '.join(run.packages):60} {run.why}")
        return 0 if arguments == ["--list"] else 2
    # The longest first: the last one has a processor to itself and leaves the others idle.
    chosen.sort(key=lambda run: run.tests != ("tests",))
    with ThreadPoolExecutor(os.cpu_count()) as running:
        passed = list(running.map(_passes, chosen))
    failed = [run.name for run, good in zip(chosen, passed, strict=True) if not good]
    print(f"\n{len(chosen) - len(failed)} environments passed, {len(failed)} failed {' '.join(failed)}")
    return 1 if failed else 0


def _passes(run: Run) -> bool:
    title = f"-- {run.name}: {' '.join(run.packages)}  ({run.why})"
    python = interpreter(run.python) if run.python else sys.executable
    if python is None:
        print(f"\n{title}\n-- {run.name}: not run, there is no Python {run.python} here", flush=True)
        return True
    began = time.monotonic()
    group = ("--group", f"{ROOT / 'pyproject.toml'}:{run.group}")
    made = environment(run.name, (*VOICESPAN, *group, *run.packages), python=python)
    # The tests check that they run with what is meant here.
    environ = {**os.environ, "VOICESPAN_COMPAT": " ".join(run.packages)}
    if run.kind:
        environ["VOICESPAN_ENVIRONMENT"] = run.kind
    command = [str(made), "-m", "pytest", "-q", "-p", "no:cacheprovider", *run.tests]
    if run.tests == ("tests",):
        # All of them wait for more than half of their time. A Collector, where one was built, has a section of its own.
        command += ["-n", "2", "--dist", "worksteal", "--ignore", "tests/collector"]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    ended = "passed" if result.returncode == 0 else "FAILED"
    # In one piece, since several run at once.
    print(f"\n{title}\n{result.stdout}-- {run.name}: {ended} in {time.monotonic() - began:.0f} s", flush=True)
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
