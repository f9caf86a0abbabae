"""`voicespan demo --provider cascade` as a user runs it."""

from __future__ import annotations

import json
import re

import pytest
import soundfile as sf
from genai_conventions import violations

from voicespan.cli.demo import story
from voicespan.report import find


@pytest.fixture(scope="module")
def demo(voicespan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    finished = voicespan("demo", "--fast", "--provider", "cascade", "--json", "--folder", str(folder))
    finished.folder = folder
    return finished


@pytest.fixture(scope="module")
def runs(demo):
    assert demo.stderr == ""
    assert demo.returncode == 0
    [conversation] = json.loads(demo.stdout)["conversations"]
    return list(flat(conversation["trace"]))


def flat(run):
    yield run
    for child in run["children"]:
        yield from flat(child)


def names(runs):
    return [run["name"] for run in runs]


def test_it_is_the_tree_of_a_cascade(runs):
    assert names(runs) == [
        "conversation",
        *("stt", "llm", "function_call: find_tables", "SELECT tables", "llm", "tts"),
        "interrupted",
        *("stt", "llm", "function_call: book_table", "INSERT booking", "llm", "tts"),
        *("stt", "llm", "tts"),
    ]
    assert {run["run_type"] for run in runs if run["name"] in ("stt", "llm", "tts")} == {"llm"}


def test_its_spans_have_what_opentelemetry_asks_for(demo):
    [call] = demo.folder.glob("*/spans.jsonl")
    spans = find.read(call.parent).everything
    assert violations(spans) == []
    operations = {span.attributes.get("gen_ai.operation.name") for span in spans}
    assert operations >= {"invoke_agent", "chat", "execute_tool", "speech_to_text", "text_to_speech"}


def test_each_answer_says_how_long_the_caller_waited_and_for_what(runs):
    answers = [run["metadata"] for run in runs if run["name"] == "tts"]
    for figures in answers:
        parts = re.findall(r"\b(?:endpointing|stt|llm|tool|tts|playout|unnamed)_ms\b", " ".join(figures))
        assert sum(figures[part] for part in parts) == pytest.approx(figures["response_gap_ms"], abs=0.01)
        assert figures["response_gap_from"] == "speech_end"
    assert "tool_ms" in answers[0]
    assert "tool_ms" not in answers[2]


def test_the_recording_has_both_sides_and_the_agent_breaks_off(demo, runs):
    [path] = demo.folder.glob("*-conversation.*")
    sound, rate = sf.read(path)
    assert 15 < len(sound) / rate < 40
    assert abs(sound).max(axis=0).min() > 0.1
    [interrupted] = [run["metadata"] for run in runs if run["name"] == "interrupted"]
    assert interrupted["heard_ms"] < interrupted["generated_ms"]
    assert interrupted["generated_ms"] == pytest.approx(len(story.OFFER.pcm()) / 48, abs=1)
