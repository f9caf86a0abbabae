"""kill -9 at random moments of applications and of their deliverer: nothing is lost, and nothing stands there twice.

VOICESPAN_KILLS says how often; a few times in every run of the tests, `make kills` a hundred times.
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

from voicespan.cli import main
from voicespan.delivery.spool.locks import MAKING, SPOOL_LOCK

BUSY = pathlib.Path(__file__).parent / "programs" / "busy.py"
KILLS = int(os.environ.get("VOICESPAN_KILLS", "4"))
WRITTEN = 0.25
#: Seconds after which the recorder's file is whole, on a machine that has something else to do as well.
LAID_OUT = 2.0


class Victims:
    """An application and a deliverer, each begun anew when it was killed."""

    def __init__(self, server, folder):
        self.folder = folder
        self.killed_at = {}
        key = {"LANGSMITH_API_KEY": server.api_key}
        self.with_key = {**os.environ, "LANGSMITH_ENDPOINT": server.url, **key}
        self.keyless = {**os.environ, "LANGSMITH_ENDPOINT": server.url, "VOICESPAN_DELIVERY": "spool"}
        self.application = self.deliverer = None
        self.begin("application")
        self.begin("deliverer")

    def begin(self, who):
        if who == "deliverer":
            command = [sys.executable, "-m", "voicespan", "deliver"]
            self.deliverer = subprocess.Popen(command, env=self.with_key, stdout=subprocess.PIPE)
            assert b"delivers what waits" in self.deliverer.stdout.readline()
            return
        log = self.folder / f"log-{len(self.killed_at)}"
        self.killed_at[log] = None
        self.application = subprocess.Popen([sys.executable, str(BUSY), str(log), "record"], env=self.keyless)
        while not log.exists():
            time.sleep(0.005)

    def kill(self, who):
        process = getattr(self, who)
        if who == "application":
            self.killed_at[list(self.killed_at)[-1]] = time.time()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.timeout(90 + 10 * KILLS)
@pytest.mark.parametrize(
    ("live", "kills"), [("0", KILLS), ("1", (KILLS + 1) // 2)], ids=["when it is over", "while it goes on"]
)
def test_whichever_of_the_two_is_killed_nothing_is_lost(
    langsmith_server, monkeypatch, tmp_path, spool_dir, capsys, *, live, kills
):
    monkeypatch.setenv("VOICESPAN_LIVE", live)
    chance = random.Random(20261130)
    victims = Victims(langsmith_server, tmp_path)
    try:
        for kill in range(kills):
            if kill % 3 == 1:
                langsmith_server.fail(bytes_per_second=300_000, times=20)
            time.sleep(chance.uniform(0.02, 0.7))
            who = ("application", "deliverer")[kill % 2]
            victims.kill(who)
            victims.begin(who)
    finally:
        victims.kill("application")
        victims.kill("deliverer")
    langsmith_server.clear_failures()
    monkeypatch.setenv("LANGSMITH_API_KEY", langsmith_server.api_key)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith_server.url)
    assert main.main(["deliver", "--once"]) == 0, capsys.readouterr().out
    # A folder may have been caught before there was anything in it: that is swept later.
    left = [path for path in spool_dir.iterdir() if not path.name.startswith((MAKING, SPOOL_LOCK))]
    assert [path for path in left if list(path.iterdir())] == []
    langsmith_server.wait_for(lambda server: not server.underway)
    counted = check(langsmith_server, victims.killed_at)
    with capsys.disabled():
        if KILLS > 10:
            print(counted)  # noqa: T201  for the report
    assert counted["roots"] >= kills / 2
    shown = any(request.path.endswith("/runs/multipart") for request in langsmith_server.requests)
    assert shown is (live == "1")
    assert counted["attached"]
    assert counted["recorded"]


def check(server, killed_at):
    runs = {run.id: run for run in server.runs}
    assert len(runs) == len(server.runs)
    assert (server.waiting, server.dropped) == ([], [])
    counted = {"runs": 0, "roots": 0, "recorded": 0, "attached": 0, "failed": 0, "in all": len(runs)}
    counted["failed"] = sum(root.status == "error" for root in server.roots)
    for log, at in killed_at.items():
        for line in log.read_bytes().splitlines():
            ended = json.loads(line) if line.endswith(b"}") else None
            if ended is None or ended["at"] > at - WRITTEN:
                continue
            counted["runs"] += 1
            assert ended["run"] in runs, ended
            root = runs[ended["root"]]
            if "ended" not in ended:
                continue
            counted["roots"] += 1
            assert root.status == "success"
            recording = root.attachments.get("conversation")
            if ended["recording"]:
                assert recording is not None
                assert recording.sha256 == ended["recording"]
                counted["attached"] += 1
            elif ended["recorded"]:
                assert recording is not None or ended["at"] > at - LAID_OUT
                assert recording is None or recording.mime_type == "audio/ogg"
                counted["recorded"] += recording is not None
    return counted
