"""The settings as they are resolved, and from where."""

from __future__ import annotations

import pytest

from voicespan.cli.doctor import variables
from voicespan.cli.doctor.findings import Mark
from voicespan.runtime import environment_variables

#: Another value than the default of each, and how it is shown.
VALUES = {
    "VOICESPAN_DISABLED": ("1", "yes"),
    "VOICESPAN_ENDPOINT": ("http://u:p@collector:4318/v1/traces?q", "http://collector:4318/v1/traces"),
    "VOICESPAN_ALLOW_HTTP": ("true", "yes"),
    "VOICESPAN_SOCKETS": ("gw.example/rt=openai-realtime", "gw.example/rt=openai-realtime"),
    "VOICESPAN_EVENTS": ("ALL", "all"),
    "VOICESPAN_RAW_EVENTS": ("on", "yes"),
    "VOICESPAN_REQUEST": ("1", "yes"),
    "VOICESPAN_SEMCONV": ("draft", "draft"),
    "VOICESPAN_HIDE": ("user_text,audio", "audio, user_text"),
    "VOICESPAN_PARENT": ("child", "child"),
    "VOICESPAN_RESUME_WINDOW": ("12.5", "12.5 s"),
    "VOICESPAN_RECORD": ("0.25", "0.25"),
    "VOICESPAN_RECORD_SOURCE": ("wire", "wire"),
    "VOICESPAN_RECORDING_FORMAT": ("mp3", "mp3"),
    "VOICESPAN_DELIVERY": ("SPOOL", "spool"),
    "VOICESPAN_KEYS_FILE": ("/nowhere/keys.json", "/nowhere/keys.json"),
    "VOICESPAN_SPOOL_DIR": ("/nowhere/at/all", "/nowhere/at/all"),
    "VOICESPAN_SPOOL_MAX_BYTES": ("1000", "1000 bytes"),
    "VOICESPAN_CONSOLE": ("1", "yes"),
    "VOICESPAN_LIVE": ("1", "yes"),
    "VOICESPAN_FEEDBACK": ("1", "yes"),
    "VOICESPAN_FOLDER": ("/nowhere/calls", "/nowhere/calls"),
    "VOICESPAN_FOLDER_MAX_BYTES": ("1000", "1000 bytes"),
    "VOICESPAN_FOLDER_MAX_AGE": ("3", "3 days"),
    "VOICESPAN_SHUTDOWN_TIMEOUT": ("5", "5 s"),
}


def test_every_variable_is_known():
    assert set(variables.ours()) == set(VALUES)
    assert variables.ours() == [name for name in vars(environment_variables) if name.startswith("VOICESPAN_")]


@pytest.mark.parametrize("name", VALUES)
def test_each_is_shown_as_it_is_resolved_and_from_where(look, name):
    written, shown = VALUES[name]
    finding = look(variables.look, **{name: written})[f"settings.{name}"]
    assert finding.mark is Mark.OK
    assert finding.facts == {"value": shown, "source": "environment"}
    unset = look(variables.look, **{name: " "})[f"settings.{name}"]
    assert unset.facts["source"] == "default"
    assert unset.facts["value"] != shown


@pytest.mark.parametrize(
    "name",
    [
        "EVENTS",
        "RAW_EVENTS",
        "HIDE",
        "PARENT",
        "RESUME_WINDOW",
        "RECORD",
        "RECORD_SOURCE",
        "SPOOL_MAX_BYTES",
        "FOLDER_MAX_BYTES",
        "FOLDER_MAX_AGE",
    ],
)
def test_what_is_not_understood_is_told_but_not_repeated(look, name):
    finding = look(variables.look, **{f"VOICESPAN_{name}": "sécret"})[f"settings.VOICESPAN_{name}"]
    assert finding.mark is Mark.WARNING
    assert "6 characters" in finding.text
    assert "sécret" not in finding.text + finding.advice


