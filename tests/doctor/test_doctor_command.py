"""`voicespan doctor` as it is called: a process, its streams and its exit status."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time

import pytest

from voicespan import guard
from voicespan.doctor import command
from voicespan.doctor import report as reports
from voicespan.doctor.findings import Surroundings, ok

KEY = "lsv2_pt_0123456789abcdef0123456789abcdef_canary1234"


def test_where_everything_works_nothing_is_wrong_and_nothing_is_left_behind(doctor, langsmith, to, tmp_path):
    report = doctor(**to)

    assert report.status == 0, report.out
    assert report.err == ""
    assert "Nothing wrong was found." in report.out
    assert "LangSmith takes the key" in report.out
    assert langsmith.runs == langsmith.waiting == []
    assert [request.method for request in langsmith.requests] == ["POST"]
    # Nobody's project, as an unknown one would be made.
    assert "langsmith-project" not in langsmith.requests[0].headers
    assert not (tmp_path / "spool").exists()


def test_as_json_it_says_the_same(doctor, to):
    report = doctor("--json", **to)

    assert report.status == 0
    assert set(report.told) == {"voicespan", "status", "exit_status", "counts", "findings"}
    assert report.told["status"] == "ok"
    assert report.told["exit_status"] == 0
    assert set(report.told["counts"]) == {"ok", "note", "warning", "problem"}
    assert {key for finding in report.told["findings"] for key in finding} == {
        *("section", "check", "mark", "text", "advice", "facts")
    }
    assert report.findings["destination.login"]["mark"] == "ok"
    checks = [finding["check"] for finding in report.told["findings"]]
    assert len(checks) == len(set(checks))
    for name, finding in report.findings.items():
        assert name.startswith(f"{finding['section']}.")
        assert finding["mark"] in ("ok", "note") or finding["advice"], name


def test_a_key_that_is_refused_is_a_problem(doctor, to):
    report = doctor("--json", **{**to, "LANGSMITH_API_KEY": "lsv2_pt_another"})

    assert report.status == 1
    assert report.marks("problem") == {"destination.login"}
    login = report.findings["destination.login"]
    assert '401: {"detail": "Invalid token"}' in login["text"]
    assert "voicespan recover --new-key" in login["advice"]


def test_a_server_that_hangs_does_not_hang_the_command(doctor, langsmith, to):
    langsmith.fail(hang="answer", times=None)
    began = time.monotonic()
    report = doctor("--json", **to)
    took = time.monotonic() - began
    langsmith.release()

    assert report.findings["destination.reached"]["facts"]["failure"] == "silent"
    assert report.status == 1
    assert took < 30


def test_offline_nobody_is_asked(doctor, langsmith, to):
    report = doctor("--offline", **to)
    assert report.status == 0
    assert "not asked: --offline" in report.out
    assert langsmith.requests == []


def test_without_a_destination(doctor):
    report = doctor("--json", LANGSMITH_APIKEY=KEY)
    assert report.status == 1
    assert report.findings["destination.resolved"]["advice"].startswith("LANGSMITH_APIKEY is set, but")
    assert KEY not in report.out


def test_warnings_count_where_that_is_asked(doctor, to):
    assert doctor(VOICESPAN_EVENT="all", **to).status == 0
    assert doctor("--strict", VOICESPAN_EVENT="all", **to).status == 1


def test_what_is_bad_stands_at_the_end_as_well(doctor, to):
    lines = doctor(VOICESPAN_EVENT="all", **to).out.splitlines()
    assert lines[-2:] == ["1 warning", "  warning  Settings: VOICESPAN_EVENT is no setting of voicespan"]


def test_an_unknown_option_is_an_error_of_usage(doctor):
    assert doctor("--jsn").status == 2


def test_no_colours_but_on_a_terminal(environ):
    def shown(**changed):
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "voicespan", "doctor", "--offline"],
            env={**environ, "TERM": "xterm", **changed},
            stdout=theirs,
        )
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(terminal)
        process.wait(30)
        return seen

    assert b"\x1b[31;1mproblem" in shown()
    assert b"\x1b[" not in shown(NO_COLOR="1")


def test_a_terminal_that_knows_ascii_only_gets_it_escaped(doctor, to):
    report = doctor(PYTHONIOENCODING="ascii", LANGSMITH_PROJECT="Anrufe für Mörtel", **to)
    assert report.status == 0
    assert r"Anrufe f\xfcr M\xf6rtel" in report.out


def test_values_that_would_command_the_terminal_stay_on_their_line(doctor, tmp_path):
    folder = tmp_path / "a\x1b[2J\nb"
    report = doctor("--offline", VOICESPAN_SPOOL_DIR=str(folder))
    assert rf"{tmp_path}/a\x1b[2J\nb is not there yet" in report.out


# Secrets


def test_no_secret_is_shown_wherever_it_stands(doctor, langsmith, to, tmp_path):
    """Also where it was pasted into the wrong variable, or the server sends it back."""
    langsmith.fail(status=403, text=f"forbidden for {KEY} x-api-key={KEY[:-1]}", times=None)
    profiles = tmp_path / "profiles.json"
    profiles.write_text(json.dumps({"profiles": {"default": {"api_key": "profile-canary-0123456789"}}}))
    hostile = {
        "LANGSMITH_API_KEY": KEY,
        "LANGCHAIN_API_KEY": "lsv2_sk_canary_of_the_older_name",
        "LANGSMITH_PROJECT": f"calls {KEY}",
        "LANGSMITH_WORKSPACE_ID": KEY,
        "LANGSMITH_CONFIG_FILE": str(profiles),
        "LANGSMITH_TRACING": KEY,
        "VOICESPAN_EVENTS": KEY,
        "VOICESPAN_RECORD": "sk-canary-0123456789",
        "VOICESPAN_HIDE": KEY,
        "HTTPS_PROXY": "http://somebody:password-canary@127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20header-canary-token,x-api-key=other-canary-key",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:endpoint-canary@api.smith.langchain.com/otel?key=query-canary-1",
        "OTEL_TRACES_SAMPLER": KEY,
        "OPENAI_API_KEY": "sk-canary-openai-0123456789",
    }
    for arguments in ((), ("--json",)):
        report = doctor(*arguments, **{**to, **hostile})
        assert report.status == 1
        assert "canary" not in report.out + report.err
        assert KEY[:-1] not in report.out
        assert "403" in report.out


def test_no_secret_of_a_url_that_is_refused(environ, monkeypatch):
    looks = [each for each in command.SECTIONS if each[0] in ("settings", "destination", "roads")]
    monkeypatch.setattr(command, "SECTIONS", tuple(looks))
    for name in ("LANGSMITH_ENDPOINT", "VOICESPAN_ENDPOINT"):
        for url in (
            "https://user:a-canary-password@example.com/otel",
            "ftp://user:a-canary-password@example.com",
            "https://[::1/x?token=a-canary-token",
            "https://example.com:99999/?token=a-canary-token",
        ):
            sections = command.examine(Surroundings({**environ, name: url, "LANGSMITH_API_KEY": KEY}))
            told = reports.as_text(sections, colours=False) + reports.as_json(sections, 1)
            assert "destination.resolved" in told, url
            assert "canary" not in told, url


# What is broken


def broken(folder, name, code):
    (folder / f"{name}.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("name", "code", "check"),
    [
        ("numpy", "raise ImportError('libopenblas.so: cannot open')", "versions.numpy"),
        ("soundfile", "raise OSError('sndfile library not found')", "versions.soundfile"),
        ("openai", "raise TypeError('pydantic is another one')", "libraries.openai.seams"),
        ("requests", "import nothing_like_it", "versions.requests"),
    ],
)
def test_a_package_that_is_broken_is_what_is_told(doctor, to, tmp_path, name, code, check):
    report = doctor("--json", **broken(tmp_path, name, code), **to)

    assert report.err == ""
    assert report.status == 1
    assert check in report.marks("problem")
    assert "voicespan" in report.told
    # Everything else was looked at all the same.
    assert {finding["section"] for finding in report.told["findings"]} == {
        *("versions", "libraries", "settings", "destination", "spool", "opentelemetry", "roads"),
        *("zero-code", "devices"),
    }
    assert not [check for check in report.findings if check.endswith(".failed")]


def test_a_check_that_fails_is_itself_a_finding(monkeypatch):
    def look(_surroundings):
        yield ok("made-up.first", "was seen")
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(guard, "reraise", False)
    monkeypatch.setattr(command, "SECTIONS", (("made-up", "Made up", look),))
    [section] = command.examine(Surroundings({}))

    assert [finding.check for finding in section.findings] == ["made-up.first", "made-up.failed"]
    assert "ZeroDivisionError" in section.findings[1].text
    assert "canary" not in section.findings[1].text
