"""What voicespan costs a process under `opentelemetry-instrument` that never holds a conversation.

python benchmarks/start_up.py [PAIRS]

Two environments with the same packages, one of them with voicespan; starts a process that does nothing in
one and in the other by turns, and compares the processor time of each pair, which other work on the machine
disturbs least.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "compat"))

from environments import VOICESPAN, environment  # noqa: E402  beside the tests, which make environments too

#: What voicespan brings along, so that both find the same entry points but for its own.
PACKAGES = ("opentelemetry-instrumentation", "opentelemetry-sdk", "openai[realtime]", "google-genai")
PROGRAM = "pass"


def processor_ms(interpreter: Path) -> float:
    """User and system time of one process, from start to exit, in milliseconds."""
    environ = {"PATH": os.environ["PATH"], "LANGSMITH_API_KEY": "never-used", "HOME": "/nonexistent"}
    command = [str(interpreter.with_name("opentelemetry-instrument")), str(interpreter), "-c", PROGRAM]
    before = os.times()
    subprocess.run(command, env=environ, check=True)
    after = os.times()
    return 1000 * (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def main(pairs: int) -> None:
    without = environment("start-without", PACKAGES)
    with_voicespan = environment("start-with", (*VOICESPAN, *PACKAGES))
    for interpreter in (without, with_voicespan):
        processor_ms(interpreter)  # writes the bytecode
    costs, bases = [], []
    for _ in range(pairs):
        bases.append(processor_ms(without))
        costs.append(processor_ms(with_voicespan) - bases[-1])
    low, middle, high = statistics.quantiles(costs, n=4)
    print(f"without voicespan: {statistics.median(bases):.0f} ms of processor time (median of {pairs})")
    print(f"voicespan adds: {middle:.0f} ms (quartiles {low:.0f} and {high:.0f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
