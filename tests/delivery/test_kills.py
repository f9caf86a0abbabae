"""kill -9 at random moments of running conversations: what had ended a quarter of a second before is delivered.

VOICESPAN_KILLS says how often; a few times in every run of the tests, 50 for a report.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest
from measured import measuring

from voicespan.cli import recover
from voicespan.delivery.spool.locks import MAKING, SPOOL_LOCK
from voicespan.testing import LangSmithServer

BUSY = pathlib.Path(__file__).parent / "programs" / "busy.py"
KILLS = int(os.environ.get("VOICESPAN_KILLS", "6"))
WRITTEN = 0.25


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize(
    ("live", "kills"), [("0", KILLS), ("1", (KILLS + 1) // 2)], ids=["when it is over", "while it goes on"]
)
def test_what_had_ended_before_a_kill_is_delivered_once(monkeypatch, tmp_path, spool_dir, live, kills):
    monkeypatch.setenv("VOICESPAN_LIVE", live)
    chance = random.Random(20260102)
    counted = {"kills": 0, "runs": 0, "roots": 0, "recordings": 0, "failed_roots": 0}
    for kill in range(kills):
        # A server each: what a dead process had sent may be read after everything else.
        with LangSmithServer() as server:
            monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
            monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
            log = tmp_path / f"log-{kill}"
            mode = ("up", "down", "slow")[kill % 3]
            killed_at = _run_and_kill(server, mode, log, chance)
            assert recover.recover() == 0
            # A folder may have been caught before there was anything in it, or while it was made: that is swept later.
            # And the file that folders are locked in stays where nobody has locked one since.
            left = [path for path in spool_dir.iterdir() if not path.name.startswith((MAKING, SPOOL_LOCK))]
            assert [path for path in left if list(path.iterdir())] == []
            # A slow server is still reading what the dead process had sent.
            server.wait_for(lambda server: not server.underway)
            _check(server, log, killed_at, counted)
            counted["kills"] += 1
    print(counted)  # noqa: T201  shown by pytest -s, for the report
    assert counted["roots"] >= kills
    assert counted["recordings"]


def test_the_calls_that_a_kill_cut_off_are_measured_by_who_recovers_them(monkeypatch, tmp_path):
    with LangSmithServer() as server, measuring() as measured:
        monkeypatch.setenv("LANGSMITH_API_KEY", server.api_key)
        monkeypatch.setenv("LANGSMITH_ENDPOINT", server.url)
        _run_and_kill(server, "up", tmp_path / "log", random.Random(7))
        assert recover.recover() == 0
        cut_off = [root for root in server.roots if root.metadata.get("status") == "process ended"]
        [point] = measured.points("voicespan.call.duration")
        assert point.count == len(cut_off) > 0
        assert dict(point.attributes) == {"voicespan.outcome": "process ended", "error.type": "process_ended"}


def _run_and_kill(server, mode, log, chance):
    if mode == "down":
        server.down()
    if mode == "slow":
        server.fail(bytes_per_second=100_000, times=None)
    with subprocess.Popen([sys.executable, str(BUSY), str(log)]) as process:
        while not log.exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0.3, 1.5))
        killed_at = time.time()
        process.kill()
    server.clear_failures()
    server.up()
    return killed_at


def _check(server, log, killed_at, counted):
    runs = {run.id: run for run in server.runs}
    assert len(runs) == len(server.runs)
    assert (server.waiting, server.dropped) == ([], [])
    for line in log.read_bytes().splitlines():
        told = json.loads(line) if line.endswith(b"}") else None
        if told is None or told["at"] > killed_at - WRITTEN:
            continue
        counted["runs"] += 1
        assert told["run"] in runs, told
        root = runs[told["root"]]
        assert root.metadata["ls_modality"] == "audio"
        if "ended" in told:
            counted["roots"] += 1
            assert root.status == "success"
            recording = root.attachments.get("conversation")
            assert (recording and recording.sha256) == told["recording"]
            counted["recordings"] += recording is not None
    counted["failed_roots"] += sum(root.status == "error" for root in server.roots)
