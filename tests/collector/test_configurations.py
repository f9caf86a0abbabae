"""Every configuration that is shipped is valid, and so is somebody's own with the lines that are shown."""

from __future__ import annotations

import subprocess

import pytest
from binary import CONFIGURATIONS

#: Those that are started together.
SETS = [
    ("gateway.yaml",),
    ("gateway.yaml", "gateway-queue.yaml"),
    ("gateway.yaml", "redaction.yaml"),
    ("gateway.yaml", "prometheus.yaml"),
    ("agent.yaml",),
    ("agent.yaml", "agent-balanced.yaml"),
    ("existing.yaml",),
]


@pytest.fixture
def validate(otelcol, tmp_path):
    def validate(*paths, key="a-key"):
        command = [str(otelcol), "validate", *(f"--config={path}" for path in paths)]
        environ = {"QUEUE_DIRECTORY": str(tmp_path)} | ({} if key is None else {"LANGSMITH_API_KEY": key})
        result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=50)
        return result.returncode, result.stderr

    return validate


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_what_is_shipped(validate, names):
    assert validate(*(CONFIGURATIONS / name for name in names)) == (0, "")


def test_none_is_forgotten():
    shipped = {path.name for path in CONFIGURATIONS.glob("*.yaml")} - {"builder.yaml"}
    assert shipped == {name for names in SETS for name in names}


def test_a_mistake_is_found(validate, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    text = (CONFIGURATIONS / "gateway.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("sending_queue:", "sending_cue:"), encoding="utf-8")
    code, told = validate(wrong)
    assert code != 0
    assert "sending_cue" in told


def test_an_existing_one_with_the_lines_that_it_takes(validate, patched):
    assert validate(patched) == (0, "")


@pytest.mark.parametrize("key", [None, ""], ids=["unset", "empty"])
@pytest.mark.parametrize("names", [("gateway.yaml",), ("gateway.yaml", "gateway-queue.yaml"), ()], ids=str)
def test_without_a_key_none_of_them_is_valid(validate, patched, names, key):
    code, told = validate(*([CONFIGURATIONS / name for name in names] or [patched]), key=key)
    assert code != 0
    assert "bearertokenauth/langsmith: no bearer token provided" in told
