"""The command line, apart from what its commands do."""

from __future__ import annotations

import io
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

import voicespan
from voicespan.cli import main as cli
from voicespan.tracing.conversation import Conversation


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )


def test_without_a_command_it_says_which_there_are(capsys):
    assert cli.main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_the_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"voicespan {voicespan.__version__}\n"


def test_an_unknown_command_is_an_error_of_usage(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["dmeo"])
    assert exit_.value.code == 2
    assert "dmeo" in capsys.readouterr().err


def test_it_runs_as_a_module_too():
    finished = subprocess.run(
        [sys.executable, "-m", "voicespan", "--version"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )
    assert finished.stdout == f"voicespan {voicespan.__version__}\n"


def test_help_loads_nothing_heavy():
    heavy = "{'numpy', 'soundfile', 'openai', 'requests', 'opentelemetry.sdk', 'websockets'}"
    finished = python(
        "import sys; from voicespan.cli import main as cli; status = cli.main([]);"
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    assert finished.stderr == "[]\n"
    assert finished.returncode == 0


@pytest.mark.parametrize(
    ("provider", "package"),
    [("openai", "openai"), ("openai", "websockets"), ("gemini", "google.genai"), ("gemini", "trustme")],
)
def test_the_demo_says_which_packages_it_lacks(provider, package):
    finished = python(
        f"import sys; sys.modules[{package!r}] = None;"
        f"from voicespan.cli import main as cli; sys.exit(cli.main(['demo', '--provider', {provider!r}]))"
    )
    assert finished.returncode == 2
    assert finished.stderr == (
        f"voicespan demo: the demo needs more packages: pip install 'voicespan[{provider},testing]'\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    finished = python(
        "import os, sys; from voicespan.cli import main as cli;"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1);"
        "sys.exit(cli.main([]))"
    )
    assert finished.returncode == 141
    assert finished.stderr == ""


def test_ctrl_c_is_no_traceback(monkeypatch):
    def interrupted(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_demo", interrupted)
    assert cli.main(["demo"]) == 130


@pytest.fixture
def waiting(monkeypatch, tmp_path, langsmith_server):
    """A conversation that waits, as nobody listens; where it waits."""
    monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith_server.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", langsmith_server.api_key)
    monkeypatch.setenv("LANGSMITH_PROJECT", "a-project")
    monkeypatch.setenv("VOICESPAN_SHUTDOWN_TIMEOUT", "0.5")
    monkeypatch.setattr("voicespan.delivery.shutdown._logger.disabled", True)
    langsmith_server.down()
    spool_dir = tmp_path / "spool"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(voicespan.LangSmithSpanProcessor(spool_dir=spool_dir))
    Conversation(thread_id="caller-42", tracer_provider=provider).end()
    provider.shutdown()
    return str(spool_dir)


def test_spool_shows_what_waits(waiting, capsys):
    assert cli.main(["spool", "--spool-dir", waiting]) == 0
    assert "caller-42" in capsys.readouterr().out


def test_recover_sends_what_waits(waiting, langsmith_server, capsys):
    langsmith_server.up()

    assert cli.main(["recover", "--spool-dir", waiting]) == 0
    assert "1 conversation sent to project a-project" in capsys.readouterr().out
    [root] = langsmith_server.roots
    assert root.thread_id == "caller-42"


def test_recover_to_another_project_leaves_it_alone(waiting, langsmith_server, capsys):
    langsmith_server.up()

    assert cli.main(["recover", "--spool-dir", waiting, "--project", "another"]) == 3
    assert "0 conversations sent" in capsys.readouterr().out
    assert langsmith_server.roots == []


def test_recover_without_a_destination_is_an_error_of_usage(monkeypatch, tmp_path, capsys):
    for name in ("LANGSMITH_API_KEY", "LANGSMITH_ENDPOINT", "LANGCHAIN_API_KEY", "VOICESPAN_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(tmp_path / "none.json"))

    assert cli.main(["recover", "--spool-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("voicespan recover: ")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_recover_shows_on_a_terminal_how_far_it_is(waiting, langsmith_server, monkeypatch):
    langsmith_server.up()
    langsmith_server.fail(hang="answer", times=None)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert cli.main(["recover", "--spool-dir", waiting, "--timeout", "2"]) == 1
    assert "voicespan: sending 1 conversation to LangSmith" in terminal.getvalue()
    assert terminal.getvalue().endswith(" \r")


def test_recover_with_a_timeout_does_not_wait_for_a_server_that_hangs(waiting, langsmith_server, capsys):
    langsmith_server.up()
    langsmith_server.fail(hang="answer", times=None)
    began = time.monotonic()
    assert cli.main(["recover", "--spool-dir", waiting, "--timeout", "1"]) == 1
    assert time.monotonic() - began < 10
    assert f"not sent to LangSmith at {langsmith_server.traces_url}" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--timeout", "--drop-older-than"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_recover_takes_no_time_that_is_none(option, value):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["recover", f"{option}={value}"])
    assert exit_.value.code == 2


def test_recover_drops_what_is_old_without_asking_where_that_is_said(waiting, langsmith_server, capsys):
    arguments = [
        "recover",
        "--spool-dir",
        waiting,
        "--timeout",
        "1",
        "--drop-older-than",
        "0.000001",
        "--yes",
    ]
    assert cli.main(arguments) == 0
    assert "dropped: caller-42, " in capsys.readouterr().out
