"""`voicespan doctor` as it is called: a process, its streams and its exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from voicespan.cli import main as cli
from voicespan.cli.doctor import command
from voicespan.cli.doctor import report as reports
from voicespan.cli.doctor.findings import Surroundings, ok, problem
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.runtime import guard
from voicespan.tracing.conversation import Conversation

ROOT = Path(__file__).parents[3]
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


def test_without_a_destination(doctor):
    report = doctor("--json", "--offline", LANGSMITH_APIKEY=KEY)
    assert report.status == 1
    assert report.findings["destination.resolved"]["advice"].startswith("LANGSMITH_APIKEY is set;")
    assert KEY not in report.out


# In this process, and of a few sections


@pytest.fixture
def answer(environ, monkeypatch, capsys):
    """Runs the command with the sections that are named; its status, and what it printed."""

    def answer(*arguments, sections=("settings",), **changed):
        looks = [section for section in command.SECTIONS if section[0] in sections]
        monkeypatch.setattr(command, "SECTIONS", tuple(looks))
        monkeypatch.setattr(os, "environ", {**environ, **changed})
        return cli.main(["doctor", *arguments]), capsys.readouterr().out

    return answer


def test_offline_nobody_is_asked(answer, langsmith, to):
    status, out = answer("--offline", sections=("destination",), **to)
    assert status == 0
    assert "not asked: --offline" in out
    assert langsmith.requests == []


def test_warnings_count_where_that_is_asked(answer):
    assert answer(VOICESPAN_EVENT="all")[0] == 0
    assert answer("--strict", VOICESPAN_EVENT="all")[0] == 1
    assert answer("--strict")[0] == 0


def test_what_is_bad_stands_at_the_end_as_well(answer):
    lines = answer(VOICESPAN_EVENT="all")[1].splitlines()
    assert lines[-2:] == ["1 warning", "  warning  Settings: VOICESPAN_EVENT is no setting of voicespan"]


def test_an_unknown_option_is_an_error_of_usage(answer):
    with pytest.raises(SystemExit) as exit_:
        answer("--jsn")
    assert exit_.value.code == 2


def test_a_terminal_that_knows_ascii_only_gets_it_escaped(answer, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    answer("--offline", sections=("destination",), LANGSMITH_API_KEY=KEY, LANGSMITH_PROJECT="Mörtel")
    assert rb"project M\xf6rtel" in out.buffer.getvalue()


def test_colours_on_a_terminal_only(sections):
    ends = pty.openpty()
    with open(ends[1], "w", closefd=False) as terminal:
        assert reports.has_colours(terminal, {"TERM": "xterm"})
        assert not reports.has_colours(terminal, {"TERM": "xterm", "NO_COLOR": "1"})
        assert not reports.has_colours(terminal, {"TERM": "dumb"})
    assert not reports.has_colours(io.StringIO(), {})
    for end in ends:
        os.close(end)

    found = sections(problem("s.a", "two", "mend it"))
    assert "\x1b[31;1mproblem\x1b[0m  two" in reports.as_text(found, colours=True)
    assert "\x1b" not in reports.as_text(found, colours=False)


# What stands on the page


def test_the_page_shows_what_is_said(doctor, langsmith, to, tmp_path):
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    sample = page.split("left out:\n\n```\n")[1].split("```")[0].splitlines()
    langsmith.fail(status=401, text='{"detail": "Invalid token"}', times=None)
    provider = TracerProvider(shutdown_on_exit=False)
    processor = LangSmithSpanProcessor(
        endpoint=langsmith.url, api_key=langsmith.api_key, spool_dir=tmp_path / "spool"
    )
    provider.add_span_processor(processor)
    for _ in range(2):
        Conversation(tracer_provider=provider).end()
    assert not processor.force_flush(5_000)
    # A conversation that is let go of without a word.
    provider.shutdown()

    report = doctor(VOICESPAN_RECORD_FORMAT="mp3", **to)

    def ageless(lines):
        return {re.sub(r"oldest \d+ s", "oldest 4 s", line) for line in lines}

    said = report.out.replace(langsmith.traces_url, "https://api.smith.langchain.com/otel/v1/traces")
    assert ageless(sample) <= ageless(said.splitlines())


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
        "OTEL_TRACES_SAMPLER": "hf_canary0123456789abcdefghij",
        "LANGSMITH_TRACING_V2": "ghp_canary0123456789abcdefghijklmnop",
        "LANGSMITH_HIDE_INPUTS": "auth_tokens/canary0123456789",
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
        ("requests", "raise TypeError('of another Python')", "versions.requests"),
    ],
)
def test_a_package_that_is_broken_is_what_is_told(doctor, to, tmp_path, *, name, code, check):
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


def test_a_test_conversation_goes_the_whole_way(doctor, langsmith, to, tmp_path):
    report = doctor("--send", "--json", **to)
    assert report.status == 0, report.out
    sent = report.findings["send.conversation"]
    assert (sent["mark"], report.err) == ("ok", "")
    [root] = langsmith.roots
    assert (root.name, root.id) == ("voicespan doctor", sent["facts"]["run_id"])
    assert "voicespan-doctor" in root.tags
    assert list(root.attachments) == ["conversation"]
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("status", [401, 422])
def test_a_test_conversation_that_is_not_taken(doctor, langsmith, to, status):
    # The request that asks for the key is let through.
    langsmith.fail(status=status, after=1, times=None)
    report = doctor("--send", "--json", **to)
    assert report.status == 1
    sent = report.findings["send.conversation"]
    assert sent["mark"] == "problem"
    assert str(status) in sent["text"] or "ordered by the test" in sent["text"]


def test_without_a_destination_no_test_conversation_is_sent(doctor):
    assert doctor("--send", "--json", "--offline").findings["send.conversation"]["mark"] == "problem"
