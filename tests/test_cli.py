"""The command line, apart from what its commands do."""

from __future__ import annotations

import subprocess
import sys

import pytest

import voicespan
from voicespan import cli


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
        "import sys; from voicespan import cli; status = cli.main([]);"
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    assert finished.stderr == "[]\n"
    assert finished.returncode == 0


@pytest.mark.parametrize("package", ["openai", "websockets"])
def test_the_demo_says_which_packages_it_lacks(package):
    finished = python(
        f"import sys; sys.modules[{package!r}] = None;"
        "from voicespan import cli; sys.exit(cli.main(['demo', '--provider', 'openai']))"
    )
    assert finished.returncode == 2
    assert finished.stderr == (
        "voicespan demo: the demo needs more packages: pip install 'voicespan[openai,testing]'\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    finished = python(
        "import os, sys; from voicespan import cli;"
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
