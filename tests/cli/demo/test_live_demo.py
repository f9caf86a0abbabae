"""`voicespan demo --provider openai-live` as a user runs it."""

from __future__ import annotations

import re

import pytest
import soundfile as sf

from voicespan.cli.demo import story


@pytest.fixture(scope="module")
def demo(voicespan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    finished = voicespan("demo", "--fast", "--provider", "openai-live", "--folder", str(folder))
    finished.folder = folder
    return finished


def test_it_succeeds(demo):
    assert demo.stderr == ""
    assert demo.returncode == 0


def test_it_shows_delegations_with_what_worked_on_them(demo):
    for name in (
        "delegation: responses",
        "delegated_response",
        "function_call: find_tables",
        "SELECT tables",
    ):
        assert name in demo.stdout, demo.stdout
    assert "turn_complete" not in demo.stdout


def test_it_shows_everything_that_the_caller_said_and_breaks_the_agent_off(demo):
    tree = re.sub(r"[\s│]+", " ", demo.stdout.split("The trace")[1])
    assert all(f"“{line.text}" in tree for line in story.CALLER)
    assert f"“{story.OFFER.text[:40]}" in tree
    assert story.OFFER.text not in tree
    assert f"“{story.FAREWELL.text}" in tree


def test_the_recording_has_both_sides(demo):
    [path] = demo.folder.glob("*-conversation.*")
    sound, rate = sf.read(path)
    assert 15 < len(sound) / rate < 35
    assert abs(sound).max(axis=0).min() > 0.1
