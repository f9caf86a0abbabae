"""Runs the libraries' own tests about Realtime and WebSockets, without and with the instrumentors.

No test may fail with them that passes without them.

    python tests/compat/own_tests.py             of every library
    python tests/compat/own_tests.py websockets  of those that are named

Which libraries and which tests is in `own_suites.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from environments import CACHE, ROOT, VOICESPAN, environment
from own_suites import SUITES, Suite

if TYPE_CHECKING:
    from pathlib import Path

_TRIES = 3


def main(names: list[str]) -> int:
    """Run both ways; 1 if they differ."""
    chosen = [suite for suite in SUITES if not names or suite.name in names]
    if len(chosen) < len(names):
        print(f"there are {', '.join(suite.name for suite in SUITES)}")
        return 2
    # Two at a time: much of what they do is to wait.
    with ThreadPoolExecutor(2) as at_once:
        return max(at_once.map(_compare, chosen))


def _compare(suite: Suite) -> int:
    python = environment(f"{suite.name}-own-tests", (*VOICESPAN, "pytest", *suite.packages))
    version = subprocess.check_output(
        [python, "-c", f"from importlib.metadata import version; print(version({suite.name!r}))"], text=True
    ).strip()
    source = suite.unpacked(version)
    files = [str(path.relative_to(source)) for path in sorted(suite.chosen(source))]
    print(f"\n{suite.name} {version}: {len(files)} test files", flush=True)
    # Side by side, since each takes a minute of one core.
    with ThreadPoolExecutor() as runs:
        both = [runs.submit(_run, suite, python, source, files, instrumented=on) for on in (False, True)]
    without, with_it = (run.result() for run in both)
    broken = _only_without(without, with_it)
    # Some of these tests have deadlines, or race: what fails on a busy machine passes when it is run again ...
    for _ in range(_TRIES):
        if broken:
            again = _run(suite, python, source, broken, instrumented=True)
            with_it["complaints"] += again["complaints"]
            broken = [test for test in broken if again["outcomes"].get(test) != "passed"]
    if broken:
        # ... or fails without them as well.
        broken = _only_without(_run(suite, python, source, broken, instrumented=False), again)
    for test in broken:
        print(f"{suite.name} passes only without the instrumentors: {test}")
    for complaint in sorted(set(with_it["complaints"])):
        print(f"{suite.name}: voicespan said: {complaint}")
    untried = not with_it["conversations"]
    if untried:
        print(f"{suite.name}: no conversation was traced, so nothing was tried")
    return 1 if broken or with_it["complaints"] or untried else 0


def _only_without(without: dict[str, Any], with_it: dict[str, Any]) -> list[str]:
    return [
        test
        for test, outcome in without["outcomes"].items()
        if outcome == "passed" and with_it["outcomes"].get(test) != "passed"
    ]


def _run(suite: Suite, python: Path, source: Path, files: list[str], *, instrumented: bool) -> dict[str, Any]:
    outcomes = CACHE / f"{suite.name}-own-tests-{'with' if instrumented else 'without'}.json"
    outcomes.unlink(missing_ok=True)
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "compat"), str(source)]),
        "VOICESPAN_OUTCOMES": str(outcomes),
        "VOICESPAN_INSTRUMENTED": str(int(instrumented)),
        "VOICESPAN_SOCKETS": suite.sockets,
    }
    # Their options ask for pytest-xdist; what they say about warnings stays.
    options = [
        "-q",
        "--tb=short",
        "-o",
        "addopts=",
        "-p",
        "outcomes",
        "-p",
        "no:cacheprovider",
        *suite.options,
    ]
    with (CACHE / f"{outcomes.stem}.log").open("w", encoding="utf-8") as log:
        command = [str(python), "-m", "pytest", *options, *files]
        subprocess.run(command, cwd=source, env=environ, stdout=log, stderr=log, check=False)
    if not outcomes.exists():
        raise SystemExit(f"the tests did not run; see {log.name}")
    found: dict[str, Any] = json.loads(outcomes.read_text(encoding="utf-8"))
    counts = Counter(outcome.split()[0] for outcome in found["outcomes"].values())
    traced = f", {found['conversations']} conversations traced" if instrumented else ""
    way = "with" if instrumented else "without"
    print(f"{suite.name}, {way} the instrumentors: {dict(counts)}{traced}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
