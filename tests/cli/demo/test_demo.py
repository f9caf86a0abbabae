"""`voicespan demo` as a user runs it: a process of its own, and what it prints, saves and sends."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from genai_conventions import violations

from voicespan.cli.demo import openai_agent, story
from voicespan.report import find
from voicespan.testing import LangSmithServer

#: Settings that would break the demo if it heeded them.
HOSTILE = {
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "OTEL_SDK_DISABLED": "true",
    "VOICESPAN_DISABLED": "1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}

ROW = re.compile(r"^(?:  )?((?:│  |   )*)([├└]─ )?(\S.*?) +(chain|llm|tool) +([\d.]+) s", re.MULTILINE)


@pytest.fixture(scope="module", params=["openai", "gemini"])
def provider(request):
    return request.param


@pytest.fixture(scope="module")
def demo(voicespan, provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    finished = voicespan("demo", "--fast", "--provider", provider, "--folder", str(folder), **HOSTILE)
    finished.folder = folder
    return finished


def test_it_succeeds_on_a_machine_with_other_settings(demo):
    assert demo.stderr == ""
    assert demo.returncode == 0


COMMON = {
    "input_transcription",
    "output_transcription",
    "turn_complete",
    "function_call: find_tables",
    "function_response: find_tables",
    "function_call: book_table",
    "function_response: book_table",
    "interrupted",
}
OWN = {
    "openai": {
        "session.created",
        "user_speech",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "conversation.item.truncated",
    },
    "gemini": {"setup_complete", "generation_complete"},
}


def test_it_shows_one_tree(demo, provider):
    rows = [(len(trunk) // 3 + bool(branch), name) for trunk, branch, name, *_ in ROW.findall(demo.stdout)]

    assert [name for depth, name in rows if depth == 0] == ["conversation"]
    assert {name for depth, name in rows if depth == 1} == COMMON | OWN[provider]
    nested = {rows[place - 1][1]: name for place, (depth, name) in enumerate(rows) if depth == 2}
    assert nested == {
        "function_call: find_tables": "SELECT tables",
        "function_call: book_table": "INSERT booking",
    }


@pytest.mark.parametrize("provider", ["openai"], indirect=True)
def test_the_readme_shows_what_is_shown(demo):
    readme = Path(__file__).parents[3] / "README.md"
    shown = Counter(name for _, _, name, *_ in ROW.findall(readme.read_text(encoding="utf-8")))

    assert shown.total() > 10
    assert shown <= Counter(name for _, _, name, *_ in ROW.findall(demo.stdout))


def test_it_shows_everything_that_was_said(demo):
    tree = re.sub(r"[\s│]+", " ", demo.stdout.split("The trace")[1])
    said = [tree.find(f"“{line.text}”") for line in story.CALLER]
    assert -1 not in said
    assert said == sorted(said)
    assert f"“{story.OFFER.text[:60]}" in tree


def test_its_spans_have_what_opentelemetry_asks_for(demo, provider):
    [call] = demo.folder.glob("*/spans.jsonl")
    spans = find.read(call.parent).everything
    assert violations(spans) == []
    operations = {span.attributes.get("gen_ai.operation.name") for span in spans}
    assert {"invoke_agent", "chat", "execute_tool"} <= operations
    assert ("user_speech" in operations) == (provider == "openai")


def test_no_line_is_wider_than_the_terminal(demo):
    lines = [line for line in demo.stdout.splitlines() if str(demo.folder) not in line]
    assert max(map(len, lines)) <= 120


@pytest.fixture
def recording(demo):
    [path] = demo.folder.glob("*-conversation.*")
    assert str(path) in demo.stdout
    return sf.read(path)


def loud(channel, rate):
    """For each tenth of a second, whether somebody speaks."""
    parts = np.array_split(channel, round(len(channel) / rate * 10))
    return np.array([np.sqrt((part**2).mean()) > 0.02 for part in parts])


def test_the_recording_has_both_sides_as_they_were_heard(recording):
    sound, rate = recording
    caller, agent = loud(sound[:, 0], rate), loud(sound[:, 1], rate)

    whole = sum(len(line.pcm()) for line in (*story.CALLER, *story.AGENT)) / 2 / story.RATE
    unheard = len(story.OFFER.pcm()) / 2 / story.RATE - 4.5
    assert len(sound) / rate > 15
    assert 0.6 < (caller.sum() + agent.sum()) / 10 / (whole - unheard) < 1.05
    # Where the caller cuts in both are heard only for as long as it takes to notice.
    assert (caller & agent).sum() <= 10


@pytest.fixture(scope="module")
def live(voicespan, tmp_path_factory):
    """The same against "the services", which the environment says are elsewhere: its trace, as LangSmith has it."""
    folder = tmp_path_factory.mktemp("live")
    with LangSmithServer() as langsmith, openai_agent.scripted_server() as service:
        finished = voicespan(
            *("demo", "--live", "--fast", "--folder", str(folder)),
            OPENAI_API_KEY="sk-of-somebody",
            OPENAI_BASE_URL=service.url.replace("ws://", "http://"),
            LANGSMITH_API_KEY=langsmith.api_key,
            LANGSMITH_ENDPOINT=langsmith.url,
            LANGSMITH_PROJECT="a-project",
            VOICESPAN_SPOOL_DIR=str(folder / "spool"),
        )
        assert finished.stderr == ""
        assert finished.returncode == 0
        assert "sk-of-somebody" not in finished.stdout
        assert langsmith.api_key not in finished.stdout
        [root] = langsmith.roots
        root.told = re.sub(r"\s+", " ", finished.stdout)
        return root


def test_live_it_tells_where_the_trace_is(live):
    assert live.project == "a-project"
    assert f"Project a-project, thread {live.thread_id}, trace {live.otel_trace_id}" in live.told


def test_live_the_transcript_is_in_the_order_in_which_it_was_spoken(live):
    messages = live.inputs["messages"] + live.outputs["messages"]
    words = [(message["role"], message["content"]) for message in messages if message["content"]]

    offer = words[2][1]
    assert words == [
        ("user", story.OPENING.text),
        ("tool", '{"free": [{"time": "20:30", "place": "window"}, {"time": "21:45", "place": "garden"}]}'),
        ("assistant", offer),
        ("user", story.CHOICE.text),
        ("tool", '{"booked": true, "reference": "L-2051"}'),
        ("assistant", story.CONFIRMATION.text),
        ("user", story.THANKS.text),
        ("assistant", story.FAREWELL.text),
    ]
    assert story.OFFER.text.startswith(offer)


def test_live_one_interruption_of_which_less_was_heard_than_generated(live):
    [interrupted] = [run for run in live.children if run.name == "interrupted"]

    assert live.metadata["interruption_count"] == 1
    assert 4_400 <= interrupted.metadata["heard_ms"] < interrupted.metadata["generated_ms"]


def test_live_the_application_s_spans_are_inside_the_function_calls(live):
    calls = [run for run in live.children if run.name.startswith("function_call")]

    assert [[child.name for child in call.children] for call in calls] == [
        ["SELECT tables"],
        ["INSERT booking"],
    ]
    for call in calls:
        [own] = call.children
        assert call.start_ns <= own.start_ns < own.end_ns <= call.end_ns


def test_live_the_recording_is_on_the_root(live):
    attachment = live.attachments["conversation"]

    assert attachment.mime_type.startswith("audio/")
    assert attachment.size > 50_000
    assert live.metadata["ls_modality"] == "audio"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "OPENAI_API_KEY and LANGSMITH_API_KEY"),
        ({"OPENAI_API_KEY": "sk-of-somebody"}, "needs LANGSMITH_API_KEY"),
    ],
)
def test_live_without_a_key_says_which(voicespan, keys, told):
    finished = voicespan("demo", "--live", **keys)

    assert finished.returncode == 2
    assert finished.stdout == ""
    assert told in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_live_a_service_that_cannot_be_reached_is_told_and_traced(voicespan, langsmith_server, tmp_path):
    finished = voicespan(
        *("demo", "--live", "--folder", str(tmp_path)),
        OPENAI_API_KEY="sk-of-somebody",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        LANGSMITH_API_KEY=langsmith_server.api_key,
        LANGSMITH_ENDPOINT=langsmith_server.url,
        VOICESPAN_SPOOL_DIR=str(tmp_path / "spool"),
    )

    assert finished.returncode == 1
    assert finished.stderr.startswith("voicespan demo: the call failed: ")
    [root] = langsmith_server.roots
    assert root.status == "error"


@pytest.mark.parametrize(
    ("settings", "told", "status"),
    [
        ({"LANGSMITH_TRACING": "false"}, "nothing was traced", 1),
        ({"LANGSMITH_ENDPOINT": "ftp://somewhere"}, "http(s)", 2),
    ],
)
def test_live_with_settings_that_trace_nothing_it_says_so(voicespan, tmp_path, settings, told, status):
    finished = voicespan(
        *("demo", "--live", "--folder", str(tmp_path)),
        OPENAI_API_KEY="sk-of-somebody",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        LANGSMITH_API_KEY="lsv2_pt_of-somebody",
        VOICESPAN_SPOOL_DIR=str(tmp_path / "spool"),
        **settings,
    )

    assert finished.returncode == status
    assert told in finished.stderr
    assert "Traceback" not in finished.stderr
