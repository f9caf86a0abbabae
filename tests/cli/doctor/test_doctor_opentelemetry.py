"""Sampler and limits: what is said of them, and that it is so."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider

from voicespan.cli.doctor import opentelemetry
from voicespan.cli.doctor.findings import Mark
from voicespan.delivery import LangSmithSpanProcessor
from voicespan.tracing.conversation import Conversation

LENGTH, SPANS_LENGTH = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
COUNT, EVENTS = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT"


@pytest.mark.parametrize(
    ("changed", "check", "mark"),
    [
        ({}, "sampler", Mark.OK),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, "sampler", Mark.OK),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "sampler", Mark.PROBLEM),
        ({"OTEL_TRACES_SAMPLER": "ParentBased_Always_Off"}, "sampler", Mark.PROBLEM),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, "sampler", Mark.NOTE),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "sampler", Mark.PROBLEM),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "7"}, "sampler", Mark.WARNING),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, "sampler", Mark.OK),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "sampler", Mark.NOTE),
        ({"OTEL_CONFIG_FILE": "otel.yaml"}, "file", Mark.NOTE),
        ({}, "limits", Mark.OK),
        ({LENGTH: "32"}, LENGTH, Mark.WARNING),
        ({LENGTH: "4096"}, LENGTH, Mark.WARNING),
        ({SPANS_LENGTH: "4096", LENGTH: "9000000"}, SPANS_LENGTH, Mark.WARNING),
        ({LENGTH: "100000"}, LENGTH, Mark.NOTE),
        ({LENGTH: "9000000"}, LENGTH, Mark.OK),
        ({LENGTH: "many"}, LENGTH, Mark.PROBLEM),
        ({COUNT: "20"}, COUNT, Mark.NOTE),
        ({COUNT: "200"}, COUNT, Mark.OK),
        ({EVENTS: "0"}, EVENTS, Mark.NOTE),
        ({EVENTS: "-1"}, EVENTS, Mark.PROBLEM),
    ],
)
def test_what_is_said(look, changed, check, mark):
    found = look(opentelemetry.look, **changed)
    assert found[f"opentelemetry.{check}"].mark is mark
    assert not changed or check == "file" or len(found) <= 2


@pytest.mark.parametrize("changed", [{LENGTH: "many"}, {EVENTS: "-1"}, {COUNT: "1.5"}])
def test_the_sdk_refuses_what_is_said_to_be_refused(monkeypatch, changed):
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError):
        TracerProvider(shutdown_on_exit=False)


def test_a_ratio_that_is_none_samples_everything(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "7")
    assert TracerProvider(shutdown_on_exit=False).sampler.rate == 1


def delivered(langsmith, tmp_path, recording):
    provider = TracerProvider(shutdown_on_exit=False)
    processor = LangSmithSpanProcessor(
        endpoint=langsmith.url, api_key=langsmith.api_key, spool_dir=tmp_path / "spool"
    )
    provider.add_span_processor(processor)
    conversation = Conversation(thread_id="t" * 60, tracer_provider=provider)
    conversation.attach_recording(recording, "audio/ogg")
    conversation.end()
    assert processor.force_flush(10_000)
    processor.shutdown()
    [root] = langsmith.roots
    return root


def test_no_limit_cuts_the_recording(look, langsmith, tmp_path, monkeypatch):
    recording = b"OggS" + bytes(range(256)) * 100
    monkeypatch.setenv(LENGTH, "100")
    root = delivered(langsmith, tmp_path, recording)
    assert root.attachments["conversation"].content == recording
    assert root.thread_id == "t" * 60
    said = look(opentelemetry.look, **{LENGTH: "100"})[f"opentelemetry.{LENGTH}"]
    assert "recording is not cut" in said.advice


def test_a_small_one_cuts_no_thread(langsmith, tmp_path, monkeypatch):
    monkeypatch.setenv(LENGTH, "32")
    assert delivered(langsmith, tmp_path, b"OggS").thread_id == "t" * 60
