"""What voicespan costs a process that holds no conversation: its import, and its start and exit.

python -m benchmarks.start_up [--quick]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.results import ROOT, UNTRACED, VOICESPAN, Result, Row, row, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

sys.path.insert(0, str(ROOT / "tests" / "compat"))

from environments import VOICESPAN as VOICESPAN_ITSELF  # beside the tests, which make environments too
from environments import environment

#: What voicespan brings along, so that both environments find the same entry points but for its own.
_PACKAGES = ("opentelemetry-instrumentation", "opentelemetry-sdk", "openai[realtime]", "google-genai")
#: What every process that is traced by OpenTelemetry imports.
_OPENTELEMETRY = "import opentelemetry.sdk.trace"
_METHOD = """\
New processes, with and without in turn; compared is the processor time (user and system) of each pair, from
start to exit. The import is measured beyond what OpenTelemetry's own SDK takes (`import
opentelemetry.sdk.trace`). Start and exit are those of `opentelemetry-instrument python -c pass` in two
environments that differ in nothing but voicespan."""


def _processor_ms(command: list[str]) -> float:
    """User and system time of one process, from start to exit, in milliseconds."""
    environ = {"PATH": os.environ["PATH"], "LANGSMITH_API_KEY": "never-used", "HOME": "/nonexistent"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environ, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _paired(label: str, without: list[str], with_: list[str], count: int, at_most: float | None) -> list[Row]:
    for command in (without, with_):
        _processor_ms(command)  # writes the bytecode
    costs, bases = [], []
    for _ in range(count):
        bases.append(_processor_ms(without))
        costs.append(_processor_ms(with_) - bases[-1])
    return [row(label, UNTRACED, bases, "ms"), row(label, VOICESPAN, costs, "ms more", at_most=at_most)]


def _imports(count: int) -> list[Row]:
    without = [sys.executable, "-c", _OPENTELEMETRY]
    with_ = [sys.executable, "-c", f"{_OPENTELEMETRY}; import voicespan"]
    return _paired("import", without, with_, count, 50.0)


def _starts(count: int) -> list[Row]:
    def command(interpreter: Path) -> list[str]:
        return [str(interpreter.with_name("opentelemetry-instrument")), str(interpreter), "-c", "pass"]

    label = "opentelemetry-instrument, start and exit"
    try:
        without = environment("start-without", _PACKAGES)
        with_ = environment("start-with", (*VOICESPAN_ITSELF, *_PACKAGES))
    except subprocess.CalledProcessError:
        return [Row(label, VOICESPAN, None, "ms more", note="the environments could not be made")]
    return _paired(label, command(without), command(with_), count, None)


def measure(*, quick: bool) -> Iterator[Result]:
    """One table."""
    parts: list[Callable[[int], list[Row]]] = [_imports, _starts]
    yield Result(
        name="start-up",
        title="A process that holds no conversation",
        chapter="start-up",
        method=_METHOD,
        rows=[found for part in parts for found in part(3 if quick else 20)],
        versions=peers.versions(),
    )


if __name__ == "__main__":
    run(measure)