def test_of_a_mistyped_switch_it_says_what_becomes_of_it(look):
    hide = look(variables.look, VOICESPAN_HIDE="user_text,argument")["settings.VOICESPAN_HIDE"]
    assert hide.text.endswith("is not understood; all counts")
    assert hide.facts["value"] == "all"
    capture = look(variables.look, **{variables._CONTENT: "sometimes"})[f"settings.{variables._CONTENT}"]
    assert capture.text.endswith("is not understood; no counts")


def test_the_spool_of_the_command_line(look, tmp_path):
    finding = look(variables.look, spool_dir=str(tmp_path))["settings.VOICESPAN_SPOOL_DIR"]
    assert finding.facts == {"value": str(tmp_path), "source": "--spool-dir"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("VOICESPAN_RECORDS", "VOICESPAN_RECORD"), ("VOICESPAN_SPOOLDIR", "VOICESPAN_SPOOL_DIR")],
)
def test_a_name_that_does_not_exist(look, name, nearest):
    finding = look(variables.look, **{name: "1"})[f"settings.{name}"]
    assert finding.mark is Mark.WARNING
    assert finding.advice == f"did you mean {nearest}?"


def test_a_name_like_no_other(look):
    assert look(variables.look, VOICESPAN_QQQQQQ="1")["settings.VOICESPAN_QQQQQQ"].advice == "unset it"


@pytest.mark.parametrize(
    ("changed", "check", "mark"),
    [
        ({"VOICESPAN_DISABLED": "1"}, "settings.off.VOICESPAN_DISABLED", Mark.PROBLEM),
        ({"VOICESPAN_SOCKETS": "gw.example/rt=openai"}, "settings.VOICESPAN_SOCKETS.parts", Mark.WARNING),
        ({"OTEL_SDK_DISABLED": "true"}, "settings.off.OTEL_SDK_DISABLED", Mark.PROBLEM),
        ({"LANGSMITH_TRACING": "false"}, "settings.off.LANGSMITH_TRACING", Mark.PROBLEM),
        ({"LANGCHAIN_TRACING_V2": "false"}, "settings.off.LANGSMITH_TRACING", Mark.PROBLEM),
        ({"LANGSMITH_TRACING_SAMPLING_RATE": "0"}, "settings.sampling", Mark.PROBLEM),
        ({"LANGSMITH_TRACING_SAMPLING_RATE": "7"}, "settings.sampling", Mark.PROBLEM),
        ({"LANGSMITH_TRACING_SAMPLING_RATE": "0.5"}, "settings.sampling", Mark.NOTE),
        (
            {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "no_content"},
            "settings.content",
            Mark.WARNING,
        ),
        ({"VOICESPAN_HIDE": "all"}, "settings.content", Mark.WARNING),
        ({"VOICESPAN_HIDE": "audio"}, "settings.content", Mark.NOTE),
        ({"LANGSMITH_HIDE_INPUTS": "true"}, "settings.recording_hidden", Mark.WARNING),
        ({"VOICESPAN_RECORD": "0"}, "settings.recording", Mark.NOTE),
        ({"VOICESPAN_RECORD_SOURCE": "devices"}, "settings.recording", Mark.NOTE),
        (
            {"VOICESPAN_ENDPOINT": "http://c:4318/v1/traces", "LANGSMITH_API_KEY": "k"},
            "settings.two_destinations",
            Mark.NOTE,
        ),
    ],
)
def test_what_keeps_traces_or_recordings_away(look, changed, check, mark):
    assert look(variables.look, **changed)[check].mark is mark
    assert check not in look(variables.look)


def test_langsmiths_own_switches_are_shown(look):
    found = look(variables.look, LANGCHAIN_TRACING_V2="true", LANGSMITH_HIDE_METADATA="true")
    assert found["settings.LANGCHAIN_TRACING_V2"].facts == {"value": "true", "source": "environment"}
    assert found["settings.LANGSMITH_HIDE_METADATA"].mark is Mark.OK


def test_it_says_what_it_cannot_see(look):
    assert "configure()" in look(variables.look)["settings.unseen"].text
