"""What tracing an agent of LiveKit or a bot of Pipecat costs, beside LangSmith's own processors for them.

python -m benchmarks.frameworks [--quick]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from benchmarks.results import ROOT, UNTRACED, VOICESPAN, Result, Row, row, run
from voicespan.testing import LangSmithServer
from voicespan.testing.cascade import CascadeServer, Completion, FunctionCall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

sys.path.insert(0, str(ROOT / "tests" / "compat"))

from environments import VOICESPAN as VOICESPAN_ITSELF  # beside the tests, which make environments too
from environments import environment

LANGSMITH = "langsmith"
_FRAMEWORKS = {
    "livekit": ("livekit-agents[openai]", "langsmith", "cachetools"),
    "pipecat": (
        "pipecat-ai[openai,tracing]",
        "langsmith",
        "cachetools",
        "opentelemetry-exporter-otlp-proto-http",
    ),
}
_METHOD = """\
The same scripted call of an unchanged agent on loopback: each turn is a question, a function that the model calls, and an answer
that streams in 20 pieces. A process for each way, in turn; the first call of a process is not counted. Processor time is
that of the whole process until everything is delivered, a turn; the cost is what it is more than untraced, of the best rounds.
What is in memory after the first call is left alone by the garbage collector, for all alike: whether a collection of the whole
process falls into the second call is chance. Nothing is recorded: LangSmith's processors record nothing here. *Held* is the longest that the event loop was not served.
voicespan's target is half of what LangSmith's own processor takes."""
_ANSWER = "It is foggy in London, and it will stay so for the whole day, as far as anybody can see from here."


def _answer(request: object) -> Completion:
    last = request.messages[-1]  # type: ignore[attr-defined]
    return (
        Completion(_ANSWER)
        if last["role"] == "tool"
        else Completion(calls=[FunctionCall("weather", {"city": "London"})])
    )


def _round(  # noqa: PLR0917  one round
    interpreter: Path, framework: str, way: str, turns: int, urls: tuple[str, str], key: str
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "VOICESPAN_SPOOL_DIR": f"{home}/spool",
            "LANGSMITH_API_KEY": key,
            "LANGSMITH_TRACING": "true",
        }
        program = str(ROOT / "benchmarks" / "framework_call.py")
        done = subprocess.run(
            [str(interpreter), program, framework, way, str(turns), *urls],
            env=environ,
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _rows(framework: str, *, quick: bool) -> list[Row]:
    label = f"{framework}: processor time, a turn"
    try:
        interpreter = environment(f"bench-{framework}", (*VOICESPAN_ITSELF, *_FRAMEWORKS[framework]))
    except subprocess.CalledProcessError:
        return [Row(label, VOICESPAN, None, "ms more", note="the environment could not be made")]
    turns, rounds = (5, 2) if quick else (40, 7)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (UNTRACED, VOICESPAN, LANGSMITH)}
    with CascadeServer(_answer) as services, LangSmithServer() as langsmith:
        for _ in range(rounds):
            for way, each in found.items():
                each.append(
                    _round(
                        interpreter, framework, way, turns, (services.url, langsmith.url), langsmith.api_key
                    )
                )
    best = {way: min(each["ms"] for each in rounds_of) for way, rounds_of in found.items()}
    costs = {way: best[way] - best[UNTRACED] for way in (VOICESPAN, LANGSMITH)}
    held = {way: statistics.median(each["held_ms"] for each in rounds_of) for way, rounds_of in found.items()}
    return [
        row(label, UNTRACED, [each["ms"] for each in found[UNTRACED]], "ms"),
        Row(label, VOICESPAN, costs[VOICESPAN], "ms more", at_most=costs[LANGSMITH] / 2),
        Row(label, LANGSMITH, costs[LANGSMITH], "ms more"),
        *(Row(f"{framework}: event loop held", way, value, "ms") for way, value in held.items()),
    ]


def measure(*, quick: bool) -> Iterator[Result]:
    """One table a framework."""
    for framework in _FRAMEWORKS:
        yield Result(
            name=f"frameworks-{framework}",
            title=f"An agent of {framework}",
            chapter="frameworks",
            method=_METHOD,
            rows=_rows(framework, quick=quick),
        )


if __name__ == "__main__":
    run(measure)
