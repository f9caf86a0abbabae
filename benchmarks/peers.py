"""Peers that are not installed with voicespan: each is measured in an environment of its own.

There this module is run again, with the peer and an untraced run on the same frames in the same process.
What fails is told in the table and stops nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.results import ROOT, UNTRACED, Row

if TYPE_CHECKING:
    from pathlib import Path

sys.path.insert(0, str(ROOT / "tests" / "compat"))

from environments import environment  # beside the tests, which make environments too

#: What measures, in each environment.
_BASE = ("--editable", f"{ROOT}[openai,gemini,testing]")
#: What they are installed from, and for which clients they are made.
_PEERS = {
    "ddtrace": ("ddtrace", ("openai", "openai-sync")),
    "OpenLLMetry": ("opentelemetry-instrumentation-openai", ("openai", "openai-sync")),
    "gemini-live-telemetry": ("gemini-live-telemetry", ("gemini",)),
}
_SECONDS = 300
_MARK = "rows: "
_SEES_NOTHING = "replaces nothing in this client's classes: it sees none of its frames"
_blind: set[str] = set()


def of(client: str) -> list[str]:
    """The peers that trace this client, or say so."""
    return [name for name, (_, clients) in _PEERS.items() if client in clients]


def rows(part: str, client: str, kind: str, label: str, *, quick: bool) -> list[Row]:
    """What each of them adds, as rows for the table of this `label`."""
    table = []
    for peer in of(client):
        found = _SEES_NOTHING if peer in _blind else measured(part, client, kind, peer, quick=quick)
        if isinstance(found, str):
            if found == _SEES_NOTHING:
                _blind.add(peer)
            table.append(Row(label, peer, None, "µs more", note=found))
        else:
            table += [replace(each, label=label) for each in found if each.way == peer]
    return table


def measured(part: str, client: str, kind: str, peer: str, *, quick: bool) -> list[Row] | str:
    """The rows that `part` measures with a peer, or why there are none."""
    interpreter = _interpreter(peer)
    if interpreter is None:
        return "cannot be installed here"
    command = [
        str(interpreter),
        "-m",
        "benchmarks.peers",
        part,
        client,
        kind,
        peer,
        *(["--quick"] if quick else []),
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"was not done after {_SECONDS} s"
    # A peer may print what it likes besides.
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return f"failed: {last[0]:.120}"
    told = json.loads(lines[0].removeprefix(_MARK))
    if isinstance(told, str):
        return told
    return [Row(**{**each, "spread": each["spread"] and tuple(each["spread"])}) for each in told]


@cache
def _interpreter(peer: str) -> Path | None:
    requirement, _ = _PEERS[peer]
    try:
        return environment(f"bench-{peer.lower()}", (*_BASE, requirement))
    except subprocess.CalledProcessError:
        return None


@cache
def versions() -> dict[str, str]:
    """The packages that take part, as they are installed here and in the peers' environments."""
    ours = ("voicespan", "openai", "google-genai", "websockets", "opentelemetry-sdk", "langsmith")
    found = {name: importlib.metadata.version(name) for name in ours}
    for peer, (requirement, _) in _PEERS.items():
        interpreter = _interpreter(peer)
        if interpreter is not None:
            program = f"import importlib.metadata as m; print(m.version({requirement!r}))"
            told = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=False)
            found[requirement] = told.stdout.strip()
    return found


def _main(part: str, client: str, kind: str, peer: str, *, quick: bool) -> list[Row] | str:
    from benchmarks import pairs, ways

    (way,) = ways.made([peer])
    if not way.sees_the_client:
        return _SEES_NOTHING
    found = importlib.import_module(f"benchmarks.{part}").compared(
        client, kind, [UNTRACED, peer], quick=quick
    )
    return pairs.rows("", found)


if __name__ == "__main__":
    part_, client_, kind_, peer_ = sys.argv[1:5]
    rows_ = _main(part_, client_, kind_, peer_, quick="--quick" in sys.argv)
    print(
        _MARK + json.dumps(rows_ if isinstance(rows_, str) else [asdict(each) for each in rows_]), flush=True
    )
