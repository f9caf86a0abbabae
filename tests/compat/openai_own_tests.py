"""Runs the openai package's own Realtime and WebSocket tests, without and with the instrumentor.

No test may fail with it that passes without it.

    python tests/compat/openai_own_tests.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from environments import CACHE, ROOT, VOICESPAN, environment

PACKAGES = ("openai[realtime]", "pytest", "pytest-asyncio", "rich")
_ABOUT_US = re.compile(r"realtime|websocket|reconnect|send_queue", re.IGNORECASE)
#: The first needs the vendor's mock of the HTTP API; the others speak of connections, but open none of ours.
_NOT = (
    "tests/api_resources/",
    "tests/lib/responses/",
    "tests/lib/test_bedrock.py",
    "tests/lib/test_webhooks.py",
    "tests/test_httpx2.py",
    "tests/test_uv_workflows.py",
)


def main() -> int:
    """Run both; 1 if they differ."""
    python = environment("openai-own-tests", (*VOICESPAN, *PACKAGES))
    version = subprocess.check_output(
        [python, "-c", "import openai; print(openai.__version__)"], text=True
    ).strip()
    suite = _suite(version)
    files = [
        str(path.relative_to(suite))
        for path in sorted(suite.glob("tests/**/test_*.py"))
        if _concerns(suite, path)
    ]
    print(
        f"openai {version}: {len(files)} test files about Realtime, WebSockets or the send queue", flush=True
    )
    # Side by side, since each takes a minute of one core.
    with ThreadPoolExecutor() as runs:
        both = [runs.submit(_run, python, suite, files, instrumented=on) for on in (False, True)]
    without, with_it = (run.result() for run in both)
    broken = _only_without(without, with_it)
    if broken:
        # Some of these tests have deadlines: what fails on a busy machine passes when it is run again.
        again = _run(python, suite, broken, instrumented=True)
        with_it["complaints"] += again["complaints"]
        broken = [test for test in broken if again["outcomes"].get(test) != "passed"]
    for test in broken:
        print(f"passes only without the instrumentor: {test}")
    for complaint in with_it["complaints"]:
        print(f"voicespan said: {complaint}")
    if not with_it["conversations"]:
        print("no conversation was traced, so nothing was tried")
    return 1 if broken or with_it["complaints"] or not with_it["conversations"] else 0


def _only_without(without: dict[str, Any], with_it: dict[str, Any]) -> list[str]:
    return [
        test
        for test, outcome in without["outcomes"].items()
        if outcome == "passed" and with_it["outcomes"].get(test) != "passed"
    ]


def _suite(version: str) -> Path:
    """The unpacked source distribution, which has the tests."""
    suite = CACHE / f"openai-{version}"
    if not suite.exists():
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
            command = [*pip, "--no-deps", "--no-binary", "openai", "--dest", folder, f"openai=={version}"]
            subprocess.run(command, check=True)
            (archive,) = Path(folder).glob("openai-*.tar.gz")
            with tarfile.open(archive) as unpacking:
                unpacking.extractall(folder, filter="data")
            (Path(folder) / f"openai-{version}").rename(suite)
    return suite


def _concerns(suite: Path, path: Path) -> bool:
    return not str(path.relative_to(suite)).startswith(_NOT) and bool(
        _ABOUT_US.search(path.read_text(encoding="utf-8"))
    )


def _run(python: Path, suite: Path, files: list[str], *, instrumented: bool) -> dict[str, Any]:
    outcomes = CACHE / f"openai-own-tests-{'with' if instrumented else 'without'}.json"
    outcomes.unlink(missing_ok=True)
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests" / "compat"),
        "VOICESPAN_OUTCOMES": str(outcomes),
        "VOICESPAN_INSTRUMENTED": str(int(instrumented)),
    }
    # Their options ask for pytest-xdist; what they say about warnings stays.
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "-o",
        "addopts=",
        "-p",
        "outcomes",
        "-p",
        "no:cacheprovider",
    ]
    with (CACHE / f"{outcomes.stem}.log").open("w", encoding="utf-8") as log:
        subprocess.run([*command, *files], cwd=suite, env=environ, stdout=log, stderr=log, check=False)
    if not outcomes.exists():
        raise SystemExit(f"the tests did not run; see {log.name}")
    found: dict[str, Any] = json.loads(outcomes.read_text(encoding="utf-8"))
    counts = Counter(outcome.split()[0] for outcome in found["outcomes"].values())
    traced = f", {found['conversations']} conversations traced" if instrumented else ""
    print(f"{'with' if instrumented else 'without'} the instrumentor: {dict(counts)}{traced}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
