from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from voicespan.cli.doctor import report
from voicespan.cli.doctor.findings import Surroundings
from voicespan.runtime import settings
from voicespan.testing import LangSmithServer

_OURS = ("LANGSMITH_", "LANGCHAIN_", "VOICESPAN_", "HOSTED_LANGSERVE", "OTEL_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "NO_COLOR")


@pytest.fixture(autouse=True)
def _every_test_is_the_first(monkeypatch, tmp_path_factory):
    """What is logged once for each process is logged in each test; no other process's spool is looked at."""
    monkeypatch.setattr(settings, "_warned", set())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))


@pytest.fixture
def environ(tmp_path):
    """An environment without anybody's settings, and with a spool of the test's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and name.upper() not in _PROXIES
    }
    return {
        **kept,
        "LANGSMITH_CONFIG_FILE": str(tmp_path / "no-profiles.json"),
        "VOICESPAN_SPOOL_DIR": str(tmp_path / "spool"),
        "TMPDIR": str(tmp_path),
    }


@pytest.fixture
def look(environ, monkeypatch):
    """Has one check look, in this process; its findings by name."""

    def look(at, spool_dir=None, **changed):
        clock = {"clock": changed.pop("clock")} if "clock" in changed else {}
        for name in [name for name in os.environ if name.startswith(_OURS) or name.upper() in _PROXIES]:
            monkeypatch.delenv(name)
        for name, value in {**environ, **changed}.items():
            # `requests` and the paths' home read the process's own.
            monkeypatch.setenv(name, value)
        surroundings = Surroundings({**environ, **changed}, spool_dir, **clock)
        return {finding.check: finding for finding in at(surroundings)}

    return look


@dataclass
class Report:
    """What a process said."""

    status: int
    out: str
    err: str

    @property
    def told(self):
        return json.loads(self.out)

    @property
    def findings(self):
        return {finding["check"]: finding for finding in self.told["findings"]}

    def marks(self, mark):
        return {check for check, finding in self.findings.items() if finding["mark"] == mark}


@pytest.fixture
def doctor(environ):
    """Runs the command in a process of its own."""

    def run(*arguments, **changed):
        finished = subprocess.run(
            [sys.executable, "-m", "voicespan", "doctor", *arguments],
            env={**environ, **changed},
            capture_output=True,
            encoding="utf-8",
            timeout=50,
            check=False,
        )
        return Report(finished.returncode, finished.stdout, finished.stderr)

    return run


@pytest.fixture
def langsmith():
    with LangSmithServer() as server:
        yield server


@pytest.fixture
def to(langsmith):
    """The variables that lead to the server."""
    return {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": langsmith.api_key}


@pytest.fixture
def sections():
    """A report of the findings that a test makes up."""

    def made(*findings):
        return [report.Section("section", "A section", findings)]

    return made
